"""From a run to a bundle: parity, calibration, provenance, and what stops an export."""

import hashlib
import json
import re
import shutil
import sys

import numpy as np
import onnx
import openvino as ov
import pytest
import torch

from overfly.export import exporter as bundle_writer
from overfly.export.exporter import N_CALIBRATION, ExportJob, _Evidence, export, require_parity
from overfly.export.int8 import quantize
from overfly.export.layers import float_layers, weighted_layers
from overfly.export.onnx_model import run_onnx
from overfly.runtime.bundle.bundle import Bundle, ReferenceSet
from overfly.runtime.errors import DataError, OutputError, ParityError, RunError
from overfly.runtime.evaluation.golden_check import check_golden
from overfly.runtime.inference.compile import compile_variant
from overfly.runtime.reporter import SILENT
from overfly.training.data.dataset import decode
from overfly.training.loop.trainer import predict_logits
from overfly.training.run import Run


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


def test_the_folder_holds_what_the_manifest_lists_and_nothing_else(bundle):
    bundle.verify()
    variants = [f"{name}.{end}" for name in ("fp16", "fp32", "int8") for end in ("bin", "xml")]
    expected = {*variants, "golden.npz", "labels.txt", "manifest.json", "model.onnx"}
    assert {path.name for path in bundle.path.iterdir()} == expected


def test_golden_answers_are_those_of_pytorch_on_real_test_images(bundle, tiny_run, tiny_data):
    run, golden = Run.open(tiny_run), bundle.golden()
    np.testing.assert_allclose(golden.logits, predict_logits(run.load_model(), golden.images), atol=1e-5)
    test_part = decode(tiny_data, run.split().images("test"), size=64)
    known = {image.tobytes() for image in test_part}
    assert len(golden.images) == 24
    assert all(image.tobytes() in known for image in golden.images)


def test_provenance_leads_back_to_the_run_and_its_split(bundle, tiny_run):
    provenance = bundle.manifest.provenance
    assert provenance.run_sha256 == hashlib.sha256((tiny_run / "run.json").read_bytes()).hexdigest()
    assert provenance.split_sha256 == hashlib.sha256((tiny_run / "split.json").read_bytes()).hexdigest()
    assert provenance.seed == Run.open(tiny_run).record.seed == Run.open(tiny_run).split().seed
    assert sorted(provenance.test_sha256) == sorted(s.sha256 for s in Run.open(tiny_run).split().images("test"))
    assert bundle.manifest.classes == tuple((bundle.path / "labels.txt").read_text().splitlines())


def test_calibration_used_training_images_only(bundle, tiny_run):
    split = Run.open(tiny_run).split()
    calibration = bundle.manifest.variants["int8"].calibration
    train = [scene.sha256 for scene in split.images("train")]
    assert len(calibration.sha256) == len(set(calibration.sha256)) == min(N_CALIBRATION, len(train))
    assert set(calibration.sha256) <= set(train)
    assert not set(calibration.sha256) & {scene.sha256 for scene in split.images("test")}
    fp32 = bundle.manifest.variants["fp32"]
    assert (fp32.calibration, fp32.float_layers, fp32.steering) == (None, None, None)


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_onnx_runtime_gives_pytorchs_logits_at_any_batch(bundle, batch_size):
    golden = bundle.golden()
    logits = run_onnx(bundle.path / "model.onnx", golden.images, batch_size=batch_size)
    assert np.abs(logits - golden.logits).max() < 1e-3


def test_the_onnx_file_says_what_it_is(bundle):
    model = onnx.load(bundle.path / "model.onnx")
    facts = {item.key: json.loads(item.value) for item in model.metadata_props}
    assert facts["classes"] == list(bundle.manifest.classes)
    assert facts["image"]["size"] == 64
    assert facts["run_sha256"] == bundle.manifest.provenance.run_sha256
    assert model.opset_import[0].version == bundle.manifest.onnx.opset
    shape = model.graph.input[0].type.tensor_type
    assert shape.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_param or dim.dim_value for dim in shape.shape.dim] == ["batch", 64, 64, 3]


@pytest.mark.parametrize("variant", ["fp32", "fp16", "int8"])
def test_each_variant_opens_by_itself_with_its_labels(bundle, variant):
    model = ov.Core().read_model(bundle.path / f"{variant}.xml", bundle.path / f"{variant}.bin")
    assert str(model.inputs[0].partial_shape) == "[?,64,64,3]"
    assert model.inputs[0].element_type == ov.Type.u8
    info = {key: model.get_rt_info(["model_info", key]).value for key in ("model_type", "labels", "resize_type")}
    expected = {"model_type": "Classification", "labels": " ".join(bundle.manifest.classes), "resize_type": "standard"}
    assert info == expected


def test_weights_shrink_with_the_precision(bundle):
    modules = Run.open(bundle.path.with_name("run")).load_model().model.modules()
    kept = sum(4 * m.weight.numel() for m in modules if isinstance(m, torch.nn.Conv2d) and m.groups > 1)
    fp32, fp16, int8 = (bundle.manifest.files[f"{name}.bin"].size_bytes for name in ("fp32", "fp16", "int8"))
    assert (fp16 - kept) / (fp32 - kept) == pytest.approx(0.5, abs=0.01)
    assert int8 / fp32 < 0.28


def test_a_variant_is_the_same_without_the_others(make_run):
    run = make_run()
    whole = export(ExportJob(run=run, out=run.with_name("whole"))).manifest
    few = export(ExportJob(run=run, out=run.with_name("few"), variants=("fp16", "int8"))).manifest
    for name in ("fp16.xml", "fp16.bin", "int8.xml", "int8.bin"):
        assert few.files[name] == whole.files[name]


def test_fp16_rounds_all_but_the_weights_of_depthwise_convolutions(bundle):
    kinds = {}
    for op in ov.Core().read_model(bundle.path / "fp16.xml").get_ordered_ops():
        if op.get_type_name() == "Constant" and op.get_element_type() in {ov.Type.f16, ov.Type.f32}:
            (user,) = op.output(0).get_target_inputs()
            kinds.setdefault(op.get_element_type().get_type_name(), set()).add(user.get_node().get_type_name())
    assert kinds == {"f16": {"Convert"}, "f32": {"GroupConvolution"}}


def test_every_convolution_and_the_classifier_are_quantised(bundle):
    layers = weighted_layers(ov.Core().read_model(bundle.path / "int8.xml"))
    modules = Run.open(bundle.path.with_name("run")).load_model().model.named_modules()
    weighted = [name for name, module in modules if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert list(layers) == weighted
    assert len(layers) == 53
    assert all(layers.values())
    assert bundle.variant("int8").float_layers == ()


def test_a_layer_that_is_left_in_floating_point_is_found(bundle):
    model = ov.Core().read_model(bundle.path / "fp32.xml")
    assert float_layers(model) == list(weighted_layers(model))
    ignored = ["features.0.0/WithoutBiases", "features.18.0/WithoutBiases"]
    quantised = quantize(model, bundle.golden().images[:2], SILENT, ignored=ignored)
    assert float_layers(quantised) == ["features.0.0", "features.18.0"]


def test_no_file_names_a_place_on_the_machine_that_made_it(bundle, tiny_run):
    for name in bundle.manifest.files:
        content = bundle.read(name)
        for place in (str(tiny_run.parent), sys.prefix, "site-packages"):
            assert place.encode() not in content, (name, place)


@pytest.mark.parametrize("variant", ["fp32", "fp16", "int8"])
def test_the_cpu_gives_the_signed_off_answers(bundle, variant):
    runner = compile_variant(bundle, variant=variant, device="CPU")
    finding = check_golden(runner, bundle.golden(), bundle.variant(variant).parity)
    assert finding.problems == ()
    assert finding.parity.n_images == 24


def test_a_step_that_disagrees_is_refused_with_its_worst_image():
    logits = np.array([[1.0, 5.0], [3.0, 0.0]], np.float32)
    evidence = _Evidence(("a.jpg", "b.jpg"), ReferenceSet(np.zeros((2, 4, 4, 3), np.uint8), logits))
    wrong = logits + np.array([[0, 0], [0, 4]], np.float32)
    with pytest.raises(
        ParityError, match=re.escape("up to 4 (at most 0.001 expected) and 50.0% of 2 images")
    ) as caught:
        require_parity(evidence, wrong, step="the step", max_diff=1e-3, min_agreement=1.0)
    assert "the worst is b.jpg" in str(caught.value)


@pytest.mark.parametrize(
    ("bound", "step"), [("_MAX_F32_DIFF", "the ONNX model at batch 1"), ("_MAX_F16_DIFF", "the fp16 IR")]
)
def test_a_failed_parity_stops_the_export_and_leaves_what_was_there(make_run, monkeypatch, bound, step):
    run = make_run()
    out = run.with_name("bundle")
    before = export(ExportJob(run=run, out=out, variants=("fp32", "fp16"))).manifest
    monkeypatch.setattr(bundle_writer, bound, -1.0)
    with pytest.raises(ParityError, match=f"^{step} does not agree with PyTorch: .*the worst is (dry|green)/"):
        export(ExportJob(run=run, out=out, variants=("fp32", "fp16")), overwrite=True)
    assert Bundle.open(out).manifest == before
    assert sorted(path.name for path in out.parent.iterdir()) == ["bundle", "data", "run"]


def test_a_tie_within_the_tolerance_may_change_sides_but_no_more():
    reference = np.array([[1.0, 1.1]], np.float32)
    evidence = _Evidence(("a.jpg",), ReferenceSet(np.zeros((1, 4, 4, 3), np.uint8), reference))
    swapped = np.array([[1.1, 1.0]], np.float32)
    assert require_parity(evidence, swapped, step="s", max_diff=0.2, min_agreement=1.0).top1_agreement == 0
    with pytest.raises(ParityError):
        require_parity(evidence, swapped, step="s", max_diff=0.01, min_agreement=1.0)


def test_a_test_image_that_changed_stops_the_export_and_writes_nothing(tiny_run, tiny_data, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(tiny_data, data)
    victim = data / Run.open(tiny_run).split().images("test")[0].name
    victim.write_bytes(victim.read_bytes() + b"x")
    with pytest.raises(DataError, match=f"{victim.name} has changed since the run was trained: restore it"):
        export(ExportJob(run=tiny_run, out=tmp_path / "b", data=data))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_missing_data_folder_is_named(tiny_run, tmp_path):
    with pytest.raises(DataError, match=r"is missing: pass the folder that was trained on with --data"):
        export(ExportJob(run=tiny_run, out=tmp_path / "b", data=tmp_path / "nowhere"))


def test_an_existing_bundle_is_kept(tiny_run, tiny_bundle):
    before = (tiny_bundle / "manifest.json").read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        export(ExportJob(run=tiny_run, out=tiny_bundle))
    assert (tiny_bundle / "manifest.json").read_bytes() == before


def test_no_run_no_bundle(tmp_path):
    with pytest.raises(RunError, match="is not a run: found nothing"):
        export(ExportJob(run=tmp_path / "nothing", out=tmp_path / "b"))
    assert list(tmp_path.iterdir()) == []
