from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from overfly.runtime.assessment.sample import Cell, allocate, draw_sample
from overfly.runtime.errors import RasterError

# Of the paper's example, 30 m pixels of 900,000 ha.
PAPER_CELLS = np.array([200_000, 150_000, 3_200_000, 6_450_000])


def test_rare_classes_get_a_minimum_and_the_others_shares_by_area():
    drawn = allocate(PAPER_CELLS, PAPER_CELLS * 900.0, 641)
    assert drawn.tolist() == [50, 50, 179, 362]
    assert drawn[2] / drawn[3] == pytest.approx(0.32 / 0.645, abs=0.002)


def test_a_small_sample_keeps_half_for_the_shares_by_area():
    assert allocate(PAPER_CELLS, PAPER_CELLS * 900.0, 80).tolist() == [10, 10, 20, 40]
    assert allocate(PAPER_CELLS, PAPER_CELLS * 900.0, 8).tolist() == [2, 2, 2, 2]


def test_no_class_gives_more_cells_than_it_has():
    assert allocate(np.array([1, 5, 0, 30]), np.array([1.0, 5.0, 0.0, 30.0]), 20).tolist() == [1, 3, 0, 16]
    assert allocate(np.array([1, 5, 30]), np.array([90.0, 5.0, 3.0]), 36).tolist() == [1, 5, 30]


@given(cells=st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any), data=st.data())
def test_the_shares_are_within_bounds_and_sum_up(cells, data):
    cells = np.array(cells)
    lowest = np.minimum(cells, 2)
    n_cells = data.draw(st.integers(int(lowest.sum()), int(cells.sum())))
    drawn = allocate(cells, cells * 3.0, n_cells)
    assert drawn.sum() == n_cells
    assert ((lowest <= drawn) & (drawn <= cells)).all()


@pytest.mark.parametrize("n_cells", [5, 37])
def test_a_sample_of_an_impossible_size_is_rejected(n_cells):
    with pytest.raises(ValueError, match="6 to 36"):
        allocate(np.array([3, 4, 29]), np.ones(3), n_cells)


def test_cells_are_drawn_once_each_and_in_an_order_that_says_nothing(class_map):
    cells = draw_sample(class_map, 100)
    assert len(set(cells)) == 100
    indices = [class_map.indices[cell.row, cell.column] for cell in cells]
    assert Counter(indices) == dict(enumerate(allocate(class_map.cells, class_map.areas_m2, 100)))
    assert len(set(indices[:15])) > 1


def test_the_seed_decides(class_map):
    assert draw_sample(class_map, 40, seed=3) == draw_sample(class_map, 40, seed=3)
    assert draw_sample(class_map, 40, seed=3) != draw_sample(class_map, 40, seed=4)


def test_every_cell_of_a_class_is_equally_likely(class_map):
    counts = Counter(
        cell
        for seed in range(300)
        for cell in draw_sample(class_map, 30, seed=seed)
        if cell.row < 3 and cell.column < 6
    )
    per_cell = np.array(list(counts.values()))
    expected = 300 * allocate(class_map.cells, class_map.areas_m2, 30)[2] / 18
    assert len(per_cell) == 18
    assert (np.abs(per_cell - expected) < 4.5 * expected**0.5).all()


def test_all_cells_can_be_drawn(class_map):
    cells = draw_sample(class_map, 594)
    assert set(cells) == {Cell(*map(int, at)) for at in np.argwhere(class_map.indices >= 0)}


@pytest.mark.parametrize("n_cells", [5, 595])
def test_a_map_can_not_give_any_number_of_cells(class_map, n_cells):
    with pytest.raises(RasterError, match=rf"map can't have a sample of {n_cells} cells, expected 6 to 594"):
        draw_sample(class_map, n_cells)


def test_a_cell_has_a_name_of_its_own():
    assert Cell(12, 3).name("0f1e2d3c") == "0f1e2d3c-12-3"
