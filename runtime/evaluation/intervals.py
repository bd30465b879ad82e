"""95% intervals of the metrics: how far the figures of another test part of this size could be from these."""

import numpy as np

from overfly.runtime.evaluation.calibration import PROBABILITY_METRICS, Scores, chunks, ece, ece_if_calibrated
from overfly.runtime.evaluation.metrics import METRICS, ClassCounts, Confusion, Values

# Enough for a percentile interval: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), ask for 1,000.
N_RESAMPLES = 2_000

_MIDDLE_95 = (2.5, 97.5)

# The 95% interval (low, high) of each metric in `METRICS` or `PROBABILITY_METRICS`.
Intervals = dict[str, tuple[float, float]]


def bootstrap_intervals(confusion: Confusion, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> Intervals:
    """Return 95% percentile intervals of the metrics over the images.

    The bootstrap draws the images with replacement, `n_resamples` times (Efron, "Bootstrap methods: another look at the
    jackknife", 1979). The metrics depend on the confusion matrix alone, so its cells are drawn from a multinomial
    distribution instead, which is equivalent. If no image is wrong, no resample has a wrong one, and the interval has
    no width.

    Parameters
    ----------
    confusion
        int64, shape ``[n_classes, n_classes]``, rows the truth; at least one image.
    seed
        Seed of the draws: the same matrix always has the same intervals.
    n_resamples
        Number of draws.
    """
    cells = np.argwhere(confusion > 0)
    n_in_cell = confusion[cells[:, 0], cells[:, 1]]
    n_images = int(n_in_cell.sum())
    draws = np.random.default_rng(seed).multinomial(n_images, n_in_cell / n_images, size=n_resamples)
    one_hot = np.eye(len(confusion), dtype=np.int64)
    truth, predicted = one_hot[cells[:, 0]], one_hot[cells[:, 1]]
    # Each of shape [n_resamples, n_classes].
    counts = ClassCounts(draws @ truth, draws @ predicted, draws @ (truth * predicted))
    return {name: middle_95(metric(counts)) for name, metric in METRICS.items()}


def probability_intervals(scores: Scores, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> Intervals:
    """Return 95% intervals of the probability metrics over the images, by the same bootstrap.

    Those of the negative log likelihood and the Brier score are percentile intervals. A resample has a larger
    calibration error than its images, because chance adds to it twice, so `_ece_interval` corrects for that.
    """
    generator = np.random.default_rng(seed)
    n_images = len(scores.confidence)
    draws: dict[str, list[Values]] = {name: [] for name in PROBABILITY_METRICS}
    for n in chunks(n_resamples, n_images):
        chosen = generator.integers(n_images, size=(n, n_images)) + n_images * np.arange(n)[:, np.newaxis]
        times = np.bincount(chosen.ravel(), minlength=n * n_images).reshape(n, n_images)
        for name, metric in PROBABILITY_METRICS.items():
            draws[name].append(metric(scores, times))
    resampled = {name: np.concatenate(values) for name, values in draws.items()}
    return {name: middle_95(values) for name, values in resampled.items()} | {
        "ece": _ece_interval(scores, resampled["ece"], ece_if_calibrated(scores, seed=seed, n_draws=n_resamples))
    }


def _ece_interval(scores: Scores, resampled: Values, if_calibrated: Values) -> tuple[float, float]:
    """Return the interval of the calibration error itself, without the bias of its estimator.

    It is the basic bootstrap interval (Davison and Hinkley, "Bootstrap methods and their application", 1997, 5.2): how
    far the resamples lie above the estimate says how far the estimate lies above the error. It begins at 0 if perfect
    probabilities would give an estimate as large as this one in more than 2.5% of the cases.
    """
    estimate = float(ece(scores, scores.once))
    low, high = middle_95(resampled)
    could_be_0 = estimate <= middle_95(if_calibrated)[1]
    return 0.0 if could_be_0 else max(0.0, 2 * estimate - high), max(0.0, 2 * estimate - low)


def middle_95(values: Values) -> tuple[float, float]:
    """Return the range that holds the middle 95% of the values."""
    low, high = np.percentile(values, _MIDDLE_95)
    return float(low), float(high)
