"""Sizes on the ground, measured on the ellipsoid whatever the units of a raster's coordinates are.

A meter of Web Mercator is shorter than a meter on the ground everywhere but at the equator, and degrees are no meters.
PROJ does the geometry: distances from the origin of an azimuthal equidistant projection are geodesic, and areas in an
equal-area projection, cylindrical or azimuthal, are those on the ellipsoid (Snyder 1987, Map Projections: A Working
Manual, chapters 25, 10 and 24).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
from rasterio import Affine
from rasterio._err import CPLE_BaseError
from rasterio.crs import CRS
from rasterio.errors import CRSError
from rasterio.warp import transform as transform_coordinates

# What rasterio raises for a transformation that is impossible. For some points it is GDAL's own error (rasterio 1.4.4).
PROJECTION_ERRORS = (CRSError, CPLE_BaseError)

# Degrees of latitude from which on a raster counts as polar.
_POLAR = 80.0

Coordinates = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PixelSize:
    """The width and the height of a pixel on the ground, in meters."""

    x: float
    y: float


def pixel_size(crs: CRS, transform: Affine, width: int, height: int) -> PixelSize:
    """Measure the pixels at the center of a raster.

    Parameters
    ----------
    crs
        Of the raster.
    transform
        From (column, row) to the coordinates of `crs`.
    width, height
        Size of the raster in pixels.

    Raises
    ------
    ValueError
        If the center of the raster has no place on the Earth.
    """
    column, row = width / 2, height / 2
    # The neighbors at half a pixel on each side, after the center.
    columns = np.array([column, column - 0.5, column + 0.5, column, column])
    rows = np.array([row, row, row, row - 0.5, row + 0.5])
    xs, ys = project(crs, longitude_latitude(), *transform_points(transform, columns, rows))
    local = CRS.from_string(f"+proj=aeqd +lon_0={float(xs[0])} +lat_0={float(ys[0])} +datum=WGS84")
    xs, ys = project(crs, local, *transform_points(transform, columns, rows))
    distances = np.hypot(xs, ys)
    return PixelSize(x=float(distances[1] + distances[2]), y=float(distances[3] + distances[4]))


def cell_areas(crs: CRS, transform: Affine, n_rows: int, n_columns: int) -> Coordinates:
    """Return the area of each cell of a grid on the ellipsoid.

    Parameters
    ----------
    crs
        Of the grid.
    transform
        From (column, row) of a cell to the coordinates of `crs`.
    n_rows, n_columns
        Size of the grid.

    Returns
    -------
    ndarray
        float64, shape ``[n_rows, n_columns]``, in square meters.
    """
    rows, columns = np.mgrid[: n_rows + 1, : n_columns + 1].astype(np.float64)
    xs, ys = transform_points(transform, columns.ravel(), rows.ravel())
    middle = transform_points(transform, np.array([n_columns / 2]), np.array([n_rows / 2]))
    (x,), (y,) = project(crs, longitude_latitude(), *middle)
    # In a cylindrical projection the cells of a grid in degrees keep straight edges, but it tears the poles apart.
    is_polar = abs(y) > _POLAR or np.abs(project(crs, longitude_latitude(), xs, ys)[1]).max() > _POLAR
    kind = f"laea +lat_0={float(y)}" if is_polar else "cea"
    equal_area = CRS.from_string(f"+proj={kind} +lon_0={float(x)} +datum=WGS84")
    xs, ys = (values.reshape(rows.shape) for values in project(crs, equal_area, xs, ys))
    # The area of a quadrilateral is half the cross product of its diagonals.
    diagonals = [(c[1:, 1:] - c[:-1, :-1], c[1:, :-1] - c[:-1, 1:]) for c in (xs, ys)]
    (down_x, up_x), (down_y, up_y) = diagonals
    areas: Coordinates = np.abs(down_x * up_y - down_y * up_x) / 2
    return areas


@cache
def longitude_latitude() -> CRS:
    """Return WGS 84. No constant: PROJ may lack its data base, and then the error needs its sentence."""
    return CRS.from_epsg(4326)


def transform_points(transform: Affine, columns: Coordinates, rows: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Return the coordinates of points that are given as columns and rows."""
    a, b, c, d, e, f = transform[:6]
    return a * columns + b * rows + c, d * columns + e * rows + f


def project(source: CRS, target: CRS, xs: Coordinates, ys: Coordinates) -> tuple[Coordinates, Coordinates]:
    """Transform coordinates from one CRS to another; x is east or longitude, y is north or latitude in both.

    Raises
    ------
    ValueError
        If a point has no place in `target`.
    """
    try:
        new_xs, new_ys = map(np.asarray, transform_coordinates(source, target, xs, ys)[:2])
    except PROJECTION_ERRORS as error:
        raise ValueError(str(error)) from error
    if not (np.isfinite(new_xs).all() and np.isfinite(new_ys).all()):
        raise ValueError("the coordinates are outside the area of their CRS")
    return new_xs, new_ys
