"""INT8 within a bound: kept with layers put back to floating point, or refused with their names."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import openvino as ov
import pytest

from overfly.cli import run as overfly
from overfly.export import exporter as bundle_writer
from overfly.export.exporter import ExportJob, _keep_bound, export
from overfly.export.ir import run_ir
from overfly.export.layers import float_layers
from overfly.runtime.bundle.manifest import AccuracyControl, FloatLayer
from overfly.runtime.errors import ParityError
from overfly.runtime.reporter import Reporter
from overfly.training.data.dataset import decode
from overfly.training.run import Run

REVERTED = "accuracy control put it back: in INT8 the model lost more than --max-drop allows"


class Listener(Reporter):
    """Writes down what it hears."""

    def __init__(self):
        self.notes, self.stages = [], []

    def progress(self, stage, done, total):
        self.stages.append((stage, done, total))

    def note(self, message):
        self.notes.append(message)


def job(run, **options):
    return ExportJob(run=run, out=run.with_name("bundle"), variants=("int8",), n_calibration=8, **options)


def accuracy(bundle, run, part):
    """Return the fraction of a part that the bundle's INT8 has right."""
    scenes = Run.open(run).split().images(part)
    images = decode(run.with_name("data"), scenes, size=8)
    answers = run_ir(bundle.path / "int8.xml", images).argmax(axis=1)
    return (answers == np.array([scene.label for scene in scenes])).mean()


def test_without_a_bound_the_loss_is_there_and_no_layer_is_put_back(make_run):
    run = make_run(hard=["features.2"])
    bundle = export(job(run))
    int8 = bundle.variant("int8")
    assert (int8.float_layers, int8.steering) == ((), None)
    assert int8.parity.top1_agreement == 0.5
    assert accuracy(bundle, run, "train") == 0.5


def test_the_layer_that_costs_too_much_is_put_back(make_run):
    run, listener = make_run(hard=["features.2"]), Listener()
    bundle = export(job(run, max_drop_pp=1.0), reporter=listener)
    int8 = bundle.variant("int8")
    assert int8.float_layers == (FloatLayer("features.2", REVERTED),)
    assert int8.steering == AccuracyControl("train", 52, 1.0, 0.0, ("features.2",))
    assert int8.made_by.startswith("nncf.quantize without the layers that nncf.quantize_with_accuracy_control put back")
    assert float_layers(ov.Core().read_model(bundle.path / "int8.xml")) == ["features.2"]
    assert accuracy(bundle, run, "train") == 1
    assert any(note.startswith("NNCF: Reverted 1 operations") and "features.2" in note for note in listener.notes)
    assert ("judging", 52, 52) in listener.stages


@pytest.mark.parametrize(("val_fraction", "part", "n_images"), [(0.0, "train", 52), (0.2, "val", 12)])
def test_a_bound_that_is_kept_anyway_changes_nothing(make_run, val_fraction, part, n_images):
    run = make_run(val_fraction=val_fraction)
    plain = export(job(run))
    files = plain.manifest.files
    bound = export(job(run, max_drop_pp=0.0), overwrite=True)
    assert bound.manifest.files["int8.bin"] == files["int8.bin"]
    steering = bound.variant("int8").steering
    assert steering == AccuracyControl(part, n_images, 0.0, 0.0, ())


def test_a_bound_that_can_not_be_kept_is_refused_with_the_layers(make_run, capsys):
    run = make_run(hard=["features.0", "features.2", "classifier.1"])
    out = run.with_name("bundle")
    options = ["--variant", "int8", "--calibration-images", "8", "--max-drop", "1"]
    assert overfly(["export", str(run), "--out", str(out), *options]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    sentence = captured.err.splitlines()[-1]
    assert sentence.startswith("overfly: INT8 can't keep to --max-drop 1: on 52 images of the train part")
    for name in ("features.0", "features.2", "classifier.1", "no layer is left in INT8", "nothing was written"):
        assert name in sentence
    assert sorted(path.name for path in out.parent.iterdir()) == ["data", "run"]


@dataclass
class Stub:
    """Stands for an INT8 model that answers so many images less rightly than PyTorch, with layers in floating point."""

    lost: int
    floats: tuple[str, ...] = ("always",)


KEPT, TOO_MUCH = 1, 2
BACK = ("always", "a")


@pytest.mark.parametrize(
    ("plain", "steered", "anew", "way", "reverted"),
    [
        (Stub(KEPT), None, None, "int8", ()),
        (Stub(TOO_MUCH), Stub(0, BACK), Stub(KEPT, BACK), "int8 anew", ("a",)),
        (Stub(TOO_MUCH), Stub(KEPT, BACK), Stub(TOO_MUCH, BACK), "steered int8", ("a",)),
        (Stub(TOO_MUCH), Stub(TOO_MUCH, BACK), Stub(KEPT, BACK), "int8 anew", ("a",)),
        # What was put back has no weights, such as an addition: nothing to leave out.
        (Stub(TOO_MUCH), Stub(KEPT), Stub(TOO_MUCH), "steered int8", ()),
        (Stub(TOO_MUCH), Stub(TOO_MUCH, BACK), Stub(TOO_MUCH, BACK), None, ("a",)),
    ],
)
def test_what_keeps_the_bound_is_kept_and_recorded_as_what_it_is(monkeypatch, plain, steered, anew, way, reverted):
    monkeypatch.setattr(bundle_writer, "float_layers", lambda model: list(model.floats))
    monkeypatch.setattr(bundle_writer, "weighted_layers", lambda _model: {"b": True})
    monkeypatch.setattr(bundle_writer, "run_model", lambda model, _images: model.lost)
    judges = SimpleNamespace(part="val", labels=[0] * 100, images=None, n_lost=lambda lost: lost)
    left_out = []

    def again(layers):
        left_out.append(layers)
        return anew

    if way is None:
        with pytest.raises(ParityError, match=r"it loses 2\.00 points of accuracy with a put back to floating point; "):
            _keep_bound(plain, lambda _max_lost: steered, again, judges, 1.0)
        return
    model, found, steering = _keep_bound(plain, lambda _max_lost: steered, again, judges, 1.0)
    assert (model, found) == ({"int8": plain, "int8 anew": anew, "steered int8": steered}[way], way)
    assert steering == AccuracyControl("val", 100, 1.0, float(model.lost), reverted)
    assert left_out == ([] if steered is None else [list(reverted)])


def test_without_images_to_judge_by_it_says_so(make_run):
    run = make_run()
    everything = ExportJob(run=run, out=run.with_name("bundle"), variants=("int8",), n_calibration=60, max_drop_pp=1.0)
    with pytest.raises(ParityError, match="every training image calibrated INT8: use fewer --calibration-images"):
        export(everything)
    assert not run.with_name("bundle").exists()
