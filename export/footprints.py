"""Where on the earth a model was trained: the hull of its training chips. Needs the `geo` extra."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.crs import CRS
from shapely.geometry.polygon import orient

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.scale import project

_PART = "part"
_LONGITUDE_LATITUDE = "EPSG:4326"
_HALF_TURN, _TURN, _POLE = 180.0, 360.0, 90.0
# Of a degree: a centimeter.
_N_DECIMALS = 7
# Of a degree: 10 centimeters. Edges that are straight in the CRS of the chips bend in degrees, so without this every
# chip at the border would be a corner of the hull.
_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Hull:
    """An area on the earth, in degrees of longitude and latitude (WGS 84).

    Attributes
    ----------
    geometry
        A GeoJSON geometry: a Polygon, or a MultiPolygon if the area crosses the 180th meridian.
    bbox
        West, south, east, north. West is larger than east if the area crosses the 180th meridian (RFC 7946, 5.2).
    """

    geometry: dict[str, object]
    bbox: tuple[float, ...]


def training_hull(path: Path) -> Hull | None:
    """Return the convex hull of the footprints of all training chips.

    Parameters
    ----------
    path
        The ``chips.gpkg`` of `overfly chips`: polygons with the part of the split in the column ``part``.

    Returns
    -------
    Hull or None
        None if the file has no coordinate reference system, because the rasters had none.

    Raises
    ------
    RasterError
        If the file can't be read, or has no footprint of the training part.
    """
    try:
        meta, _, wkb, columns = pyogrio.raw.read(path, columns=[_PART])
    except (DataSourceError, DataLayerError) as error:
        raise RasterError(f"{path} can't be read ({error}): cut the chips again with overfly chips") from error
    parts = columns[0] if columns else np.full(len(wkb), None)
    footprints = shapely.from_wkb(wkb[parts == "train"])
    if not len(footprints):
        raise RasterError(
            f"{path} has no footprint with 'train' in the column {_PART!r}: cut the chips again with overfly chips, or "
            "leave out --stac"
        )
    if meta["crs"] is None:
        return None
    points = shapely.get_coordinates(footprints)
    longitude, latitude = project(CRS.from_user_input(meta["crs"]), CRS.from_user_input(_LONGITUDE_LATITUDE), *points.T)
    return _hull(longitude, latitude)


def _hull(longitude: npt.NDArray[np.float64], latitude: npt.NDArray[np.float64]) -> Hull:
    """Return the hull of points, which is cut at the 180th meridian if it is narrower across it."""
    # From 0 to 360 degrees, neighbors on both sides of the 180th meridian have similar longitudes.
    turned = longitude % _TURN
    crosses = longitude.min() < 0 < longitude.max() and np.ptp(turned) < np.ptp(longitude)
    hull = shapely.MultiPoint(np.stack([turned if crosses else longitude, latitude], axis=1)).convex_hull.simplify(
        _TOLERANCE
    )
    west, south, east, north = hull.bounds
    if not crosses:
        geometry: dict[str, object] = {"type": "Polygon", "coordinates": _rings(hull, 0)}
    else:
        halves = [shapely.box(start, -_POLE, start + _HALF_TURN, _POLE) for start in (0, _HALF_TURN)]
        before, after = (shapely.intersection(hull, half) for half in halves)
        geometry = {"type": "MultiPolygon", "coordinates": [_rings(before, 0), _rings(after, -_TURN)]}
        east -= _TURN
    return Hull(geometry, tuple(round(value, _N_DECIMALS) for value in (west, south, east, north)))


def _rings(polygon: Any, shift: float) -> list[list[list[float]]]:  # noqa: ANN401 - shapely has no annotations
    """Return the coordinates of a polygon without holes as GeoJSON: one ring, counterclockwise (RFC 7946, 3.1.6)."""
    points = np.array(orient(polygon).exterior.coords) + np.array([shift, 0])
    return [points.round(_N_DECIMALS).tolist()]
