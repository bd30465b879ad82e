"""The statistics of a report: pure functions of predictions and samples."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from overfly.benchmarks.results.row_records import Latency, Ratio

# Below it, the 99th percentile depends on fewer than ten samples. MLPerf's loadgen asks for 1,024 queries.
MIN_SAMPLES_P99 = 1_000

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
    """Return the ratios of two rows, round by round: their median and their range.

    If the rounds are independent, the range of six contains the true median ratio with probability
    ``1 - 2 / 2**6``, or 97%, whatever the distribution (the order-statistic interval of a median).

    Raises
    ------
    ValueError
        If there is no round, or the numbers of rounds differ.
    """
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    if not ratios:
        raise ValueError("no round: a ratio needs at least one")
    return Ratio(float(np.median(ratios)), min(ratios), max(ratios))


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
