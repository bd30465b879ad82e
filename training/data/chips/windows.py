"""The windows of a raster: squares on the ground, in whole pixels of the raster, row by row."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from rasterio import Affine

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.scale import transform_points
from overfly.runtime.raster.source import RasterSource

# A window of fewer pixels on a side shows nothing.
_MIN_PIXELS = 2
# Of a stride: by so little neighbors may overlap. A pixel of the ground is measured, so 256 of them are 256.00001.
_ROUNDING = 5e-4

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ChipGrid:
    """The windows of a raster that are inside of it.

    Attributes
    ----------
    width, height
        Size of each window in pixels of the raster.
    columns, rows
        int64, shape ``[N]``: the first column and the first row of each window, in the order of the rows.
    """

    width: int
    height: int
    columns: Integers
    rows: Integers

    def corners(self, transform: Affine) -> npt.NDArray[np.float64]:
        """Return the corners of each window in the coordinates of the raster: float64, shape ``[N, 4, 2]``."""
        columns = self.columns[:, np.newaxis] + np.array([0, self.width, self.width, 0])
        rows = self.rows[:, np.newaxis] + np.array([0, 0, self.height, self.height])
        return np.stack(transform_points(transform, columns.astype(np.float64), rows.astype(np.float64)), axis=2)

    def polygons(self, transform: Affine) -> npt.NDArray[np.object_]:
        """Return each window as a polygon in the coordinates of the raster."""
        polygons: npt.NDArray[np.object_] = shapely.polygons(self.corners(transform))
        return polygons


def chip_grid(source: RasterSource, scene_m: float, stride_m: float) -> ChipGrid:
    """Return the windows of a raster.

    Parameters
    ----------
    source
        The raster.
    scene_m
        Side of a window on the ground, in meters. It is rounded to whole pixels.
    stride_m
        Distance between neighboring windows. It is rounded up to whole pixels, so that neighbors overlap no more than
        wanted.

    Raises
    ------
    RasterError
        If a window has too few pixels.
    """
    size = source.pixel_size
    width, height = round(scene_m / size.x), round(scene_m / size.y)
    if min(width, height) < _MIN_PIXELS:
        raise RasterError(
            f"{source.path} has pixels of {size.x:.3g} m x {size.y:.3g} m, so a scene of {scene_m:g} m has fewer than "
            f"{_MIN_PIXELS} of them on a side: choose larger scenes with --scene-m, or leave out the raster"
        )
    columns = _starts(source.width, width, stride_m / size.x)
    rows = _starts(source.height, height, stride_m / size.y)
    all_rows, all_columns = np.meshgrid(rows, columns, indexing="ij")
    return ChipGrid(width, height, all_columns.ravel(), all_rows.ravel())


def _starts(length: int, window: int, stride: float) -> Integers:
    """Return where windows start on a side of the raster; those that would extend beyond it are left out."""
    step = max(1, math.ceil(stride * (1 - _ROUNDING)))
    return np.arange(0, length - window + 1, step, dtype=np.int64)
