"""``map.gpkg``: neighboring cells of the same class as polygons."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import shapely
from rasterio.features import rasterize, shapes

from overfly.runtime.mapping.outputs.cells import MapCells
from overfly.runtime.mapping.outputs.geotiff import MapPlace
from overfly.runtime.mapping.sums import ONE
from overfly.runtime.raster.geopackage import geopackage
from overfly.runtime.raster.scale import transform_points

LAYER = "map"


def polygons_file(cells: MapCells, classes: tuple[str, ...], place: MapPlace) -> bytes:
    """Return a GeoPackage with a polygon for each connected area of one class.

    Its fields: ``class``, ``class_index``, ``cells``, ``area_m2`` on the ellipsoid, and ``mean_probability``.
    """
    filled = cells.indices >= 0
    alone = filled & _is_alone(cells.indices)
    found = list(shapes(cells.indices, mask=filled & ~alone, connectivity=4, transform=place.transform))
    # Which polygon each cell is in, from 1. Their edges are edges of cells, so no cell is at the edge of two.
    owner = np.zeros(cells.indices.shape, np.int32)
    if found:
        numbered = ((geometry, number) for number, (geometry, _) in enumerate(found, start=1))
        owner = rasterize(numbered, out_shape=owner.shape, transform=place.transform, dtype="int32")
    n_polygons = len(found) + np.count_nonzero(alone)
    owner[alone] = np.arange(len(found), n_polygons) + 1
    indices = np.concatenate([[value for _, value in found], cells.indices[alone]]).astype(np.int32)
    geometries = [_polygons([geometry["coordinates"] for geometry, _ in found]), _squares(alone, place)]
    counts, areas, confidences = (
        np.bincount(owner[filled], weights, minlength=n_polygons + 1)[1:]
        for weights in (None, cells.areas[filled], cells.confidence[filled] / ONE)
    )
    fields = {
        "class": np.array([classes[i] for i in indices], object),
        "class_index": indices,
        "cells": counts.astype(np.int64),
        "area_m2": areas,
        "mean_probability": confidences / np.maximum(counts, 1),
    }
    return geopackage(np.concatenate(geometries), fields, layer=LAYER, crs=place.crs)


def _is_alone(indices: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """Return which cells have another class than the four cells around. In a map of many polygons most are such a cell.

    GDAL takes ten times as long for their polygons as `_squares`.
    """
    padded = np.pad(indices, 1, constant_values=-1)
    around = padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]
    alone: npt.NDArray[np.bool_] = np.all([each != indices for each in around], axis=0)
    return alone


def _squares(chosen: npt.NDArray[np.bool_], place: MapPlace) -> npt.NDArray[np.object_]:
    """Return the outlines of cells as polygons, which begin and turn as GDAL's do."""
    rows, columns = (each[:, np.newaxis] for each in np.nonzero(chosen))
    points = transform_points(place.transform, columns + np.array([0.0, 0, 1, 1]), rows + np.array([0.0, 1, 1, 0]))
    squares: npt.NDArray[np.object_] = shapely.polygons(np.stack(points, axis=-1))
    return squares


def _polygons(found: Sequence[Sequence[Sequence[tuple[float, float]]]]) -> npt.NDArray[np.object_]:
    """Return polygons, each given as its rings of points, as geometries; one by one takes five times as long."""
    rings = [ring for polygon in found for ring in polygon]
    points = np.fromiter((value for ring in rings for point in ring for value in point), float).reshape(-1, 2)
    owners = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    polygons = np.repeat(np.arange(len(found)), [len(polygon) for polygon in found])
    parts = shapely.linearrings(points, indices=owners)
    geometries: npt.NDArray[np.object_] = shapely.polygons(parts, indices=polygons)
    return geometries
