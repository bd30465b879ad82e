"""The class of a cell is its most probable one; figures count cells and areas."""

import numpy as np
import pytest

from overfly.runtime.mapping.outputs.cells import decide
from overfly.runtime.mapping.sums import NO_DATA, ONE


def test_the_most_probable_class_wins_and_cells_may_stay_empty():
    probabilities = np.array([[[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]], [[0.1, 0.8, 0.1], [0, 0, 0]]])
    values = np.round(probabilities * ONE).astype(np.uint16)
    values[1, 1] = NO_DATA
    areas = np.ones((2, 2))
    cells = decide(values, areas, min_probability=0.0, inside=None)
    np.testing.assert_array_equal(cells.indices, [[0, 2], [1, -1]])
    np.testing.assert_array_equal(cells.confidence, [[values[0, 0, 0], values[0, 1, 2]], [values[1, 0, 1], NO_DATA]])
    assert decide(values, areas, min_probability=0.5, inside=None).indices.tolist() == [[0, -1], [1, -1]]
    inside = np.array([[False, True], [True, True]])
    assert decide(values, areas, min_probability=0.0, inside=inside).indices.tolist() == [[-1, 2], [1, -1]]


def test_a_cell_is_unknown_if_less_than_half_of_its_windows_are_known():
    shares = [1.0, 0.5, 0.49, 0.0]
    probabilities = np.array([[[0.7, 0.3, share] for share in shares]])
    values = np.rint(probabilities * ONE).astype(np.uint16)
    cells = decide(values, np.ones((1, 4)), min_probability=0.0, inside=None, unknown=True)
    assert cells.indices.tolist() == [[0, 0, 2, 2]]
    assert cells.confidence.tolist() == [[values[0, 0, 0], values[0, 0, 0], ONE - values[0, 2, 2], ONE]]
    # Unknown cells stay, whatever the probability of the class would be.
    cells = decide(values, np.ones((1, 4)), min_probability=0.9, inside=None, unknown=True)
    assert cells.indices.tolist() == [[-1, -1, 2, 2]]
    inside = np.array([[True, True, True, False]])
    values[0, 2] = NO_DATA
    cells = decide(values, np.ones((1, 4)), min_probability=0.0, inside=inside, unknown=True)
    assert cells.indices.tolist() == [[0, 0, -1, -1]]


def test_figures_count_cells_and_sum_areas(cells, classes):
    beach, forest, harbor = cells.figures(classes)
    assert (beach.name, beach.cells, beach.area_m2) == ("beach", 6, 1 + 2 + 5 + 10 + 11 + 12)
    assert (forest.cells, forest.area_m2) == (4, 3 + 6 + 7 + 9)
    # The cells 2, 5, 6 and 8.
    assert forest.mean_probability == pytest.approx((ONE // 2 + 100 * 5.25) / ONE)
    assert (harbor.cells, harbor.area_m2, harbor.mean_probability) == (0, 0.0, None)
