"""The known score by hand, the same in the graph of each variant, and what the manifest says of it."""

from pathlib import Path

import numpy as np
import pytest

from overfly.export.exporter import ExportJob, export
from overfly.export.ir import run_model
from overfly.export.known_score import (
    KnownScoreWeights,
    acceptance_threshold,
    find_taps,
    known_score_record,
    read_taps,
    run_known_score,
)
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import Classifier
from overfly.runtime.errors import BundleError
from overfly.runtime.inference.compile import read_variant
from overfly.runtime.reporter import Reporter
from overfly.training.data.dataset import decode_unchanged
from overfly.training.run import Run

SIZE = 8
# Two channels in the middle that are not correlated, with mean 10 and deviation 1.
MIDDLE = np.array([[9.0, 9.0], [9.0, 11.0], [11.0, 9.0], [11.0, 11.0]])
FEATURES = np.array([[2.0, 0.0], [4.0, 0.0], [0.0, 1.0], [0.0, 7.0]])
LABELS = np.array([0, 0, 1, 1])


class Notes(Reporter):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def test_the_parts_by_hand():
    weights = KnownScoreWeights.fit((MIDDLE, FEATURES), LABELS, (MIDDLE, FEATURES))
    np.testing.assert_allclose(weights.center, [1.5, 2])
    np.testing.assert_allclose(weights.centroids, [[0.6, -0.8], [-0.6, 0.8]])
    similarity, distance = weights.parts(np.array([[13.0, 14.0], [10.0, 10.0]]), np.array([[6.5, 2.0], [-1.5, 6.0]]))
    np.testing.assert_allclose(similarity, [0.6, 1])
    # 3 and 4 deviations, the root of the mean square of two channels, and 0.01 on the diagonal of the correlations.
    np.testing.assert_allclose(distance, [5 / np.sqrt(2 * 1.01), 0], rtol=1e-5, atol=1e-12)


def test_both_parts_count_in_deviations_of_the_held_out_images():
    rng = np.random.default_rng(0)
    held_out = rng.normal(10, 1, (50, 2)), rng.normal(1, 1, (50, 2))
    weights = KnownScoreWeights.fit((MIDDLE, FEATURES), LABELS, held_out)
    similarity, distance = weights.parts(*held_out)
    expected = (similarity - similarity.mean()) / similarity.std() - 0.75 * (
        (distance - distance.mean()) / distance.std()
    )
    np.testing.assert_allclose(weights.scores(*held_out), expected, atol=1e-4)


@pytest.mark.parametrize(("n", "expected"), [(84, 1.0), (99, 1.0), (199, 2.0), (149, 1.5)])
def test_the_threshold_is_expected_to_reject_one_of_a_hundred(n, expected):
    scores = np.random.default_rng(0).permutation(np.arange(1, n + 1))
    assert acceptance_threshold(scores) == pytest.approx(expected)


@pytest.mark.parametrize(("n_held_out", "expected"), [(12, 12 / 13), (99, 0.99), (1000, 0.99)])
def test_few_images_promise_a_lower_acceptance(n_held_out, expected):
    assert known_score_record({"fp32": -1.0}, 80, n_held_out).acceptance == pytest.approx(expected)


@pytest.fixture
def exported(make_run, tmp_path):
    """The run and the bundle of the small network, of which 12 of 80 images validate."""
    run = make_run(val_fraction=0.2)
    return Run.open(run), export(ExportJob(run=run, out=tmp_path / "bundle"))


def test_each_variant_has_the_score_as_its_second_output(exported):
    run, bundle = exported
    images = decode_unchanged(Path(run.record.data), run.split().images("val"), run.record.image.reader())
    record = bundle.manifest.known_score
    assert (record.part, record.n_images, record.acceptance) == ("val", 12, pytest.approx(12 / 13))
    assert record.n_training_images == len(run.split().images("train"))
    assert set(record.thresholds) == {"fp32", "fp16", "int8"}
    for name in record.thresholds:
        model = read_variant(bundle, name)
        assert [output.get_any_name() for output in model.outputs] == ["logits", "known_score"]
        scores = run_known_score(model, images)
        assert scores.dtype == np.float32
        assert record.thresholds[name] == pytest.approx(scores.min(), abs=1e-4)


def test_the_graph_computes_what_numpy_does(exported):
    run, bundle = exported
    reader = run.record.image.reader()
    parts = {part: run.split().images(part) for part in ("train", "val", "test")}
    images = {part: decode_unchanged(Path(run.record.data), some, reader) for part, some in parts.items()}
    model = read_variant(bundle, "fp32")
    taps = {part: read_taps(model, pixels) for part, pixels in images.items()}
    labels = np.array([image.label for image in parts["train"]])
    weights = KnownScoreWeights.fit(taps["train"], labels, taps["val"])
    np.testing.assert_allclose(run_known_score(model, images["test"]), weights.scores(*taps["test"]), atol=1e-3)


def test_the_logits_are_those_without_a_score(exported):
    _, bundle = exported
    golden = bundle.golden()
    for name, tolerance in (("fp32", 1e-5), ("fp16", 1e-2)):
        np.testing.assert_allclose(run_model(read_variant(bundle, name), golden.images), golden.logits, atol=tolerance)


def test_what_is_like_no_training_image_is_unknown(exported):
    _, bundle = exported
    golden = bundle.golden().images
    # The images of the run have green values of 90 or 190 on average.
    black = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    # f32 is the precision of the thresholds. In bf16 the features of so small a network change a lot.
    options = {"device": "CPU", "execution_precision": "f32"}
    for variant in ("fp32", "int8"):
        with Classifier.from_bundle(bundle.path, variant=variant, **options) as classifier:
            assert np.mean([each.known for each in classifier.predict(golden)]) >= 0.75
            assert [each.known for each in classifier.predict(black)] == [False]


def test_model_api_still_sees_the_classes(exported):
    models = pytest.importorskip("model_api.models", reason="openvino-model-api needs Python 3.11")
    _, bundle = exported
    theirs = models.Model.create_model(str(bundle.path / "int8.xml"), device="CPU")
    images = bundle.golden().images
    with Classifier.from_bundle(bundle.path, device="CPU", variant="int8", execution_precision="f32") as ours:
        expected = ours.predict(images)
    for image, prediction in zip(images, expected, strict=True):
        (top,) = theirs(image).top_labels
        assert (top.name, top.confidence) == (prediction.label, pytest.approx(prediction.probabilities[0], abs=1e-3))


def test_a_small_validation_part_rejects_more_known_images_and_a_note_says_so(make_run, tmp_path):
    heard = Notes()
    job = ExportJob(run=make_run(val_fraction=0.1), out=tmp_path / "bundle", variants=("fp32",))
    export(job, reporter=heard)
    (note,) = heard.notes
    assert note == (
        "--unknown is expected to reject 14% of the known images, because the validation part has fewer than 10 images "
        "(it has 6)"
    )


def test_without_a_validation_part_there_is_none_and_a_note_says_why(make_run, tmp_path):
    heard = Notes()
    bundle = export(ExportJob(run=make_run(), out=tmp_path / "bundle", variants=("fp32",)), reporter=heard)
    assert bundle.manifest.known_score is None
    assert "known_score" not in (bundle.path / "manifest.json").read_text(encoding="utf-8")
    assert len(read_variant(bundle, "fp32").outputs) == 1
    assert any("--val-fraction" in note for note in heard.notes)
    with pytest.raises(BundleError, match="--val-fraction"):
        Bundle.open(bundle.path).check_known_score()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["alexnet", "mobilenet_v2", "resnet18", "shufflenet_v2_x1_0", "vgg16"])
def test_all_models_have_the_taps(name, tmp_path):
    from overfly.export.ir import convert
    from overfly.export.onnx_model import write_onnx
    from overfly.runtime.images.reading import ImageSpec
    from overfly.training.models.build import PreprocessedModel, build_model

    image = ImageSpec(64, (0.5, 0.5, 0.5), (0.2, 0.2, 0.2))
    write_onnx(PreprocessedModel(build_model(name, 3), image).eval(), tmp_path / "m.onnx", size=64, metadata={})
    taps = find_taps(convert(tmp_path / "m.onnx", classes=("a", "b", "c"), image=image))
    side = taps.middle.get_partial_shape()[2].get_length()
    assert side == (7 if name == "alexnet" else 8)
    assert len(taps.features.get_partial_shape()) == 2
