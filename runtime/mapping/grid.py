"""Where the windows and the cells of a map are in the pixels of its raster.

A cell is as large as the stride from one window to the next. Window (row, column) begins at the cell of the same row
and column, and covers `WindowGrid.per_side` cells in each direction.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rasterio import Affine

# Rows and columns of windows in a block, the unit of reading and of the journal. With half as many rows as columns, the
# device waits half as long for the first block, and at half overlap only 3% more pixels are read than with 32 x 32.
_BLOCK_ROWS = 16
_BLOCK_COLUMNS = 32
# A block of larger windows has fewer of them: this many pixels take 30 MB. Windows of 256 pixels at half overlap fit.
_BLOCK_PIXELS = 10_000_000
# Without overlap no pixel is read twice, however small a block is, and the device waits even less for the first one.
_BLOCK_PIXELS_WITHOUT_OVERLAP = 5_000_000
# A last cell of which the raster has less than this share would show nothing.
_MIN_LAST_CELL = 0.01


@dataclass(frozen=True, slots=True)
class Block:
    """Neighboring windows.

    Attributes
    ----------
    row, column
        Of the first window.
    n_rows, n_columns
        Number of windows.
    """

    row: int
    column: int
    n_rows: int
    n_columns: int

    @property
    def cells(self) -> tuple[slice, slice]:
        """The rows and the columns, as an index of an array of cells."""
        return slice(self.row, self.row + self.n_rows), slice(self.column, self.column + self.n_columns)


@dataclass(frozen=True, slots=True)
class WindowGrid:
    """The windows that cover a raster.

    Attributes
    ----------
    width, height
        Size of the raster in pixels.
    window_width, window_height
        Size of a window in pixels of the raster; not always whole numbers.
    per_side
        Number of cells in each direction that a window covers: 1 without overlap, 2 at half, 4 at three quarters.
    """

    width: int
    height: int
    window_width: float
    window_height: float
    per_side: int

    @property
    def cell_width(self) -> float:
        """Width of a cell in pixels of the raster."""
        return self.window_width / self.per_side

    @property
    def cell_height(self) -> float:
        """Height of a cell in pixels of the raster."""
        return self.window_height / self.per_side

    @property
    def n_rows(self) -> int:
        """Number of rows of cells, and of windows."""
        return max(1, math.ceil(self.height / self.cell_height - _MIN_LAST_CELL))

    @property
    def n_columns(self) -> int:
        """Number of columns of cells, and of windows."""
        return max(1, math.ceil(self.width / self.cell_width - _MIN_LAST_CELL))

    def transform(self, raster: Affine) -> Affine:
        """Return the transform of the cells, given that of the raster's pixels."""
        a, b, c, d, e, f = raster[:6]
        return Affine(a * self.cell_width, b * self.cell_height, c, d * self.cell_width, e * self.cell_height, f)

    def blocks(self) -> Iterator[Block]:
        """Yield the blocks, row by row."""
        rows, columns = self._block_shape()
        for row in range(0, self.n_rows, rows):
            for column in range(0, self.n_columns, columns):
                yield Block(row, column, min(rows, self.n_rows - row), min(columns, self.n_columns - column))

    def box(self, block: Block) -> tuple[float, float, float, float]:
        """Return the left, top, right and bottom edge of a block in pixels of the raster, which it may exceed."""
        left, top = block.column * self.cell_width, block.row * self.cell_height
        right = left + self._extent(block.n_columns) * self.window_width
        bottom = top + self._extent(block.n_rows) * self.window_height
        return left, top, right, bottom

    def resized(self, block: Block, size: int) -> tuple[int, int]:
        """Return the width and the height of a block whose windows have `size` pixels."""
        per_cell = size // self.per_side
        return per_cell * (block.n_columns - 1) + size, per_cell * (block.n_rows - 1) + size

    def shares_inside(self, block: Block | None = None) -> npt.NDArray[np.float64]:
        """Return the share of each cell that is inside of the raster.

        That of the last row and of the last column is below 1 as a rule.

        Parameters
        ----------
        block
            The block of which the cells are wanted; None takes all.

        Returns
        -------
        ndarray
            float64, shape ``[n_rows, n_columns]``.
        """
        block = block or Block(0, 0, self.n_rows, self.n_columns)
        sides = (
            (self.height / self.cell_height, block.row, block.n_rows),
            (self.width / self.cell_width, block.column, block.n_columns),
        )
        rows, columns = (np.clip(n_cells - np.arange(start, start + n), 0, 1) for n_cells, start, n in sides)
        return np.outer(rows, columns)

    def _extent(self, n_windows: int) -> float:
        """Return how far a row of windows reaches, in windows."""
        return (n_windows - 1) / self.per_side + 1

    def _block_shape(self) -> tuple[int, int]:
        """Return the rows and columns of windows in a block, one at least."""
        rows, columns = _BLOCK_ROWS, _BLOCK_COLUMNS
        overlaps = self.per_side > 1
        limit = _BLOCK_PIXELS if overlaps else _BLOCK_PIXELS_WITHOUT_OVERLAP
        n_pixels = self.window_width * self.window_height
        while rows * columns > 1 and self._extent(rows) * self._extent(columns) * n_pixels > limit:
            # With overlap, a block that is nearly square reads the fewest pixels. Otherwise a wide one is better: many
            # rasters hold their pixels in rows.
            if overlaps or rows == 1:
                columns = max(1, columns // 2)
            rows = max(1, rows // 2)
        return rows, columns
