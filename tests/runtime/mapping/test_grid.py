"""Windows cover the raster; blocks cover the windows, each once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rasterio import Affine

from overfly.runtime.mapping.grid import Block, WindowGrid


@pytest.mark.parametrize(
    ("width", "window", "per_side", "expected"),
    [
        (2560, 256.0, 1, 10),
        (2560, 256.0, 2, 20),
        (2560, 256.0, 4, 40),
        (2561, 256.0, 1, 10),  # the last column would have a 256th of a cell
        (2600, 256.0, 1, 11),
        (2560, 255.8, 1, 10),
        (100, 256.0, 2, 1),
    ],
)
def test_the_number_of_cells(width, window, per_side, expected):
    grid = WindowGrid(width, width, window, window, per_side)
    assert (grid.n_columns, grid.n_rows) == (expected, expected)


@given(
    width=st.integers(1, 3000),
    height=st.integers(1, 3000),
    window=st.tuples(st.floats(3, 900), st.floats(3, 900)),
    per_side=st.sampled_from([1, 2, 4]),
)
def test_each_window_is_in_one_block(width, height, window, per_side):
    grid = WindowGrid(width, height, *window, per_side)
    n_blocks = np.zeros((grid.n_rows, grid.n_columns), int)
    for block in grid.blocks():
        n_blocks[block.row : block.row + block.n_rows, block.column : block.column + block.n_columns] += 1
        left, top, right, bottom = grid.box(block)
        assert left == pytest.approx(block.column * window[0] / per_side)
        assert bottom - top == pytest.approx(window[1] * (1 + (block.n_rows - 1) / per_side))
        assert (right - left) * (bottom - top) <= max(10_000_000, window[0] * window[1]) * (1 + 1e-9)
        assert grid.resized(block, 8)[0] == 8 + (block.n_columns - 1) * (8 // per_side)
    assert (n_blocks == 1).all()


@pytest.mark.parametrize(
    ("window", "per_side", "expected"),
    [(256.0, 1, (2, 32)), (256.0, 2, (16, 32)), (256.0, 4, (16, 32)), (8.0, 1, (16, 32)), (3000.0, 1, (1, 1))],
)
def test_a_block_is_small_enough_and_wide_without_overlap(window, per_side, expected):
    first = next(WindowGrid(40_000, 40_000, window, window, per_side).blocks())
    assert (first.n_rows, first.n_columns) == expected


def test_the_transform_of_the_cells_is_that_of_the_raster_scaled():
    grid = WindowGrid(100, 100, 16.0, 8.0, 2)
    assert grid.transform(Affine(2, 0, 500, 0, -3, 900)) == Affine(16, 0, 500, 0, -12, 900)


def test_of_the_last_cells_a_part_is_inside():
    grid = WindowGrid(100, 60, 16.0, 16.0, 1)
    shares = grid.shares_inside()
    assert shares.shape == (4, 7)
    assert shares[0].tolist() == [1, 1, 1, 1, 1, 1, 0.25]
    assert shares[3, 6] == 0.25 * 0.75
    assert shares.sum() * 256 == 6000
    np.testing.assert_array_equal(grid.shares_inside(Block(2, 3, 2, 4)), shares[2:, 3:])
