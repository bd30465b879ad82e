"""Sum up the probabilities of windows in the cells that they cover.

Each probability is rounded to an integer first. Sums of integers have no order: whatever the order of the blocks, and
whoever computes them, the map is the same to the last bit.
"""

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.classifier import softmax
from overfly.runtime.mapping.grid import Block, WindowGrid

# A probability of 1 as an integer. The value above it stands for "no data".
ONE = 65534
NO_DATA = 65535

Quantized = npt.NDArray[np.uint16]


def quantized_probabilities(logits: Logits) -> Quantized:
    """Return the probabilities of logits, shape ``[N, n_classes]``, as uint16 from 0 to `ONE`."""
    rounded: Quantized = np.rint(softmax(logits.astype(np.float64)) * ONE).astype(np.uint16)
    return rounded


def quantized_known(margins: Logits) -> Quantized:
    """Return whether windows are known, by the margins of their known scores, shape ``[N]``: uint16, `ONE` or 0."""
    return np.where(margins >= 0, ONE, 0).astype(np.uint16)


class CellSums:
    """The sums of probabilities in each cell.

    Parameters
    ----------
    grid
        The windows.
    n_classes
        Number of classes, with ``--unknown`` one more: the last one sums up the known windows.

    Attributes
    ----------
    counts
        uint8, shape ``[n_rows, n_columns]``: how many windows were classified that cover a cell.
    """

    def __init__(self, grid: WindowGrid, n_classes: int) -> None:
        self._per_side = grid.per_side
        self._sums = np.zeros((grid.n_rows, grid.n_columns, n_classes), np.uint32)
        self.counts = np.zeros((grid.n_rows, grid.n_columns), np.uint8)
        self._present = np.zeros((grid.n_rows, grid.n_columns), np.bool_)

    def add(
        self,
        block: Block,
        classified: npt.NDArray[np.bool_],
        present: npt.NDArray[np.bool_],
        probabilities: Quantized,
    ) -> None:
        """Add the windows of a block.

        Parameters
        ----------
        block
            The block.
        classified
            bool, shape ``[n_rows, n_columns]`` of the block: which windows.
        present
            bool, same shape: which of its cells have enough pixels.
        probabilities
            uint16, shape ``[n_classified, n_classes]``, in the order of `classified`.
        """
        own = np.s_[block.row : block.row + block.n_rows, block.column : block.column + block.n_columns]
        self._present[own] = present
        values = np.zeros((*classified.shape, self._sums.shape[2]), np.uint32)
        values[classified] = probabilities
        for down in range(self._per_side):
            for right in range(self._per_side):
                row, column = block.row + down, block.column + right
                cells = np.s_[row : row + block.n_rows, column : column + block.n_columns]
                n_rows, n_columns = self.counts[cells].shape
                self._sums[cells] += values[:n_rows, :n_columns]
                self.counts[cells] += classified[:n_rows, :n_columns]

    def probabilities(self) -> Quantized:
        """Return the mean over the windows of each cell, uint16 of shape ``[n_rows, n_columns, n_classes]``.

        Cells without a window, or with too few pixels, have `NO_DATA` everywhere.
        """
        means = np.full(self._sums.shape, NO_DATA, np.uint16)
        # Row by row: the arithmetic takes several times the memory of its result.
        for row, (sums, counts, present) in enumerate(zip(self._sums, self.counts, self._present, strict=True)):
            filled = present & (counts > 0)
            n = counts[filled, np.newaxis].astype(np.uint32)
            # Rounded to the nearest integer, with halves up.
            means[row, filled] = (2 * sums[filled] + n) // (2 * n)
        return means
