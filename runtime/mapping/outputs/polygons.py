"""``map.gpkg``: neighboring cells of the same class as polygons."""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
import pyogrio
import shapely
from rasterio.features import rasterize, shapes

from overfly.runtime.mapping.outputs.cells import MapCells
from overfly.runtime.mapping.outputs.geotiff import MapPlace
from overfly.runtime.mapping.sums import ONE
from overfly.runtime.raster.vectors import fixed_time

LAYER = "map"
# GDAL 3.6, which is part of QGIS 3.22, warns of a later version.
_VERSION = "1.2"


def geopackage(cells: MapCells, classes: tuple[str, ...], place: MapPlace) -> bytes:
    """Return a GeoPackage with a polygon for each connected area of one class.

    Its fields: ``class``, ``class_index``, ``cells``, ``area_m2`` on the ellipsoid, and ``mean_probability``.
    """
    filled = cells.indices >= 0
    found = list(shapes(cells.indices, mask=filled, connectivity=4, transform=place.transform))
    indices = np.array([value for _, value in found], np.int32)
    geometries = np.array([shapely.geometry.shape(geometry) for geometry, _ in found], object)
    # Which polygon each cell is in. Their edges are edges of cells, so no cell is at the edge of two.
    owner = np.zeros(cells.indices.shape, np.int32)
    if found:
        numbered = ((geometry, number) for number, (geometry, _) in enumerate(found, start=1))
        owner = rasterize(numbered, out_shape=owner.shape, transform=place.transform, dtype="int32")
    counts, areas, confidences = (
        np.bincount(owner[filled], weights, minlength=len(found) + 1)[1:]
        for weights in (None, cells.areas[filled], cells.confidence[filled] / ONE)
    )
    fields = {
        "class": np.array([classes[i] for i in indices], object),
        "class_index": indices,
        "cells": counts.astype(np.int64),
        "area_m2": areas,
        "mean_probability": confidences / np.maximum(counts, 1),
    }
    return write_vectors(geometries, fields, layer=LAYER, place=place)


def write_vectors(
    geometries: npt.NDArray[Any], fields: dict[str, npt.NDArray[Any]], *, layer: str, place: MapPlace
) -> bytes:
    """Return polygons and their fields as the bytes of a GeoPackage."""
    content = io.BytesIO()
    with fixed_time(), warnings.catch_warnings():
        if place.crs is None:
            # pyogrio would warn of what the user knows.
            warnings.filterwarnings("ignore", "'crs' was not provided", UserWarning)
        pyogrio.raw.write(
            content,
            shapely.to_wkb(geometries),
            list(fields.values()),
            list(fields),
            driver="GPKG",
            layer=layer,
            geometry_type="Polygon",
            dataset_options={"VERSION": _VERSION},
            crs=None if place.crs is None else place.crs.to_wkt(),
        )
    return content.getvalue()
