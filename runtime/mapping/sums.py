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


class CellSums:
    """The sums of probabilities in each cell.

    Parameters
    ----------
    grid
        The windows.
    n_classes
        Number of classes.

    Attributes
    ----------
    counts
        uint8, shape ``[n_rows, n_columns]``: how many windows were classified that cover a cell.
    """

    def __init__(self, grid: WindowGrid, n_classes: int) -> None:
        self._per_side = grid.per_side
        self._sums = np.zeros((grid.n_rows, grid.n_columns, n_classes), np.uint32)
        self.counts = np.zeros((grid.n_rows, grid.n_columns), np.uint8)

    def add(self, block: Block, classified: npt.NDArray[np.bool_], probabilities: Quantized) -> None:
        """Add the windows of a block.

        Parameters
        ----------
        block
            The block.
        classified
            bool, shape ``[n_rows, n_columns]`` of the block.
        probabilities
            uint16, shape ``[n_classified, n_classes]``, in the order of `classified`.
        """
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

        Cells without a window have `NO_DATA` everywhere.
        """
        counts = self.counts[..., None]
        # Rounded to the nearest integer, with halves up.
        means = (2 * self._sums + counts) // np.maximum(2 * counts.astype(np.uint32), 1)
        return np.where(counts > 0, means, NO_DATA).astype(np.uint16)
