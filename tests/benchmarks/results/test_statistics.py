"""The statistics of a report, against their definitions and scipy."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from overfly.benchmarks.results.row_records import Ratio
from overfly.benchmarks.results.statistics import mcnemar_exact_p, paired_ratio, relative_range, summarize_latency


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


def test_a_ratio_is_paired_by_round_and_significant_when_all_rounds_agree():
    # The machine was half as fast in the last round, for both.
    assert paired_ratio([10.0, 11.0, 20.0], [5.0, 5.0, 10.0]) == Ratio(2.0, 2.0, 2.2)
    assert paired_ratio([10.0, 11.0], [5.0, 5.0]).is_significant
    assert not paired_ratio([10.0, 9.0], [9.0, 10.0]).is_significant
    with pytest.raises(ValueError, match=r"^no round: a ratio needs at least one$"):
        paired_ratio([], [])


def test_the_relative_range_is_divided_by_the_median():
    assert relative_range([1.0, 1.1, 1.2]) == pytest.approx(0.2 / 1.1)
    assert relative_range([5.0]) == 0
