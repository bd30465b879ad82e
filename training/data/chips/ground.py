"""Windows of all rasters in one plane, in meters on the ground, so that their distances can be compared."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.crs import CRS

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.scale import longitude_latitude, project

Coordinates = npt.NDArray[np.float64]

_EARTH_RADIUS_M = 6_371_000.0
# Rasters with more between them are sites of their own: no scene of one is near one of another.
_SITE_GAP_M = 50_000.0
# Where the sites are in the plane: farther apart than any site is wide.
_SITE_SPACING_M = 1e8


@dataclass(frozen=True, slots=True)
class RasterWindows:
    """The corners of a raster's windows: float64, shape ``[N, 4, 2]``, in the coordinates of `crs`."""

    crs: CRS
    corners: Coordinates


def ground_footprints(rasters: Sequence[RasterWindows]) -> npt.NDArray[np.object_]:
    """Return the windows of all rasters, one raster after the other, as polygons in meters on the ground.

    Rasters that are near each other share an azimuthal equidistant plane. Within 500 km of its center, distances differ
    by less than 0.1% from those on the ground. Rasters that are far from each other have planes of their own, which are
    laid side by side.

    Parameters
    ----------
    rasters
        The windows of each raster.

    Raises
    ------
    RasterError
        If a corner has no place on the Earth.
    """
    try:
        return _footprints(rasters)
    except ValueError as error:
        raise RasterError(
            f"scenes have no place on the Earth ({error}): correct the CRS or the coordinates of the rasters"
        ) from error


def _footprints(rasters: Sequence[RasterWindows]) -> npt.NDArray[np.object_]:
    """Return the polygons; raise ValueError if a corner has no place on the Earth."""
    places = [_longitudes_latitudes(raster) for raster in rasters]
    footprints: list[npt.NDArray[np.object_]] = [np.empty(0, object) for _ in rasters]
    occupied = [i for i, place in enumerate(places) if len(place)]
    for number, site in enumerate(_sites([places[i] for i in occupied])):
        members = [occupied[i] for i in site]
        longitude, latitude = _center(np.concatenate([places[i] for i in members]))
        plane = CRS.from_string(f"+proj=aeqd +lon_0={longitude} +lat_0={latitude} +datum=WGS84")
        for i in members:
            xs, ys = project(rasters[i].crs, plane, *rasters[i].corners.reshape(-1, 2).T)
            corners = np.stack([xs + number * _SITE_SPACING_M, ys], axis=1)
            footprints[i] = shapely.polygons(corners.reshape(rasters[i].corners.shape))
    return np.concatenate(footprints)


def _longitudes_latitudes(raster: RasterWindows) -> Coordinates:
    """Return the first corner of each window and the last one of all: float64, shape ``[N + 1, 2]``, in degrees."""
    if not len(raster.corners):
        return np.empty((0, 2))
    points = np.concatenate([raster.corners[:, 0], raster.corners[-1:, 2]])
    return np.stack(project(raster.crs, longitude_latitude(), *points.T), axis=1)


def _sites(places: Sequence[Coordinates]) -> list[list[int]]:
    """Return the groups of rasters that are near each other, by their numbers."""
    positions = [_on_sphere(place) for place in places]
    centers = np.array([position.mean(axis=0) for position in positions])
    radii = np.array(
        [np.linalg.norm(each - center, axis=1).max() for each, center in zip(positions, centers, strict=True)]
    )
    groups: list[list[int]] = []
    for i in range(len(places)):
        near = np.linalg.norm(centers[: i + 1] - centers[i], axis=1) < radii[: i + 1] + radii[i] + _SITE_GAP_M
        joined = [group for group in groups if near[group].any()]
        groups = [group for group in groups if group not in joined] + [[*(n for group in joined for n in group), i]]
    return groups


def _on_sphere(place: Coordinates) -> Coordinates:
    """Return longitudes and latitudes as points on a sphere, in meters: no distance is cut at 180 degrees."""
    longitude, latitude = np.radians(place).T
    unit = np.stack(
        [np.cos(latitude) * np.cos(longitude), np.cos(latitude) * np.sin(longitude), np.sin(latitude)], axis=1
    )
    return unit * _EARTH_RADIUS_M


def _center(place: Coordinates) -> tuple[float, float]:
    """Return the longitude and the latitude in the middle of some."""
    x, y, z = _on_sphere(place).mean(axis=0)
    return float(np.degrees(np.arctan2(y, x))), float(np.degrees(np.arctan2(z, np.hypot(x, y))))
