"""The estimators, against the worked example of the paper and in simulations."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overfly.runtime.assessment.estimates import (
    Estimate,
    StratifiedSample,
    area_shares,
    highest_share_unseen,
    overall_accuracy,
    producers_accuracies,
    users_accuracies,
)

# Olofsson et al. 2014, section 5: deforestation, forest gain, stable forest, stable non-forest.
COUNTS = np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]])
WEIGHTS = np.array([0.02, 0.015, 0.32, 0.645])
TOTAL_HA = 900_000


@pytest.fixture
def paper():
    return StratifiedSample(COUNTS, WEIGHTS)


def margin(estimate):
    return 1.96 * estimate.standard_error


class TestThePapersExample:
    def test_areas(self, paper):
        areas = [share.times(TOTAL_HA) for share in area_shares(paper)]
        assert [round(area.value) for area in areas] == [21_158, 11_686, 285_770, 581_386]
        assert [round(margin(area)) for area in areas] == [6_158, 3_756, 15_510, 16_282]
        assert (round(areas[0].low), round(areas[0].high)) == (15_000, 27_315)

    def test_overall_accuracy(self, paper):
        overall = overall_accuracy(paper)
        assert round(overall.value, 4) == 0.9465
        assert round(margin(overall), 4) == 0.0185

    def test_users_accuracies(self, paper):
        accuracies = users_accuracies(paper)
        assert [round(a.value, 2) for a in accuracies] == [0.88, 0.73, 0.93, 0.96]
        assert [round(margin(a), 2) for a in accuracies] == [0.07, 0.10, 0.04, 0.02]

    def test_producers_accuracies(self, paper):
        accuracies = producers_accuracies(paper)
        assert [round(a.value, 2) for a in accuracies] == [0.75, 0.85, 0.93, 0.96]
        assert [round(margin(a), 3) for a in accuracies] == [0.213, 0.254, 0.034, 0.018]


class TestWhatASampleCanNotTell:
    def test_a_class_with_one_labeled_cell_leaves_figures_without_intervals(self):
        sample = StratifiedSample(np.array([[1, 0], [1, 3]]), np.array([0.5, 0.5]), np.array([10, 10]))
        assert users_accuracies(sample)[0] == Estimate(1.0, None, None, None)
        assert users_accuracies(sample)[1].standard_error == pytest.approx((0.75 * 0.25 / 3 * 0.6) ** 0.5)
        assert overall_accuracy(sample) == Estimate(0.875, None, None, None)
        assert area_shares(sample)[0] == Estimate(0.625, None, None, None)

    def test_a_class_without_a_labeled_cell_leaves_only_the_users_accuracies_of_the_others(self):
        sample = StratifiedSample(np.array([[0, 0], [1, 3]]), np.array([0.5, 0.5]), np.array([10, 10]))
        assert overall_accuracy(sample) is None
        assert area_shares(sample) == producers_accuracies(sample) == [None, None]
        assert users_accuracies(sample)[0] is None
        assert users_accuracies(sample)[1].value == 0.75

    def test_a_class_that_is_not_on_the_map_has_an_area(self):
        sample = StratifiedSample(np.array([[6, 2], [0, 0]]), np.array([1.0, 0.0]), np.array([100, 0]))
        assert [share.value for share in area_shares(sample)] == [0.75, 0.25]
        assert users_accuracies(sample)[1] is None
        assert producers_accuracies(sample)[1] == Estimate(0.0, 0.0, 0.0, 0.0)

    def test_a_class_that_the_reference_lacks_has_no_producers_accuracy(self):
        sample = StratifiedSample(np.array([[0, 4], [0, 4]]), np.array([0.5, 0.5]))
        assert producers_accuracies(sample)[0] is None
        assert producers_accuracies(sample)[1].value == 0.5

    def test_a_class_that_is_labeled_completely_has_no_variance(self):
        sample = StratifiedSample(np.array([[1, 0], [1, 3]]), np.array([0.2, 0.8]), np.array([1, 4]))
        assert astuple(overall_accuracy(sample)) == pytest.approx((0.8, 0.0, 0.8, 0.8))

    def test_an_interval_stays_within_what_is_possible(self):
        sample = StratifiedSample(np.array([[9, 1], [1, 9]]), np.array([0.5, 0.5]))
        assert astuple(users_accuracies(sample)[0]) == pytest.approx((0.9, 0.1, 0.704, 1.0))

    def test_how_much_a_small_sample_may_miss(self):
        # The rule of three: about 3 / n.
        assert highest_share_unseen(300) == pytest.approx(0.00994, abs=1e-5)
        assert highest_share_unseen(1) == pytest.approx(0.95)


@pytest.mark.parametrize(
    ("counts", "weights", "cells"),
    [
        ([[1, 2]], [1.0], None),
        ([[1, 0], [0, 1]], [0.5, 0.6], None),
        ([[1, 0], [0, 1]], [1.0, 0.0], None),
        ([[3, 0], [0, 1]], [0.5, 0.5], [2, 2]),
    ],
)
def test_counts_that_do_not_fit_are_rejected(counts, weights, cells):
    with pytest.raises(ValueError, match="expected"):
        StratifiedSample(np.array(counts), np.array(weights), None if cells is None else np.array(cells))


def simulated(rng, truth, drawn):
    """Return `truth` (cells by map class and true class) and a stratified sample of it, as shares and counts."""
    counts = np.stack([rng.multivariate_hypergeometric(row, n) for row, n in zip(truth, drawn, strict=True)])
    cells = truth.sum(axis=1)
    return StratifiedSample(counts, cells / cells.sum(), cells)


@settings(max_examples=8, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(400, 5000), min_size=2, max_size=4),
    accuracy=st.floats(0.6, 0.9),
)
def test_the_interval_of_an_area_covers_the_truth_in_95_of_100_samples(seed, sizes, accuracy):
    rng = np.random.default_rng(seed)
    n_classes = len(sizes)
    confusion = np.full((n_classes, n_classes), (1 - accuracy) / (n_classes - 1))
    np.fill_diagonal(confusion, accuracy)
    truth = np.stack([rng.multinomial(size, row) for size, row in zip(sizes, confusion, strict=True)])
    shares = truth.sum(axis=0) / truth.sum()
    right = np.trace(truth) / truth.sum()
    producers = np.diagonal(truth) / truth.sum(axis=0)
    covered, n_trials = np.zeros(3), 400
    for _ in range(n_trials):
        sample = simulated(rng, truth, [120] * n_classes)
        figures = area_shares(sample)[0], overall_accuracy(sample), producers_accuracies(sample)[0]
        pairs = zip(figures, (shares[0], right, producers[0]), strict=True)
        covered += [figure.low <= true <= figure.high for figure, true in pairs]
    # Four standard errors of a proportion of 400 are 0.044; intervals of small samples are a little too short.
    assert (np.abs(covered / n_trials - 0.95) < 0.055).all()


def test_the_estimates_are_right_on_average_and_so_are_their_standard_errors():
    rng = np.random.default_rng(1)
    truth = np.array([[90, 20, 10], [30, 700, 70], [0, 40, 200]])
    samples = [simulated(rng, truth, [40, 60, 50]) for _ in range(4000)]
    areas = [area_shares(sample)[1] for sample in samples]
    values = np.array([area.value for area in areas])
    assert values.mean() == pytest.approx(760 / 1160, abs=0.001)
    assert np.mean([area.standard_error**2 for area in areas]) == pytest.approx(values.var(), rel=0.05)
    right = np.array([overall_accuracy(sample).value for sample in samples])
    assert right.mean() == pytest.approx(990 / 1160, abs=0.001)
