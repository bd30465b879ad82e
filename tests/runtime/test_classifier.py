"""Images or arrays in, labels out, in the order given."""

import _thread
import dataclasses
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from overfly.runtime import classifier as classifier_module
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import write_manifest
from overfly.runtime.bundle.storage import write_zip
from overfly.runtime.classifier import Classifier, Prediction, softmax
from overfly.runtime.errors import BundleError, ImageError
from overfly.runtime.inference.pipeline import ordered_results
from overfly.runtime.machine import decoding_threads, usable_cores

SIZE = 8


@pytest.fixture
def classifier(make_bundle):
    return Classifier.from_bundle(make_bundle(), device="CPU", variant="fp32")


def gray(level):
    return np.full((SIZE, SIZE, 3), level, np.uint8)


@pytest.mark.parametrize(("variant", "expected"), [("fp32", [False, True, True]), ("fp16", [False, False, True])])
def test_an_image_is_known_from_the_threshold_of_the_variant_on(known_bundle, variant, expected):
    with Classifier.from_bundle(known_bundle, device="CPU", variant=variant) as classifier:
        predictions = classifier.predict([gray(90), gray(120), gray(180)], top_k=4)
    assert [prediction.known for prediction in predictions] == expected
    for prediction in predictions:
        assert sum(prediction.probabilities) == pytest.approx(1)


def test_without_a_known_score_it_is_not_known_what_is_known(classifier):
    assert classifier.predict([gray(90)])[0].known is None


def test_a_manifest_that_denies_the_second_output_is_refused(make_bundle, known_bundle):
    known, other = Bundle.open(known_bundle), Bundle.open(make_bundle())
    write_manifest(known.path, dataclasses.replace(known.manifest, known_score=None))
    write_manifest(other.path, dataclasses.replace(other.manifest, known_score=known.manifest.known_score))
    for path in (known.path, other.path):
        with pytest.raises(BundleError, match="outputs"):
            Classifier.from_bundle(path, device="CPU", variant="fp32")


def test_softmax_by_hand():
    logits = np.log(np.array([[1, 2, 5], [4, 4, 2]], np.float32))
    assert np.allclose(softmax(logits), [[0.125, 0.25, 0.625], [0.4, 0.4, 0.2]], rtol=1e-6)
    assert softmax(logits).dtype == np.float32


def test_softmax_does_not_overflow():
    assert softmax(np.array([1e4, 1e4, -1e4], np.float32)).tolist() == [0.5, 0.5, 0.0]


@settings(deadline=None)
@given(arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 6)), elements=st.floats(-50, 50, width=32)))
def test_softmax_sums_to_one_and_keeps_the_order(logits):
    probabilities = softmax(logits)
    assert np.allclose(probabilities.sum(axis=-1), 1, atol=1e-5)
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    largest = np.take_along_axis(probabilities, logits.argmax(axis=-1)[:, None], axis=-1)
    assert (largest[:, 0] == probabilities.max(axis=-1)).all()


def test_the_labels_and_probabilities_of_arrays(classifier, pixels, expected_logits):
    images = [pixels(SIZE, seed=i) for i in range(10)]
    predictions = classifier.predict(images, top_k=4)
    probabilities = softmax(expected_logits(np.stack(images)).astype(np.float32))
    order = np.argsort(-probabilities, axis=1)
    for i, prediction in enumerate(predictions):
        assert prediction.labels == tuple(classifier.classes[k] for k in order[i])
        assert np.allclose(prediction.probabilities, probabilities[i][order[i]], atol=1e-4)
        assert prediction.label == prediction.labels[0]
    assert len({prediction.label for prediction in predictions}) > 1


@pytest.mark.parametrize(("top_k", "n"), [(1, 1), (3, 3), (4, 4), (9, 4)])
def test_top_k(classifier, pixels, top_k, n):
    (prediction,) = classifier.predict([pixels(SIZE)], top_k=top_k)
    assert len(prediction.labels) == len(prediction.probabilities) == n
    assert list(prediction.probabilities) == sorted(prediction.probabilities, reverse=True)


def test_paths_and_arrays_may_be_mixed(classifier, image):
    path, content = image
    by_path, by_array = classifier.predict([path, content], top_k=4)
    assert by_path == by_array


def test_the_range_of_the_bundle_applies_to_more_than_8_bits_only(make_bundle, tmp_path, pixels, caplog):
    folder = make_bundle()
    manifest = Bundle.open(folder).manifest
    content = pixels(SIZE)
    paths = [tmp_path / "images" / name for name in ("8.png", "12.tif")]
    paths[0].parent.mkdir()
    Image.fromarray(content).save(paths[0])
    with rasterio.open(
        paths[1], "w", driver="GTiff", height=SIZE, width=SIZE, count=3, dtype="uint16", interleave="band"
    ) as dataset:
        dataset.write(np.moveaxis(content.astype(np.uint16) * 16, 2, 0))
    answers = {}
    for value_range in (None, (0.0, 4080.0)):
        image = dataclasses.replace(manifest.image, value_range=value_range)
        write_manifest(folder, dataclasses.replace(manifest, image=image))
        assert Bundle.open(folder).manifest.image.value_range == value_range
        with Classifier.from_bundle(folder, device="CPU", variant="fp32") as classifier:
            answers[value_range] = classifier.predict([*paths, *paths], top_k=4)
    eight, twelve = answers[0.0, 4080.0][:2]
    assert twelve == eight == answers[None][0] != answers[None][1]
    messages = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(messages) == 1
    assert messages[0].startswith(str(paths[1]))


def test_an_image_of_another_size_is_resized(classifier, tmp_path, pixels):
    large = Image.fromarray(pixels(50, 31))
    large.save(tmp_path / "large.png")
    small = np.asarray(large.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    assert classifier.predict([tmp_path / "large.png"], top_k=4) == classifier.predict([small], top_k=4)


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((SIZE, SIZE, 3), np.float32, "float32 [8, 8, 3]"),
        ((SIZE, SIZE, 4), np.uint8, "uint8 [8, 8, 4]"),
        ((1, SIZE, SIZE, 3), np.uint8, "uint8 [1, 8, 8, 3]"),
        ((SIZE, SIZE), np.uint8, "uint8 [8, 8]"),
        ((0, SIZE, 3), np.uint8, "uint8 [0, 8, 3]"),
    ],
)
def test_an_array_of_another_kind_is_rejected(classifier, shape, dtype, found):
    with pytest.raises(ValueError, match="uint8") as caught:
        classifier.predict([np.zeros(shape, dtype)])
    assert str(caught.value) == f"the array is {found}, expected uint8 [height, width, 3]"


@pytest.mark.parametrize("shape", [(50, 31), (3, 3), (8, 80)])
def test_an_array_of_another_size_is_resized_like_an_image(classifier, tmp_path, pixels, shape):
    content = pixels(*shape)
    Image.fromarray(content).save(tmp_path / "scene.png")
    by_array, by_path = classifier.predict([content, tmp_path / "scene.png"], top_k=4)
    assert by_array == by_path


def test_a_path_may_be_text_and_a_stack_of_arrays_is_a_sequence(classifier, image, pixels):
    path, content = image
    assert classifier.predict([str(path)], top_k=4) == classifier.predict([content], top_k=4)
    stack = np.stack([pixels(SIZE, seed=i) for i in range(5)])
    assert classifier.predict(stack, top_k=4) == classifier.predict(list(stack), top_k=4)


@pytest.mark.parametrize("kind", [str, Path])
def test_a_single_path_is_rejected(classifier, kind):
    for way in (classifier.predict, classifier.predict_stream, classifier.answers):
        with pytest.raises(TypeError) as caught:
            way(kind("scene.png"))
        path = kind("scene.png")
        assert str(caught.value) == f"images is the single path {path!r}, expected several: put it into a list"


@pytest.mark.parametrize("image", [b"scene.jpg", None, [[1, 2]], Image.new("RGB", (SIZE, SIZE))])
def test_what_is_neither_a_path_nor_an_array_is_named_by_its_type(classifier, image):
    with pytest.raises(TypeError) as caught:
        classifier.predict([image])
    assert str(caught.value) == f"an image is a {type(image).__name__}, expected a path or a uint8 array"


@pytest.mark.parametrize("top_k", [0, -1])
def test_fewer_than_one_class_is_rejected(classifier, pixels, top_k):
    for way in (classifier.predict, classifier.predict_stream, classifier.answers):
        with pytest.raises(ValueError, match="top_k") as caught:
            way([pixels(SIZE)], top_k=top_k)
        assert str(caught.value) == f"top_k is {top_k}, expected at least 1"


def test_an_unreadable_image_is_named(classifier, image):
    path, _ = image
    with pytest.raises(ImageError, match=r"absent\.png"):
        classifier.predict([path, path.with_name("absent.png")])


def test_the_default_variant_is_the_smallest_there_is(make_bundle):
    path = make_bundle()
    assert Classifier.from_bundle(path, device="CPU").runner.variant == "fp16"
    with pytest.raises(BundleError, match="int8"):
        Classifier.from_bundle(str(path), device="CPU", variant="int8")


def test_a_stream_answers_before_it_has_seen_everything(classifier, pixels):
    def images():
        for i in range(1000):
            assert i < 500, "the stream reads everything first"
            yield pixels(SIZE, seed=i)

    assert isinstance(next(classifier.predict_stream(images())), Prediction)


def test_nothing_in_nothing_out(classifier):
    assert classifier.predict([]) == []


def test_a_bundle_that_is_not_there():
    with pytest.raises(BundleError, match="no such bundle"):
        Classifier.from_bundle(Path("no such bundle"))


def mixed_images(folder, pixels, n_images):
    """Write images of which every seventh is broken; return their paths and the pixels of the good ones."""
    paths, contents = [], []
    for index in range(n_images):
        path = folder / f"{index:03}.png"
        if index % 7 == 3:
            path.write_bytes(b"no image")
            contents.append(None)
        else:
            contents.append(pixels(SIZE, seed=index))
            Image.fromarray(contents[-1]).save(path)
        paths.append(path)
    return paths, contents


def test_bad_images_keep_their_places_among_hundreds(classifier, tmp_path, pixels):
    paths, contents = mixed_images(tmp_path, pixels, 300)
    good = iter(classifier.predict([content for content in contents if content is not None], top_k=4))
    answers = list(classifier.answers(paths, top_k=4))
    assert len(answers) == 300
    for path, content, answer in zip(paths, contents, answers, strict=True):
        if content is None:
            assert isinstance(answer, ImageError)
            assert str(path) in str(answer)
        else:
            assert answer == next(good)


def test_a_stream_raises_after_the_answers_before_the_bad_image(classifier, tmp_path, pixels):
    paths, _ = mixed_images(tmp_path, pixels, 20)
    stream = classifier.predict_stream(paths)
    assert [next(stream) for _ in range(3)] == classifier.predict(paths[:3])
    with pytest.raises(ImageError, match=r"003\.png"):
        next(stream)


def test_bad_images_are_reported_without_waiting_for_a_good_one(classifier, tmp_path):
    paths = [tmp_path / f"{index}.png" for index in range(3)]
    asked = []

    def source():
        for path in paths:
            asked.append(path)
            yield path

    answers = classifier.answers(source())
    assert str(paths[0]) in str(next(answers))
    assert str(paths[1]) in str(next(answers))


def test_only_a_few_images_are_ahead_of_the_answers(classifier, tmp_path, pixels):
    paths, _ = mixed_images(tmp_path, pixels, 200)
    asked = 0

    def source():
        nonlocal asked
        for path in paths:
            asked += 1
            yield path

    limit = 2 * usable_cores() + classifier.runner.depth + 1
    for n_answered, _ in enumerate(classifier.answers(source()), start=1):
        assert asked - n_answered <= limit
    assert asked == 200


class Unhurried:
    """A runner whose work is never done before it is waited for."""

    def __init__(self, runner):
        self.runner = runner
        self.depth = 3
        self.n_started = 0
        self.known_threshold = runner.known_threshold

    def start(self, image, *, known_margin):
        self.n_started += 1
        return SimpleNamespace(done=lambda: False, result=self.runner.start(image, known_margin=known_margin).result)


def test_no_more_is_started_than_the_runner_wants_in_flight(classifier, pixels):
    images = [pixels(SIZE, seed=i) for i in range(30)]
    runner = Unhurried(classifier.runner)
    answers = []
    for answer in Classifier(classifier.classes, classifier.reader, runner).predict_stream(images, top_k=4):
        assert runner.n_started - len(answers) <= runner.depth
        answers.append(answer)
    assert answers == classifier.predict(images, top_k=4)


def test_a_camera_may_draw_into_one_array_even_beside_files_that_take_long(classifier, tmp_path, pixels):
    path = tmp_path / "large.png"
    Image.fromarray(pixels(600, 600)).save(path)
    contents = [pixels(SIZE, seed=i) for i in range(100)]
    buffer = np.empty_like(contents[0])

    def source():
        for index, content in enumerate(contents):
            if index % 5 == 0:
                yield path
            buffer[:] = content
            yield buffer
            buffer[:] = 0

    answers = classifier.predict(source(), top_k=4)
    from_array = [answer for i, answer in enumerate(answers) if i % 6]
    assert from_array == classifier.predict(contents, top_k=4)


@pytest.mark.parametrize("kind", ["arrays", "files"])
def test_a_slow_source_gets_its_answers_within_two_images(classifier, image, kind, monkeypatch):
    path, content = image
    n_asked = n_answered = 0
    under_way = []

    def note_and_order(started, limit):
        return ordered_results((under_way.append(item) or item for item in started), limit)

    monkeypatch.setattr(classifier_module, "ordered_results", note_and_order)

    def source():
        nonlocal n_asked
        for _ in range(6):
            while not all(item.done() for item in under_way):  # a slow source takes longer than the work
                time.sleep(0.001)
            assert n_asked - n_answered <= 2
            n_asked += 1
            yield content if kind == "arrays" else path

    for _ in classifier.predict_stream(source()):
        n_answered += 1
    assert n_answered == 6


@pytest.fixture
def wait_for_threads():
    """A function that waits until the threads that the test started have ended."""
    before = _thread._count()

    def wait():
        deadline = time.monotonic() + 60
        while _thread._count() > before:
            assert time.monotonic() < deadline
            time.sleep(0.001)

    return wait


@pytest.mark.parametrize(("n_images", "n_new_threads"), [(0, 0), (1, 0), (2, decoding_threads())])
def test_a_single_image_needs_no_threads(classifier, tmp_path, monkeypatch, n_images, n_new_threads):
    path = tmp_path / "gray.png"
    Image.fromarray(gray(7)).save(path)
    started = []
    start = _thread.start_new_thread
    monkeypatch.setattr(_thread, "start_new_thread", lambda *given: started.append(given) or start(*given))
    for images in ([path] * n_images, (str(path),) * n_images, np.full((n_images, SIZE, SIZE, 3), 7, np.uint8)):
        started.clear()
        assert len(classifier.predict(images)) == n_images
        assert len(started) == n_new_threads


def test_no_thread_outlives_its_stream(classifier, tmp_path, pixels, wait_for_threads):
    paths, _ = mixed_images(tmp_path, pixels, 30)
    before = _thread._count()
    left_early = classifier.predict_stream(paths)
    next(left_early)
    assert 1 <= _thread._count() - before <= 8
    left_early.close()
    wait_for_threads()
    with pytest.raises(ImageError, match=r"003\.png"):
        classifier.predict(paths)
    wait_for_threads()
    assert len(list(classifier.answers(paths))) == 30
    wait_for_threads()


def test_a_source_that_fails_harms_nothing(classifier, image, wait_for_threads):
    path, content = image

    def unplugged():
        yield from [path, content] * 5
        raise KeyError("camera unplugged")

    with pytest.raises(KeyError, match="camera unplugged"):
        classifier.predict(unplugged())
    with pytest.raises(ValueError, match=r"\[8, 3\]"):
        classifier.predict([path, content, content[0]])
    wait_for_threads()
    assert len(classifier.predict([path, content])) == 2


def test_threads_share_a_classifier(classifier, tmp_path, pixels):
    paths, _ = mixed_images(tmp_path, pixels, 60)
    expected = [str(answer) for answer in classifier.answers(paths, top_k=4)]
    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(lambda: [str(answer) for answer in classifier.answers(paths, top_k=4)]) for _ in range(12)]
        assert all(run.result() == expected for run in runs)


def test_a_stream_that_is_left_early_harms_nothing(classifier, pixels):
    images = [pixels(SIZE, seed=i) for i in range(50)]
    expected = classifier.predict(images)
    for n_taken in (1, 2, 7):
        stream = classifier.predict_stream(iter(images))
        assert [next(stream) for _ in range(n_taken)] == expected[:n_taken]
        stream.close()
    assert classifier.predict(images) == expected


def test_a_closed_classifier_says_so(make_bundle, pixels):
    with Classifier.from_bundle(make_bundle(), device="CPU") as classifier:
        assert len(classifier.predict([pixels(SIZE)])) == 1
    with pytest.raises(ValueError, match="closed"):
        classifier.predict([pixels(SIZE)])
    classifier.close()  # once more does no harm


def test_an_error_inside_the_block_closes_too_and_comes_through(make_bundle, pixels):
    opened = Classifier.from_bundle(make_bundle(), device="CPU")
    stream = opened.predict_stream([pixels(SIZE)] * 100)

    def fail():
        with opened as classifier:
            assert classifier is opened
            next(stream)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail()
    with pytest.raises(ValueError, match="closed"):
        list(stream)


def test_all_settings_reach_the_runner(make_bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path / "cache"))
    settings = {"hint": "throughput", "cache": False, "properties": {"INFERENCE_NUM_THREADS": "1"}}
    classifier = Classifier.from_bundle(
        make_bundle(), device="CPU", variant="fp16", execution_precision="f32", **settings
    )
    compiled = classifier.runner._compiled
    assert classifier.runner.requested_precision == "f32"
    assert str(compiled.get_property("PERFORMANCE_HINT")).endswith("THROUGHPUT")
    assert compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert not (tmp_path / "cache").exists()


def test_a_zip_gives_the_answers_of_the_folder(bundle):
    packed = bundle.path.with_suffix(".zip")
    write_zip(packed, bundle.path)
    with (
        Classifier.from_bundle(packed, device="CPU") as ours,
        Classifier.from_bundle(bundle.path, device="CPU") as same,
    ):
        assert ours.predict(bundle.golden().images) == same.predict(bundle.golden().images)


def test_the_log_says_what_was_chosen_and_why(make_bundle, caplog):
    caplog.set_level("INFO", "overfly")
    path = make_bundle()
    Classifier.from_bundle(path).close()
    Classifier.from_bundle(path, device="CPU", variant="fp32").close()
    chosen = [record for record in caplog.records if record.name == "overfly.runtime.classifier"]
    assert [record.args[0] for record in chosen] == ["fp16", "fp32"]
    assert "smallest weights" in chosen[0].getMessage()
    assert any(record.name == "overfly.runtime.inference.devices" for record in caplog.records)
