"""The statistics of a report: pure functions of predictions and samples."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from overfly.benchmarks.results.row_records import Latency, Ratio

# Below it, the 99th percentile depends on fewer than ten samples. MLPerf's loadgen asks for 1,024 queries.
MIN_SAMPLES_P99 = 1_000

# The confidence of an interval for a fixed number of rounds. A bench looks at the intervals after each block of rounds
# and stops when they are narrow; this costs some of the confidence. At least 95% are left: a test simulates 1,000
# benches (tests/benchmarks/results/test_conclusions.py).
CONFIDENCE = 0.97

Labels = npt.NDArray[np.int64]


def summarize_latency(samples_ms: Sequence[float]) -> Latency:
    """Summarize latencies in milliseconds.

    Percentiles interpolate linearly between samples (numpy's default, method 7 of Hyndman and Fan,
    1996). The standard deviation is that of a sample (``n - 1``), None for a single one; p99 is None
    below `MIN_SAMPLES_P99` samples.

    Raises
    ------
    ValueError
        If there is no sample.
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


def paired_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Return how many times as large as the denominators the numerators are, from their ratio in each round.

    It is the `center` of the ratios' logarithms: if two rows take turns, a disturbance is as likely to make a ratio
    larger as to make it smaller by the same factor.

    Raises
    ------
    ValueError
        If there is no round, or the numbers of rounds differ.
    """
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    if not ratios:
        raise ValueError("no round: a ratio needs at least one")
    value, interval = center(np.log(ratios))
    return Ratio(math.exp(value), None if interval is None else (math.exp(interval[0]), math.exp(interval[1])))


def center(values: npt.ArrayLike) -> tuple[float, tuple[float, float] | None]:
    """Return the center of a distribution, and an interval that contains it with a confidence of `CONFIDENCE`.

    It is the estimate of Hodges and Lehmann (1963), the median of the averages of all pairs, with the interval of
    Wilcoxon's signed-rank test. It assumes that the values are independent and their distribution symmetric, no
    more; a few outliers change it little. For normal values, it is 1.02 times as wide as the interval of the mean, and
    that of the median 1.25 times.

    Parameters
    ----------
    values
        At least one number.

    Returns
    -------
    tuple
        The estimate and the interval, which is None for fewer than seven values.
    """
    numbers = np.asarray(values, dtype=np.float64)
    n = len(numbers)
    i, j = np.triu_indices(n)
    averages = np.sort((numbers[i] + numbers[j]) / 2)
    # The distribution of the sum of those of the ranks 1 to n that have a plus: each has one with probability one half.
    probability = np.zeros(len(averages) + 1)
    probability[0] = 1
    for rank in range(1, n + 1):
        probability[rank:] = (probability[rank:] + probability[:-rank]) / 2
        probability[:rank] /= 2
    n_outside = int(np.searchsorted(np.cumsum(probability), (1 - CONFIDENCE) / 2, side="right"))
    estimate = float(np.median(averages))
    return estimate, (float(averages[n_outside - 1]), float(averages[-n_outside])) if n_outside else None


def mcnemar_exact_p(n_only_first: int, n_only_second: int) -> float:
    """Return the two-sided p of McNemar's exact test.

    If two models are equally accurate, an image that only one of them gets right is as likely to be
    the first model's as the second's. So p is twice the smaller tail of a binomial distribution with
    probability one half, at most 1 (McNemar, Psychometrika 12, 1947; the exact form is Cochran's, 1950).

    Parameters
    ----------
    n_only_first, n_only_second
        The number of images that only the first, and only the second model gets right.
    """
    n = n_only_first + n_only_second
    tail = sum(math.comb(n, k) for k in range(min(n_only_first, n_only_second) + 1))
    return min(1.0, 2 * tail / (1 << n))


def discordant(truth: Labels, first: Labels, second: Labels) -> tuple[int, int]:
    """Count the images that only the first, and only the second of two predictions gets right; all int64 ``[N]``."""
    first_right, second_right = first == truth, second == truth
    return int((first_right & ~second_right).sum()), int((second_right & ~first_right).sum())


def relative_range(values: Sequence[float]) -> float:
    """Return (largest - smallest) / median; 0 for fewer than two values."""
    if len(values) < 2:  # noqa: PLR2004 - a range needs two values
        return 0.0
    return (max(values) - min(values)) / float(np.median(values))
