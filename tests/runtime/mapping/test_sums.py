"""Sums of windows do not depend on the order of the blocks."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from overfly.runtime.mapping.grid import WindowGrid
from overfly.runtime.mapping.sums import NO_DATA, ONE, CellSums, quantized_probabilities

N_CLASSES = 3


def test_probabilities_are_rounded_to_integers():
    logits = np.log(np.array([[0.5, 0.3, 0.2], [1.0, 1e-9, 1e-9]], np.float32))
    np.testing.assert_array_equal(quantized_probabilities(logits)[0], [ONE // 2, round(ONE * 0.3), round(ONE * 0.2)])
    assert quantized_probabilities(logits)[1].tolist() == [ONE, 0, 0]


@given(seed=st.integers(0, 10_000), per_side=st.sampled_from([1, 2, 4]), share=st.floats(0, 1))
def test_cells_have_the_rounded_mean_in_any_order(seed, per_side, share):
    rng = np.random.default_rng(seed)
    grid = WindowGrid(70 * 8, 40 * 8, 8.0, 8.0, per_side)
    values = rng.integers(0, ONE, (grid.n_rows, grid.n_columns, N_CLASSES), np.uint16, endpoint=True)
    classified, present = (rng.random(values.shape[:2]) < share for _ in range(2))
    results = []
    for _ in range(2):
        sums = CellSums(grid, N_CLASSES)
        blocks = list(grid.blocks())
        rng.shuffle(blocks)
        for block in blocks:
            part = np.s_[block.row : block.row + block.n_rows, block.column : block.column + block.n_columns]
            sums.add(block, classified[part], present[part], values[part][classified[part]])
        results.append(sums.probabilities())
    np.testing.assert_array_equal(*results)
    row, column = rng.integers(0, grid.n_rows), rng.integers(0, grid.n_columns)
    over = np.s_[max(0, row - per_side + 1) : row + 1, max(0, column - per_side + 1) : column + 1]
    windows = values[over][classified[over]].astype(int)
    assert sums.counts[row, column] == len(windows)
    expected = [NO_DATA] * 3
    if len(windows) and present[row, column]:
        expected = (2 * windows.sum(axis=0) + len(windows)) // (2 * len(windows))
    np.testing.assert_array_equal(results[0][row, column], expected)
