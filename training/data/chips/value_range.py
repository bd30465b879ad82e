"""One range of values for a set of rasters, from a sample of all of them."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from overfly.runtime.errors import RasterError
from overfly.runtime.images.depth import ValueRange
from overfly.runtime.raster.source import RasterSource

_PERCENTILES = (2.0, 98.0)
# Of each raster, as many blocks in a row and in a column are read, and as many pixels of each.
_N_BLOCKS = 8
_N_PIXELS = 4096
# The side of a block, at most: the blocks of a file may be whole rows.
_MAX_SIDE = 512

_LOGGER = logging.getLogger(__name__)


def measure_range(
    paths: Sequence[Path], *, bands: Sequence[int] | None, nodata: str | None, gsd: float | None
) -> ValueRange:
    """Return the 2nd and the 98th percentile of the values of all rasters together.

    Parameters
    ----------
    paths
        The rasters; each counts the same.
    bands, nodata, gsd
        See `overfly.runtime.raster.source.RasterSource`.

    Raises
    ------
    RasterError
        If a raster can't be read, or if all values are the same.
    """
    samples = []
    for path in paths:
        with RasterSource(path, bands=bands, nodata=nodata, gsd=gsd, needs_range=False) as source:
            samples += [_thin(source.read_valid_values(window)) for window in _spread_windows(source)]
    values = np.concatenate(samples)
    if not values.size:
        raise RasterError(f"the range of values can't be measured: {paths[0]} has no valid pixel; give --range LO,HI")
    low, high = (float(value) for value in np.percentile(values, _PERCENTILES))
    if values.dtype.kind in "ui":
        low, high = float(np.floor(low)), float(np.ceil(high))
    if not low < high:
        raise RasterError(
            f"the range of values can't be measured: nearly all values of {paths[0]} are {low:g}; give --range LO,HI"
        )
    _LOGGER.info("the range of %d values is %g to %g", values.size, low, high)
    return low, high


def _spread_windows(source: RasterSource) -> list[Window]:
    """Return windows that are spread evenly over a raster, each at the start of one of its own blocks."""
    height, width = source.block_shape
    tops, lefts = _spread(source.height, height), _spread(source.width, width)
    height, width = min(height, _MAX_SIDE), min(width, _MAX_SIDE)
    return [
        Window(left, top, min(width, source.width - left), min(height, source.height - top))
        for top in tops
        for left in lefts
    ]


def _spread(length: int, block: int) -> list[int]:
    """Return where blocks start that are spread evenly over a side; parts of one that is longer than needed."""
    step = min(block, _MAX_SIDE)
    n_steps = -(-length // step)
    chosen = np.unique(np.linspace(0, n_steps - 1, min(_N_BLOCKS, n_steps)).round().astype(int))
    return [int(number) * step for number in chosen]


def _thin(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return some of the pixels, spread evenly."""
    return values[:: max(1, len(values) // _N_PIXELS)].reshape(-1)
