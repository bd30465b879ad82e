"""Pictures or arrays in, labels out, in the order given."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from overfly.runtime.classifier import Classifier, Prediction, softmax
from overfly.runtime.errors import BundleError, ImageError

SIZE = 8


@pytest.fixture
def classifier(make_bundle):
    return Classifier.from_bundle(make_bundle(), device="CPU", variant="fp32")


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


def test_paths_and_arrays_may_be_mixed(classifier, picture):
    path, content = picture
    by_path, by_array = classifier.predict([path, content], top_k=4)
    assert by_path == by_array


def test_a_picture_of_another_size_is_resized(classifier, tmp_path, pixels):
    large = Image.fromarray(pixels(50, 31))
    large.save(tmp_path / "large.png")
    small = np.asarray(large.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    assert classifier.predict([tmp_path / "large.png"], top_k=4) == classifier.predict([small], top_k=4)


@pytest.mark.parametrize(
    ("shape", "dtype", "found"),
    [
        ((SIZE, SIZE, 3), np.float32, "float32 [8, 8, 3]"),
        ((SIZE, SIZE + 1, 3), np.uint8, "uint8 [8, 9, 3]"),
        ((1, SIZE, SIZE, 3), np.uint8, "uint8 [1, 8, 8, 3]"),
        ((SIZE, SIZE), np.uint8, "uint8 [8, 8]"),
    ],
)
def test_an_array_of_another_kind_is_refused(classifier, shape, dtype, found):
    with pytest.raises(ValueError, match="the array is") as caught:
        classifier.predict([np.zeros(shape, dtype)])
    assert str(caught.value) == f"the array is {found}, expected uint8 [8, 8, 3]"


def test_an_unreadable_picture_is_named(classifier, picture):
    path, _ = picture
    with pytest.raises(ImageError, match=r"absent\.png does not exist"):
        classifier.predict([path, path.with_name("absent.png")])


def test_the_default_variant_is_int8_and_its_absence_is_told(make_bundle):
    with pytest.raises(BundleError, match="has no variant int8"):
        Classifier.from_bundle(make_bundle(), device="CPU")


def test_a_stream_answers_before_it_has_seen_everything(classifier, pixels):
    def images():
        for i in range(1000):
            assert i < 500, "the stream reads everything first"
            yield pixels(SIZE, seed=i)

    assert isinstance(next(classifier.predict_stream(images())), Prediction)


def test_nothing_in_nothing_out(classifier):
    assert classifier.predict([]) == []


def test_a_bundle_that_is_not_there():
    with pytest.raises(BundleError, match="found nothing"):
        Classifier.from_bundle(Path("no such bundle"))
