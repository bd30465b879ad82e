"""95% intervals of the metrics: how far the figures of another test part of this size could be from these."""

import numpy as np

from overfly.runtime.evaluation.metrics import METRICS, ClassCounts, Confusion, Values

# Enough for a percentile interval: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), ask for 1,000.
N_RESAMPLES = 2_000

_MIDDLE_95 = (2.5, 97.5)

# The 95% interval (low, high) of each metric in `METRICS`, as fractions.
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
    return {name: _interval(metric(counts)) for name, metric in METRICS.items()}


def _interval(values: Values) -> tuple[float, float]:
    """Return the range that holds the middle 95% of the values."""
    low, high = np.percentile(values, _MIDDLE_95)
    return float(low), float(high)
