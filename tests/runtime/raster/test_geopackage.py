"""A GeoPackage has the polygons, the columns and the CRS, and the same bytes each time."""

import numpy as np
import pyogrio
import pytest
import shapely
from rasterio.crs import CRS

from overfly.runtime.raster.geopackage import geopackage

SQUARES = shapely.box(np.array([0.0, 10]), 0, np.array([10.0, 20]), 5)
COLUMNS = {
    "name": np.array(["beach", "forêt"], object),
    "cells": np.array([1, 2], np.int64),
    "share": np.array([0.25, 0.75]),
}


@pytest.mark.parametrize(("crs", "spatial_index"), [(CRS.from_epsg(32632), True), (None, False)])
def test_what_is_written_can_be_read(tmp_path, crs, spatial_index):
    path = tmp_path / "a.gpkg"
    path.write_bytes(geopackage(SQUARES, COLUMNS, layer="map", crs=crs, spatial_index=spatial_index))
    meta, _, shapes, values = pyogrio.raw.read(path, layer="map")
    assert meta["crs"] == (crs and "EPSG:32632")
    assert shapely.equals(shapely.from_wkb(shapes), SQUARES).all()
    assert dict(zip(meta["fields"], [v.tolist() for v in values], strict=True)) == {
        name: column.tolist() for name, column in COLUMNS.items()
    }
    assert pyogrio.read_info(path, layer="map")["capabilities"]["fast_spatial_filter"] == spatial_index


def test_the_same_content_has_the_same_bytes_and_gdal_its_clock():
    first, second = (geopackage(SQUARES, COLUMNS, layer="map", crs=None) for _ in range(2))
    assert first == second
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None
