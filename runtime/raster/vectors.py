"""Vector geometries at a raster: read, taken apart, and brought into its coordinates."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import CRSError as LayerCRSError
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, GeometryError
from rasterio.crs import CRS
from rasterio.errors import CRSError, RasterioError
from rasterio.warp import transform_bounds
from shapely.errors import ShapelyError

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.scale import PROJECTION_ERRORS, project, transform_points
from overfly.runtime.raster.source import RasterSource

# What pyogrio and shapely raise for a file that they can't read.
VECTOR_ERRORS = (DataLayerError, DataSourceError, FeatureError, GeometryError, LayerCRSError, ShapelyError)

_POINT, _POLYGON = shapely.GeometryType.POINT, shapely.GeometryType.POLYGON
# Polygons are cut to the raster's surroundings, this part of its size wide.
_SURROUNDINGS = 0.1
# A straight edge is a curve in another CRS. It is transformed in pieces of this part of the raster's size: for a raster
# 10 km wide, the error is about a centimeter.
_PIECES = 64

Geometries = npt.NDArray[np.object_]
Integers = npt.NDArray[np.int64]
Bounds = tuple[float, float, float, float]


def read_polygons(path: Path, source: RasterSource) -> Geometries:
    """Return the polygons of a file's first layer near a raster, in its coordinates.

    Parameters
    ----------
    path
        A GeoPackage, GeoJSON, Shapefile or another file that GDAL reads.
    source
        The raster, which has a CRS.

    Raises
    ------
    RasterError
        If the file can't be read, has no CRS, or holds no polygon.
    """
    try:
        meta, _, wkb, _ = pyogrio.raw.read(path, columns=[], force_2d=True)
        shapes = np.asarray(shapely.from_wkb(wkb if wkb is not None else []), object)
    except VECTOR_ERRORS as error:
        raise unreadable(path, error) from error
    shapes = shapes[~(shapely.is_missing(shapes) | shapely.is_empty(shapes))]
    parts, _ = simple_parts(shapes)
    parts = parts[shapely.get_type_id(parts) == _POLYGON]
    if not len(parts):
        raise RasterError(f"{path} holds no polygon: expected at least one")
    own = layer_crs(path, meta["crs"])
    try:
        return transform_shapes(parts, own, source, bounds_in(source, own))[0]
    except ValueError as error:
        raise RasterError(f"{path} has polygons outside the area of its CRS ({error}): correct them") from error


def unreadable(path: Path, error: BaseException) -> RasterError:
    """Return the error for a file that can't be read."""
    reason = str(error).strip().splitlines()[0].partition(";")[0].rstrip(".")
    return RasterError(f"{path} can't be read as vector data ({reason}): expected a GeoPackage, GeoJSON or Shapefile")


def layer_crs(path: Path, crs: str | None) -> CRS:
    """Return the CRS of a layer, which pyogrio has as text; raise a RasterError if there is none."""
    try:
        known = CRS.from_user_input(crs) if crs else None
    except CRSError as error:
        raise RasterError(f"{path} has an unknown CRS ({error}): assign another one, for example in QGIS") from error
    if known is None:
        raise RasterError(f"{path} has no coordinate reference system: assign one, for example in QGIS")
    return known


def bounds_in(source: RasterSource, crs: CRS) -> Bounds | None:
    """Return the area of a raster and its surroundings in another CRS; None if it has no simple bounds there."""
    xs, ys = transform_points(source.transform, np.array([0.0, source.width]), np.array([0.0, source.height]))
    corners = xs.min(), ys.min(), xs.max(), ys.max()
    try:
        west, south, east, north = transform_bounds(source.crs, crs, *corners)
    except (RasterioError, *PROJECTION_ERRORS) as error:
        raise RasterError(
            f"{source.path} has no place in the CRS of the vector data ({error}): check the CRS of both"
        ) from error
    if not np.isfinite([west, south, east, north]).all() or west > east:
        return None
    x, y = (east - west) * _SURROUNDINGS, (north - south) * _SURROUNDINGS
    return west - x, south - y, east + x, north + y


def simple_parts(shapes: Geometries) -> tuple[Geometries, Integers]:
    """Take geometries apart into valid polygons and points.

    Returns
    -------
    parts : ndarray
        shapely geometries, shape ``[M]``.
    owners : ndarray
        int64, shape ``[M]``: which of the shapes each is a part of.
    """
    types = shapely.get_type_id(shapes)
    parts, owners = shapely.get_parts(shapely.make_valid(shapes), return_index=True)
    # What is left of an invalid polygon may be a collection, with lines in it.
    parts, deeper = shapely.get_parts(parts, return_index=True)
    owners = owners[deeper]
    is_polygon = shapely.get_type_id(parts) == _POLYGON
    is_usable = is_polygon | np.isin(types[owners], [_POINT, shapely.GeometryType.MULTIPOINT])
    return parts[is_usable], owners[is_usable]


def transform_shapes(
    shapes: Geometries, crs: CRS, source: RasterSource, bounds: Bounds | None
) -> tuple[Geometries, Integers]:
    """Bring polygons and points into the coordinates of a raster.

    Parameters
    ----------
    shapes
        The geometries.
    crs
        Of the geometries.
    source
        The raster.
    bounds
        Only what is within them counts; None for everything.

    Returns
    -------
    shapes, owners : ndarray
        As for `simple_parts`.

    Raises
    ------
    ValueError
        If a point has no place in the CRS of the raster.
    """
    owners = np.arange(len(shapes), dtype=np.int64)
    if crs == source.crs:
        return shapes, owners
    if bounds is not None:
        shapes = shapely.intersection(shapes, shapely.box(*bounds))
        longest = max(bounds[2] - bounds[0], bounds[3] - bounds[1]) / _PIECES
        shapes, owners = shapely.get_parts(shapely.segmentize(shapes, longest), return_index=True)
        is_usable = np.isin(shapely.get_type_id(shapes), [_POINT, _POLYGON]) & ~shapely.is_empty(shapes)
        shapes, owners = shapes[is_usable], owners[is_usable]

    def to_target(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.stack(project(crs, source.crs, points[:, 0], points[:, 1]), axis=1) if len(points) else points

    return np.asarray(shapely.make_valid(shapely.transform(shapes, to_target)), object), owners
