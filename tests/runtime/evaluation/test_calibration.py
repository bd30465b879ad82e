"""Log likelihood, Brier score and calibration error: scikit-learn, and loops that count, to twelve digits."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import softmax
from sklearn.metrics import log_loss, mean_squared_error

from overfly.runtime.evaluation.calibration import (
    N_BINS,
    Scores,
    brier,
    ece,
    ece_if_calibrated,
    log_softmax,
    nll,
    reliability,
    risk_coverage,
)
from overfly.runtime.evaluation.intervals import middle_95, probability_intervals

TOLERANCE = 1e-12


@st.composite
def answers(draw):
    """(logits, truth) of 1 to 60 images; coarse logits, so that many images have the same confidence."""
    n_images, n_classes = draw(st.integers(1, 40)), draw(st.integers(2, 5))
    step = draw(st.sampled_from((0.001, 0.3, 1.25)))
    steps = draw(arrays(np.int64, (n_images, n_classes), elements=st.integers(-12, 12)))
    truth = draw(arrays(np.int64, n_images, elements=st.integers(0, n_classes - 1)))
    return (steps * step).astype(np.float32), truth


def counted_ece(scores):
    """The definition, image by image: the mean of |accuracy - mean confidence| of the bin that each image is in."""
    images = list(zip(scores.confidence.tolist(), scores.is_right.tolist(), strict=True))
    bins = [[] for _ in range(15)]
    for confidence, is_right in images:
        less_sure = sum(other < confidence for other, _ in images)
        bins[15 * less_sure // len(images)].append((confidence, is_right))
    total = 0.0
    for of_bin in filter(None, bins):
        accuracy = sum(is_right for _, is_right in of_bin) / len(of_bin)
        confidence = math.fsum(confidence for confidence, _ in of_bin) / len(of_bin)
        total += len(of_bin) / len(images) * abs(accuracy - confidence)
    return total


@settings(max_examples=60)
@given(answers())
def test_other_implementations_agree(case):
    logits, truth = case
    scores = Scores.of(logits, truth)
    probabilities = softmax(logits.astype(float), axis=1)
    n_classes = logits.shape[1]
    expected = {
        nll: log_loss(truth, probabilities, labels=range(n_classes)),
        brier: mean_squared_error(np.eye(n_classes)[truth], probabilities) * n_classes,
        ece: counted_ece(scores),
    }
    for metric, value in expected.items():
        assert math.isclose(metric(scores, scores.once), value, rel_tol=0, abs_tol=TOLERANCE), metric
    assert np.allclose(scores.confidence, np.sort(probabilities.max(axis=1)), rtol=0, atol=TOLERANCE)
    assert scores.is_right.sum() == (logits.argmax(axis=1) == truth).sum()


@settings(max_examples=30)
@given(answers(), st.randoms(use_true_random=False))
def test_an_image_that_counts_twice_is_two_images_and_their_order_does_not_matter(case, random):
    logits, truth = case
    chosen = [random.randrange(len(truth)) for _ in truth]
    scores = Scores.of(logits, truth)
    # The images are sorted by confidence, so the place of each is needed.
    order = np.argsort(np.exp(log_softmax(logits)).max(axis=1), kind="stable")
    times = np.bincount(chosen, minlength=len(truth))[order]
    copies = Scores.of(logits[chosen], truth[chosen])
    for metric in (nll, brier, ece):
        one = metric(copies, copies.once)
        assert metric(scores, np.stack([times, scores.once])).tolist() == pytest.approx(
            [one, metric(scores, scores.once)], abs=TOLERANCE
        )


def known(confidences, n_wrong):
    """Return the scores of images of two classes with these confidences, of which the first are wrong."""
    confidences = np.array(confidences)
    logits = np.stack([np.log(confidences), np.log(1 - confidences)], axis=1).astype(np.float32)
    truth = (np.arange(len(confidences)) < n_wrong).astype(np.int64)
    return Scores.of(logits, truth)


def test_a_case_by_hand():
    # Two groups of equal confidence, each a bin: 3 of 4 right at 0.6, 12 of 12 at 0.9.
    scores = known([0.6] * 4 + [0.9] * 12, 1)
    found = [(round(b.confidence, 6), b.n_images, b.n_right) for b in reliability(scores)]
    assert found == [(0.6, 4, 3), (0.9, 12, 12)]
    assert ece(scores, scores.once) == pytest.approx((4 * 0.15 + 12 * 0.1) / 16)
    assert nll(scores, scores.once) == pytest.approx(
        -(math.log(0.4) + 3 * math.log(0.6) + 12 * math.log(0.9)) / 16, rel=1e-6
    )
    assert brier(scores, scores.once) == pytest.approx(2 * (0.36 + 3 * 0.16 + 12 * 0.01) / 16, rel=1e-6)


def test_the_bins_have_the_same_number_of_images():
    scores = known(np.linspace(0.51, 0.99, 420), 9)
    assert [b.n_images for b in reliability(scores)] == [28] * N_BINS
    assert sum(b.n_right for b in reliability(scores)) == 411


def test_wilson_s_interval_has_a_width_also_if_all_are_right():
    low, high = reliability(known([0.9] * 28, 0))[0].ci95
    assert (low, high) == (pytest.approx(1 / (1 + 1.959964**2 / 28)), 1.0)


def test_the_risk_coverage_curve_by_hand():
    # The two least sure images are equally sure, so a threshold separates none or both.
    left, accuracy = risk_coverage(known([0.6, 0.6, 0.7, 0.8, 0.9], 3))
    assert left.tolist() == [0.0, 0.4, 0.6, 0.8]
    assert accuracy.tolist() == pytest.approx([2 / 5, 2 / 3, 1.0, 1.0])


def test_the_bias_of_the_calibration_error_is_that_of_right_probabilities():
    # One bin for each of 15 confidences: the mean of |k / n - p| of a binomial k.
    confidences = np.repeat(np.linspace(0.55, 0.97, 15), 28)
    scores = known(confidences, 0)
    expected = np.mean(
        [
            sum(math.comb(28, k) * p**k * (1 - p) ** (28 - k) * abs(k / 28 - p) for k in range(29))
            for p in scores.confidence[::28]
        ]
    )
    draws = ece_if_calibrated(scores, n_draws=4000)
    assert draws.shape == (4000,)
    assert draws.mean() == pytest.approx(expected, abs=4 * draws.std() / math.sqrt(4000))
    assert (ece_if_calibrated(scores, n_draws=4000) == draws).all()
    # The same for so many images that the draws are made in several parts.
    many = known(np.tile(confidences, 10), 0)
    assert ece_if_calibrated(many, n_draws=600).mean() < expected / 2


def test_the_intervals_are_seeded_and_hold_the_figures():
    scores = known(np.linspace(0.6, 0.99, 300), 30)
    found = probability_intervals(scores)
    assert found == probability_intervals(scores) != probability_intervals(scores, seed=1)
    for name, metric in {"nll": nll, "brier": brier}.items():
        low, high = found[name]
        assert low < metric(scores, scores.once) < high
        # The bootstrap of a mean is close to the normal distribution.
        each = scores.log_loss if name == "nll" else scores.squared_error
        assert high - low == pytest.approx(2 * 1.96 * each.std() / math.sqrt(300), rel=0.1)


def test_the_interval_of_the_calibration_error_begins_at_0_if_chance_explains_it():
    generator = np.random.default_rng(3)
    confidences = generator.beta(12, 0.6, 420).clip(0.5, 0.999)
    order = np.argsort(generator.random(420) < confidences)  # the wrong ones first
    calibrated = known(confidences[order], int((np.sort(generator.random(420) < confidences) == 0).sum()))
    low, high = probability_intervals(calibrated)["ece"]
    assert 0 == low < high < 0.05
    # All right with a confidence of 0.8: the error is 0.2, and chance does not explain it.
    low, high = probability_intervals(known(np.linspace(0.79, 0.81, 420), 0))["ece"]
    assert 0.19 < low < 0.2 < high < 0.21


@pytest.mark.slow
@pytest.mark.parametrize("power", [1.0, 1.5])
def test_the_interval_of_the_calibration_error_holds_the_error(power):
    """With probabilities that are right, and with an accuracy that is the confidence to a power."""
    generator = np.random.default_rng(5)

    def draw(n_images):
        confidences = np.sort(generator.beta(12, 0.6, n_images).clip(0.01, 1 - 1e-6))
        return confidences, confidences**power

    confidences, accuracies = draw(200_000)
    gaps = np.array_split(accuracies - confidences, N_BINS)
    error = sum(abs(gap.sum()) for gap in gaps) / 200_000
    n_held = 0
    for _ in range(100):
        confidences, accuracies = draw(420)
        scores = Scores(confidences, generator.random(420) < accuracies, np.zeros(420), np.zeros(420))
        low, high = probability_intervals(scores, n_resamples=400)["ece"]
        n_held += low <= error <= high
    assert n_held >= 85


def test_huge_logits_do_not_overflow():
    logits = np.array([[1e30, -1e30], [3e38, 3e38]], np.float32)
    scores = Scores.of(logits, np.array([0, 1]))
    assert scores.confidence.tolist() == [0.5, 1.0]
    assert nll(scores, scores.once) == pytest.approx(math.log(2) / 2)
    assert middle_95(np.arange(101.0)) == (2.5, 97.5)
