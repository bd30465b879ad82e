"""Read a block of windows as images for the model.

The native pixels of a whole block are resized at once, with the filter that resizes image files, and each window is a
slice of the result. Of 960 windows, 98.8% then have the class that a window resized by itself has. With the resampling
of GDAL, which is what readers of rasters use, it is 97.5% (bilinear), 91.7% (average) or 87.1% (nearest, the default).
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image
from rasterio.windows import Window

from overfly.runtime.images.reading import ImageBatch, ImagePart, resize
from overfly.runtime.mapping.grid import Block, WindowGrid
from overfly.runtime.mapping.record import MapOptions
from overfly.runtime.raster.fill import MIN_VALID, mirror_missing
from overfly.runtime.raster.source import RasterSource

# GDAL would keep up to 5% of the machine's memory. Neighboring blocks have little in common, but for rasters in strips.
_CACHE_BYTES = 128 << 20

_BYTE = 255
_NO_PIXELS = np.zeros((0, 0, 3), np.uint8)


@dataclass(frozen=True, slots=True)
class BlockImages:
    """The images of a block's windows.

    Attributes
    ----------
    pixels
        uint8, shape ``[H, W, 3]``: the whole block, resized.
    classified
        bool, shape ``[n_rows, n_columns]``: which windows have enough valid pixels.
    present
        bool, same shape: which cells have enough.
    size
        Side of a window in `pixels`.
    stride
        Side of a cell in `pixels`.
    """

    pixels: ImageBatch
    classified: npt.NDArray[np.bool_]
    present: npt.NDArray[np.bool_]
    size: int
    stride: int

    def windows(self) -> Iterator[ImageBatch]:
        """Yield the windows to classify, uint8 of shape ``[size, size, 3]``, row by row."""
        for row, column in np.argwhere(self.classified) * self.stride:
            yield self.pixels[row : row + self.size, column : column + self.size]

    def thumbnail(self, cell_pixels: int) -> ImageBatch:
        """Return a small picture of the block's cells, uint8 of shape ``[n_rows * p, n_columns * p, 3]``."""
        n_rows, n_columns = self.classified.shape
        cells = Image.fromarray(self.pixels[: n_rows * self.stride, : n_columns * self.stride])
        return np.asarray(cells.resize((n_columns * cell_pixels, n_rows * cell_pixels), Image.Resampling.BOX))


@contextmanager
def open_raster(path: Path, options: MapOptions) -> Iterator[RasterSource]:
    """Open a raster with the options of a map; GDAL's cache is small meanwhile.

    Raises
    ------
    RasterError
        See `overfly.runtime.raster.source.RasterSource`.
    """
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES),
        RasterSource(
            path, bands=options.bands, value_range=options.value_range, nodata=options.nodata, gsd=options.gsd
        ) as source,
    ):
        yield source


def read_block(
    source: RasterSource,
    grid: WindowGrid,
    block: Block,
    *,
    size: int,
    reduce_first: bool,
    wanted: npt.NDArray[np.bool_],
) -> BlockImages:
    """Read and resize a block; if none of its windows is to be classified, there are no pixels.

    Parameters
    ----------
    source
        The raster.
    grid
        Its windows.
    block
        The block.
    size, reduce_first
        See `overfly.runtime.images.reading.ImageSpec`.
    wanted
        bool, shape ``[n_rows, n_columns]`` of the block: the windows that are of interest.

    Raises
    ------
    RasterError
        If the raster can't be read there.
    """
    stride = size // grid.per_side
    none = np.zeros((block.n_rows, block.n_columns), np.bool_)
    if not wanted.any():
        return BlockImages(_NO_PIXELS, none, none, size, stride)
    left, top, right, bottom = grid.box(block)
    # The filter looks at this many pixels beyond the edge; so the division into blocks changes nothing.
    margins = [math.ceil(max(1.0, side / size)) + 1 for side in (grid.window_width, grid.window_height)]
    x, y = max(0, math.floor(left) - margins[0]), max(0, math.floor(top) - margins[1])
    width, height = math.ceil(right) + margins[0] - x, math.ceil(bottom) + margins[1] - y
    inside = Window(x, y, min(width, grid.width - x), min(height, grid.height - y))
    pixels, valid = source.read(inside)
    box = (left - x, top - y, right - x, bottom - y)
    beyond = (0, height - inside.height), (0, width - inside.width)
    classified, present = wanted, ~none
    if valid is not None or beyond != ((0, 0), (0, 0)):
        mask = np.ones((inside.height, inside.width), np.bool_) if valid is None else valid
        shares = _valid_shares(np.pad(mask, beyond), grid, block, box)
        # A cell counts by itself: a window may be classified of which some cells have no pixels.
        classified = wanted & (_means(shares, grid.per_side) >= MIN_VALID)
        present = shares[: block.n_rows, : block.n_columns] >= MIN_VALID * grid.shares_inside(block)
        if not classified.any():
            return BlockImages(_NO_PIXELS, classified, present, size, stride)
    if valid is not None:
        pixels = mirror_missing(pixels, valid)
    if beyond != ((0, 0), (0, 0)):
        pixels = np.pad(pixels, (*beyond, (0, 0)), mode="reflect")
    part = ImagePart(box, origin=(x, y))
    resized = resize(Image.fromarray(pixels), grid.resized(block, size), reduce_first=reduce_first, part=part)
    return BlockImages(resized, classified, present, size, stride)


def _valid_shares(
    valid: npt.NDArray[np.bool_], grid: WindowGrid, block: Block, box: tuple[float, float, float, float]
) -> npt.NDArray[np.float64]:
    """Return the share of valid pixels in each cell that the windows of a block cover."""
    rows, columns = block.n_rows + grid.per_side - 1, block.n_columns + grid.per_side - 1
    mask = Image.fromarray(valid.astype(np.uint8) * np.uint8(_BYTE))
    shares: npt.NDArray[np.float64] = np.asarray(mask.resize((columns, rows), Image.Resampling.BOX, box=box)) / _BYTE
    return shares


def _means(shares: npt.NDArray[np.float64], per_side: int) -> npt.NDArray[np.float64]:
    """Return the mean over the cells of each window."""
    means: npt.NDArray[np.float64] = np.lib.stride_tricks.sliding_window_view(shares, (per_side, per_side)).mean(
        axis=(2, 3)
    )
    return means
