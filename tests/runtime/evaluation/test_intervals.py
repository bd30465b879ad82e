"""95% intervals of the metrics, by the bootstrap: of the accuracy those of the binomial distribution."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from overfly.runtime.evaluation.intervals import bootstrap_intervals
from overfly.runtime.evaluation.metrics import METRICS, ClassCounts, summarize

MATRICES = st.integers(2, 5).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, 40), min_size=n, max_size=n), min_size=n, max_size=n)
)


@given(MATRICES.filter(lambda m: np.sum(m) > 0))
def test_many_matrices_at_once_have_the_metrics_of_each(matrix):
    matrix = np.array(matrix, dtype=np.int64)
    one = ClassCounts.of(matrix)
    many = ClassCounts(*(np.stack([counts] * 3) for counts in (one.n_true, one.n_predicted, one.n_right)))
    metrics = summarize(matrix)
    for name, metric in METRICS.items():
        assert metric(many).tolist() == [getattr(metrics, name)] * 3


@settings(max_examples=20)
@given(st.integers(20, 2000), st.floats(0.1, 0.9))
def test_the_bootstrap_of_the_accuracy_is_the_binomial_distribution(n, share):
    n_right = round(share * n)
    matrix = np.array([[n_right, n - n_right], [0, 0]])
    low, high = bootstrap_intervals(matrix)["accuracy"]
    expected = binom.ppf((0.025, 0.975), n, n_right / n) / n
    sd = np.sqrt(share * (1 - share) / n)
    # An end rests on the 50 smallest or largest of 2,000 draws.
    assert (low, high) == pytest.approx(expected, abs=0.35 * sd + 1 / n)


def test_the_bootstrap_is_seeded_and_has_no_width_where_nothing_is_wrong():
    matrix = np.array([[30, 2, 0], [1, 25, 4], [0, 0, 28]])
    assert bootstrap_intervals(matrix) == bootstrap_intervals(matrix)
    assert bootstrap_intervals(matrix) != bootstrap_intervals(matrix, seed=1)
    one, found = summarize(matrix), bootstrap_intervals(matrix)
    assert list(found) == list(METRICS)
    for name, (low, high) in found.items():
        assert low < getattr(one, name) < high
    assert bootstrap_intervals(np.diag([3, 4]))["accuracy"] == (1.0, 1.0)
