"""The file for QGIS's Deepness plugin: what the plugin reads of it, and PyTorch's answers in it."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest

from overfly.export.deepness import check_deepness_possible, run_deepness, write_deepness
from overfly.export.exporter import ExportJob, export
from overfly.export.parity_checks import Reference, check_deepness
from overfly.runtime.bundle.bundle import Bundle, ReferenceSet
from overfly.runtime.bundle.manifest import SceneSpec
from overfly.runtime.classifier import softmax
from overfly.runtime.errors import ParityError, RunError
from overfly.training.loop.trainer import predict_logits
from overfly.training.run import Run

SCENE = SceneSpec(78.0, (1, 2, 3))


@pytest.fixture(scope="module")
def bundle(short_run, three_blocks, tmp_path_factory):
    out = tmp_path_factory.mktemp("deepness") / "bundle"
    with three_blocks():
        return export(ExportJob(run=short_run, out=out, variants=("fp32",), scene_m=78.0, deepness=True))


@pytest.fixture(scope="module")
def session(bundle):
    return onnxruntime.InferenceSession(bundle.path / "deepness.onnx", providers=["CPUExecutionProvider"])


def test_the_manifest_lists_the_file_and_the_scene(bundle):
    assert "deepness.onnx" in bundle.manifest.files
    assert bundle.manifest.scene == SCENE
    bundle.verify()


def test_the_plugin_finds_its_keys(session, bundle):
    found = {key: json.loads(value) for key, value in session.get_modelmeta().custom_metadata_map.items()}
    assert found == {
        "model_type": "Segmentor",
        "class_names": {str(index): name for index, name in enumerate(bundle.manifest.classes)},
        "resolution": 78 / 64 * 100,
        "tile_size": 64,
        "tiles_overlap": 50,
        "standardization_mean": [0.0, 0.0, 0.0],
        "standardization_std": [1.0, 1.0, 1.0],
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }


def test_the_plugins_runtime_can_open_the_file(bundle):
    model = onnx.load(bundle.path / "deepness.onnx")
    assert model.ir_version == 9
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]


def test_every_pixel_of_a_tile_has_the_class_that_pytorch_gives_to_the_image(session, bundle):
    (given,), (returned,) = session.get_inputs(), session.get_outputs()
    n_classes = len(bundle.manifest.classes)
    assert (given.type, given.shape) == ("tensor(float)", ["batch", 3, 64, 64])
    assert (returned.type, returned.shape) == ("tensor(float)", ["batch", n_classes, 64, 64])
    golden = bundle.golden()
    tiles = np.float32(golden.images.transpose(0, 3, 1, 2) * (1 / 255))
    (probabilities,) = session.run([returned.name], {given.name: tiles})
    expected = golden.logits.argmax(axis=1)
    assert len(expected) == 24
    assert (probabilities.argmax(axis=1) == expected[:, None, None]).all()
    np.testing.assert_allclose(probabilities[:, :, 0, 0], softmax(golden.logits), atol=1e-5)
    assert (np.ptp(probabilities, axis=(2, 3)) == 0).all()


def test_the_export_without_the_option_has_no_file(tiny_bundle):
    manifest = Bundle.open(tiny_bundle).manifest
    assert "deepness.onnx" not in manifest.files
    assert manifest.scene is None


def test_a_run_without_a_scene_is_rejected_before_any_work(short_run, tmp_path):
    with pytest.raises(RunError) as error:
        export(ExportJob(run=short_run, out=tmp_path / "bundle", deepness=True))
    assert str(error.value) == (
        f"{short_run} does not say how much ground an image shows, which --deepness needs for its resolution: give the "
        "side of a training image in meters with --scene-m, such as 78 for UC Merced"
    )
    assert list(tmp_path.iterdir()) == []


def test_more_classes_than_the_plugin_can_number_are_rejected(tmp_path):
    check_deepness_possible(tmp_path, SCENE, 255)
    with pytest.raises(RunError, match=r"256 classes.* at most 255"):
        check_deepness_possible(tmp_path, SCENE, 256)


def test_a_file_that_does_not_give_pytorchs_probabilities_is_rejected_at_any_batch_size(make_run, tmp_path):
    run, path = Run.open(make_run()), tmp_path / "deepness.onnx"
    model = run.load_model()
    write_deepness(model, path, image=run.record.image, scene=SCENE, classes=run.record.classes)
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    logits = predict_logits(model, images)
    for batch_size in (1, 3, 7):
        np.testing.assert_allclose(run_deepness(path, images, batch_size=batch_size), softmax(logits), atol=1e-5)
    names = tuple(map(str, range(7)))
    assert check_deepness(path, Reference(names, ReferenceSet(images, logits))).max_abs_diff < 1e-5
    with pytest.raises(ParityError, match=r"deepness\.onnx at batch 1 .*probabilities differ"):
        check_deepness(path, Reference(names, ReferenceSet(images, -logits)))
