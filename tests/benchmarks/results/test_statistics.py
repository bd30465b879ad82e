"""The statistics of a report, against their definitions and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, wilcoxon

from overfly.benchmarks.results.row_records import Ratio
from overfly.benchmarks.results.statistics import (
    CONFIDENCE,
    center,
    mcnemar_exact_p,
    paired_ratio,
    relative_range,
    summarize_latency,
)


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=40))
def test_a_summary_is_what_the_samples_say(samples):
    summary = summarize_latency(samples)
    ordered = sorted(samples)
    position = 0.5 * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    assert summary.p50 == pytest.approx(ordered[low] + (ordered[high] - ordered[low]) * (position - low))
    assert summary.mean == pytest.approx(sum(samples) / len(samples))
    assert summary.n == len(samples)
    assert summary.p99 is None


def test_p99_needs_a_thousand_samples():
    assert summarize_latency([1.0] * 999).p99 is None
    assert summarize_latency(np.arange(1001.0).tolist()).p99 == 990
    with pytest.raises(ValueError, match=r"^no latency sample: a summary needs at least one$"):
        summarize_latency([])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(b, c):
    expected = binomtest(min(b, c), b + c, 0.5).pvalue if b + c else 1.0
    assert mcnemar_exact_p(b, c) == pytest.approx(expected)


def test_a_ratio_is_paired_by_round():
    # The machine was half as fast in the last round, for both.
    assert paired_ratio([10.0, 10.0, 20.0], [5.0, 5.0, 10.0]) == Ratio(pytest.approx(2.0), None)
    assert paired_ratio([10.0, *[20.0] * 5, 40.0], [5.0] * 7) == Ratio(pytest.approx(4.0), pytest.approx((2.0, 8.0)))
    with pytest.raises(ValueError, match=r"^no round: a ratio needs at least one$"):
        paired_ratio([], [])


@pytest.mark.parametrize("n", [7, 8, 14, 40])
def test_the_interval_of_a_center_is_that_of_wilcoxons_test(n):
    values = np.random.default_rng(n).normal(5.0, size=n)
    estimate, (low, high) = center(values)
    assert low < estimate < high
    # A center is outside if the test rejects it. Between two averages of pairs, the test says the same.
    inside, outside = [], []
    for edge, toward in ((low, 1e-9), (high, -1e-9)):
        inside.append(wilcoxon(values - edge - toward, method="exact").pvalue)
        outside.append(wilcoxon(values - edge + toward, method="exact").pvalue)
    assert min(inside) > 1 - CONFIDENCE >= max(outside)


def test_a_center_is_the_median_of_the_averages_of_all_pairs():
    # 0, 0.5, 1, 5, 5.5, 10: each value is a pair with itself.
    assert center([0.0, 1.0, 10.0]) == (3.0, None)


def test_seven_values_have_an_interval_and_six_have_none():
    assert center([1.0] * 6) == (1.0, None)
    assert center([1.0] * 7) == (1.0, (1.0, 1.0))


def test_an_outlier_hardly_moves_a_center():
    values = [1.0, 1.01, 1.02, 1.03, 1.04, 1.05, 1.06, 1.07, 1.08, 1.09]
    assert center([*values[:-1], 90.0])[0] == pytest.approx(center(values)[0], abs=0.01)


def test_the_relative_range_is_divided_by_the_median():
    assert relative_range([1.0, 1.1, 1.2]) == pytest.approx(0.2 / 1.1)
    assert relative_range([5.0]) == 0
