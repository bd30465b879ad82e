"""How far accuracy, macro F1 and kappa could be from what a test part of this size shows: 95% intervals."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overfly.runtime.evaluation.metrics import Confusion

# Enough for a percentile interval (Efron and Tibshirani, 1993, ask for 1,000 or more).
N_RESAMPLES = 2_000

_MIDDLE_95 = (2.5, 97.5)

Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Intervals:
    """95% intervals, as fractions."""

    accuracy: tuple[float, float]
    f1_macro: tuple[float, float]
    kappa: tuple[float, float]


def bootstrap_intervals(confusion: Confusion, *, seed: int = 0, n_resamples: int = N_RESAMPLES) -> Intervals:
    """Return 95% percentile intervals of accuracy, macro F1 and kappa over the images.

    The images are drawn again with replacement, as often as there are, `n_resamples` times (Efron,
    "Bootstrap methods: another look at the jackknife", 1979). As the metrics depend on the confusion
    matrix alone, its cells are drawn from a multinomial distribution instead, which is the same.
    Where no image is wrong, no resample has a wrong one: the interval has no width.

    Parameters
    ----------
    confusion
        int64, shape ``[n_classes, n_classes]``, rows the truth; at least one image.
    seed
        Of the draws: the same matrix has the same intervals.
    n_resamples
        How many draws.
    """
    cells = np.argwhere(confusion > 0)
    counts = confusion[cells[:, 0], cells[:, 1]]
    n_images = int(counts.sum())
    draws = np.random.default_rng(seed).multinomial(n_images, counts / n_images, size=n_resamples)
    one_hot = np.eye(len(confusion), dtype=np.int64)
    truth, answer = one_hot[cells[:, 0]], one_hot[cells[:, 1]]
    # Each of shape [n_resamples, n_classes].
    rows, columns, hits = draws @ truth, draws @ answer, draws @ (truth * answer)
    return Intervals(*(_interval(values) for values in _metrics(rows, columns, hits, n_images)))


def _metrics(rows: Counts, columns: Counts, hits: Counts, n_images: int) -> tuple[Values, Values, Values]:
    """Return accuracy, macro F1 and kappa of many matrices at once, as `summarize` has them of one."""
    total = rows + columns
    f1 = np.divide(2 * hits, total, out=np.zeros(total.shape), where=total > 0)
    observed = hits.sum(axis=1) / n_images
    chance = (rows * columns).sum(axis=1) / n_images**2
    kappa = np.divide(observed - chance, 1 - chance, out=np.ones(len(chance)), where=chance < 1)
    return observed, f1.sum(axis=1) / (total > 0).sum(axis=1), kappa


def _interval(values: Values) -> tuple[float, float]:
    """Return the range that holds the middle 95% of the values."""
    low, high = np.percentile(values, _MIDDLE_95)
    return float(low), float(high)
