"""INT8 within a bound: kept with layers reverted to floating point, or rejected with their names."""

import logging
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import openvino as ov
import pytest

from overfly.export import accuracy_control
from overfly.export.accuracy_control import quantize_within
from overfly.export.exporter import ExportJob, export
from overfly.export.ir import run_model
from overfly.export.layers import float_layers
from overfly.runtime.bundle.manifest import AccuracyControl
from overfly.runtime.errors import ParityError
from overfly.runtime.evaluation.parity import problems_at_export
from overfly.runtime.images.reading import ImageReader
from overfly.runtime.reporter import SILENT, Reporter
from overfly.training.data.dataset import decode
from overfly.training.run import Run


class Listener(Reporter):
    """Keeps the progress that is reported to it."""

    def __init__(self):
        self.stages = []

    def progress(self, stage, done, total):
        self.stages.append((stage, done, total))


def job(run, **options):
    return ExportJob(run=run, out=run.with_name("bundle"), variants=("int8",), n_calibration=8, **options)


def accuracy(bundle, run, part):
    """Return the fraction of the images of a part that the bundle's INT8 variant classifies correctly."""
    images = Run.open(run).split().images(part)
    pixels = decode(run.with_name("data"), images, ImageReader(8))
    answers = run_model(ov.Core().read_model(bundle.path / "int8.xml"), pixels).argmax(axis=1)
    return (answers == np.array([image.label for image in images])).mean()


@pytest.mark.slow
def test_without_a_bound_int8_loses_with_a_warning_and_no_layer_is_reverted(make_run, caplog):
    run = make_run(hard=["features.2"])
    bundle = export(job(run))
    int8 = bundle.variant("int8")
    assert (int8.float_layers, int8.steering) == ((), None)
    assert int8.parity.top1_agreement == 0.5
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    (problem,) = problems_at_export("int8", int8.parity)
    assert warning.getMessage() == (
        f"do not deploy int8, which check will call INVALID: {problem}; limit its loss with --max-drop, or calibrate "
        "it with more images"
    )
    assert accuracy(bundle, run, "train") == 0.5


@pytest.mark.slow
def test_the_layer_that_costs_too_much_is_reverted(make_run, caplog):
    caplog.set_level(logging.INFO, "overfly.export")
    run, listener = make_run(hard=["features.2"]), Listener()
    bundle = export(job(run, max_drop_pp=1.0), reporter=listener)
    int8 = bundle.variant("int8")
    assert [layer.name for layer in int8.float_layers] == ["features.2"]
    assert "--max-drop" in int8.float_layers[0].why
    assert int8.steering == AccuracyControl("train", 52, 1.0, 0.0, ("features.2",))
    assert "nncf.quantize_with_accuracy_control" in int8.made_by
    assert float_layers(ov.Core().read_model(bundle.path / "int8.xml")) == ["features.2"]
    assert accuracy(bundle, run, "train") == 1
    assert any("NNCF" in line and "features.2" in line for line in caplog.messages)
    assert ("measuring the accuracy", 52, 52) in listener.stages


@pytest.mark.slow
@pytest.mark.parametrize(("val_fraction", "part", "n_images"), [(0.0, "train", 52), (0.6, "val", 36)])
def test_a_bound_that_is_kept_anyway_changes_nothing(make_run, val_fraction, part, n_images):
    run = make_run(val_fraction=val_fraction)
    plain = export(job(run))
    files = plain.manifest.files
    bound = export(job(run, max_drop_pp=0.0), overwrite=True)
    assert bound.manifest.files["int8.bin"] == files["int8.bin"]
    assert bound.variant("int8").steering == AccuracyControl(part, n_images, 0.0, 0.0, ())


@pytest.mark.slow
def test_a_bound_that_can_not_be_kept_is_rejected_with_the_layers(make_run):
    run = make_run(hard=["features.0", "features.2", "classifier.1"])
    with pytest.raises(ParityError) as caught:
        export(job(run, max_drop_pp=1.0))
    assert str(caught.value) == (
        "INT8 can't keep to --max-drop 1: on 52 images of the train part it loses 0.00 percentage points of accuracy "
        "with features.0, features.2, classifier.1 reverted to floating point, and no layer is left in INT8; nothing "
        "was written. Export --variant fp32 --variant fp16, or raise --max-drop"
    )
    assert sorted(path.name for path in run.parent.iterdir()) == ["data", "run"]


@dataclass
class Stub:
    """Stands for an INT8 model that classifies `lost` images fewer correctly, with the layers `floats` not in INT8."""

    lost: int
    floats: tuple[str, ...] = ("always",)


KEPT, TOO_MUCH = 1, 2
REVERTED = ("always", "a")


@pytest.mark.parametrize(
    ("plain", "restored", "again", "expected", "reverted"),
    [
        (Stub(KEPT), None, None, "plain", ()),
        (Stub(TOO_MUCH), Stub(0, REVERTED), Stub(KEPT, REVERTED), "again", ("a",)),
        (Stub(TOO_MUCH), Stub(KEPT, REVERTED), Stub(TOO_MUCH, REVERTED), "restored", ("a",)),
        (Stub(TOO_MUCH), Stub(TOO_MUCH, REVERTED), Stub(KEPT, REVERTED), "again", ("a",)),
        # NNCF reverted an operation without weights, such as an addition: there is no layer to leave out.
        (Stub(TOO_MUCH), Stub(KEPT), Stub(TOO_MUCH), "restored", ()),
        (Stub(TOO_MUCH), Stub(TOO_MUCH, REVERTED), Stub(TOO_MUCH, REVERTED), None, ("a",)),
    ],
)
def test_the_model_that_keeps_the_bound_is_returned_and_recorded(
    monkeypatch, plain, restored, again, expected, reverted
):
    ignored = []
    monkeypatch.setattr(accuracy_control, "float_layers", lambda model: list(model.floats))
    monkeypatch.setattr(accuracy_control, "weighted_layers", lambda _model: {"b": True})
    monkeypatch.setattr(accuracy_control, "run_model", lambda model, _images: model.lost)
    monkeypatch.setattr(accuracy_control, "operations", lambda _model, layers: layers)
    monkeypatch.setattr(accuracy_control, "_revert_layers", lambda *_: restored)

    def quantize(*_, **options):
        ignored.extend(options.values())
        return again if options else plain

    monkeypatch.setattr(accuracy_control, "quantize", quantize)
    validation = SimpleNamespace(part="val", labels=[0] * 100, images=None, n_lost=lambda lost: lost)
    if expected is None:
        with pytest.raises(ParityError, match=r"--max-drop 1: .* loses 2\.00 .* with a "):
            quantize_within(None, None, validation, 1.0, SILENT)
        return
    model, made_by, control = quantize_within(None, None, validation, 1.0, SILENT)
    expected_model, methods = {
        "plain": (plain, {"nncf.quantize"}),
        "again": (again, {"nncf.quantize", "nncf.quantize_with_accuracy_control"}),
        "restored": (restored, {"nncf.quantize_with_accuracy_control"}),
    }[expected]
    assert model is expected_model
    assert {word.rstrip(",") for word in made_by.split() if word.startswith("nncf.")} == methods
    assert control == AccuracyControl("val", 100, 1.0, float(model.lost), reverted)
    assert ignored == ([] if restored is None else [list(reverted)])


@pytest.mark.slow
def test_without_validation_images_a_bound_is_rejected(make_run):
    run = make_run()
    everything = ExportJob(run=run, out=run.with_name("bundle"), variants=("int8",), n_calibration=60, max_drop_pp=1.0)
    with pytest.raises(ParityError) as caught:
        export(everything)
    assert str(caught.value) == (
        "--max-drop can't be checked because every training image calibrates INT8: use fewer --calibration-images"
    )
    assert not run.with_name("bundle").exists()
