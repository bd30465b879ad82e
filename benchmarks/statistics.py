"""The statistics of a report: pure functions of predictions and samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overfly.benchmarks.report import Latency, Ratio
from overfly.runtime.metrics import Confusion

# Below it the 99th percentile rests on fewer than ten samples; MLPerf's loadgen asks for 1,024 queries.
MIN_SAMPLES_P99 = 1_000

# Enough for a percentile interval (Efron and Tibshirani, 1993, ask for 1,000 or more).
N_RESAMPLES = 2_000

_MIDDLE_95 = (2.5, 97.5)

# The customary level of a test.
SIGNIFICANCE = 0.05

Labels = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Intervals:
    """95% intervals, as fractions."""

    accuracy: tuple[float, float]
    f1_macro: tuple[float, float]
    kappa: tuple[float, float]


def summarise_latency(samples_ms: Sequence[float]) -> Latency:
    """Summarise latencies in milliseconds.

    Percentiles interpolate linearly between samples (numpy's default, method 7 of Hyndman and Fan,
    1996). The deviation is that of a sample (``n - 1``), None for a single one; p99 is None below
    `MIN_SAMPLES_P99` samples.

    Raises
    ------
    ValueError
        When there is no sample.
    """
    n = len(samples_ms)
    if n == 0:
        raise ValueError("no latency sample: a summary needs at least one")
    values = np.asarray(samples_ms, dtype=np.float64)
    p50, p90, p99 = (float(p) for p in np.percentile(values, (50, 90, 99)))
    return Latency(
        p50=p50,
        p90=p90,
        p99=p99 if n >= MIN_SAMPLES_P99 else None,
        mean=float(values.mean()),
        std=float(values.std(ddof=1)) if n > 1 else None,
        n=n,
    )


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


def _metrics(rows: Labels, columns: Labels, hits: Labels, n_images: int) -> tuple[Values, Values, Values]:
    """Return accuracy, macro F1 and kappa of many matrices at once, as `runtime.metrics.summarise` has them of one."""
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


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Return the ratios of two rows round by round: their median and their range.

    If the rounds were independent, the range of six would hold the true median ratio with
    ``1 - 2 / 2**6``, or 97%, whatever the distribution (the order-statistic interval of a median).

    Raises
    ------
    ValueError
        When there is no round, or not the same number of both.
    """
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    if not ratios:
        raise ValueError("no round: a ratio needs at least one")
    return Ratio(float(np.median(ratios)), min(ratios), max(ratios))


def mcnemar_exact_p(n_only_first: int, n_only_second: int) -> float:
    """Return the two-sided p of McNemar's exact test.

    Under equal accuracy, an image that exactly one of two models gets right is as likely to be the
    one's as the other's: twice the smaller tail of a binomial distribution with one half, at most 1
    (McNemar, Psychometrika 12, 1947; the exact form is Cochran's, 1950).

    Parameters
    ----------
    n_only_first, n_only_second
        Images that only the first, or only the second model gets right.
    """
    n = n_only_first + n_only_second
    tail = sum(math.comb(n, k) for k in range(min(n_only_first, n_only_second) + 1))
    return min(1.0, 2 * tail / (1 << n))


def discordant(truth: Labels, first: Labels, second: Labels) -> tuple[int, int]:
    """Count the images that only the first, and only the second, of two predictions gets right; all int64 ``[N]``."""
    first_right, second_right = first == truth, second == truth
    return int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())


def drift(values: Sequence[float]) -> float:
    """Return how far the rounds are apart: (largest - smallest) / median; 0 for fewer than two."""
    if len(values) < 2:  # noqa: PLR2004 - a difference needs two
        return 0.0
    middle = float(np.median(values))
    return (max(values) - min(values)) / middle
