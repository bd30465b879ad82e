"""Polygons come in the CRS of the raster; everything else is an error."""

import json

import pytest
from rasterio import Affine

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.source import RasterSource
from overfly.runtime.raster.vectors import read_polygons


def write(path, *geometries):
    features = [{"type": "Feature", "properties": {}, "geometry": geometry} for geometry in geometries]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}), encoding="utf-8")
    return path


@pytest.fixture
def at(draw_raster, noise):
    """A function that returns an open raster in Central Europe in a CRS."""
    sources = {}

    def call(epsg):
        transform = Affine(100, 0, 400_000, 0, -100, 5_100_000) if epsg == 32632 else Affine(0.001, 0, 7, 0, -0.001, 47)
        if epsg not in sources:
            path = draw_raster(noise(3, 3000, 3000), f"{epsg}.tif", crs=f"EPSG:{epsg}", transform=transform)
            sources[epsg] = RasterSource(path)
        return sources[epsg]

    yield call
    for source in sources.values():
        source.__exit__(None, None, None)


def square(x, y, side):
    return [[(x, y), (x + side, y), (x + side, y + side), (x, y + side), (x, y)]]


def test_longitudes_become_eastings(tmp_path, at):
    path = write(tmp_path / "a.geojson", {"type": "Polygon", "coordinates": square(9, 45, 0.001)})
    (polygon,) = read_polygons(path, at(32632))
    assert polygon.bounds[:2] == pytest.approx((500_000, 4_982_950.4), abs=1)
    # A thousandth of a degree at 45 degrees north.
    assert polygon.area == pytest.approx(111.13 * 78.85 * 0.9996**2, rel=1e-3)


def test_parts_are_taken_apart_and_crossing_edges_mended(tmp_path, at):
    bow_tie = [[(9, 45), (9.01, 45.01), (9.01, 45), (9, 45.01), (9, 45)]]
    multi = {"type": "MultiPolygon", "coordinates": [square(8, 45, 0.1), square(8.5, 45, 0.1)]}
    path = write(tmp_path / "a.geojson", multi, {"type": "Polygon", "coordinates": bow_tie})
    polygons = read_polygons(path, at(4326))
    assert len(polygons) == 4
    assert all(polygon.is_valid for polygon in polygons)


def test_what_holds_no_polygon_is_refused(tmp_path, at):
    points = write(tmp_path / "points.geojson", {"type": "Point", "coordinates": [9, 45]})
    with pytest.raises(RasterError, match="no polygon"):
        read_polygons(points, at(4326))
    text = tmp_path / "text.gpkg"
    text.write_text("no vectors", encoding="utf-8")
    with pytest.raises(RasterError, match="vector data"):
        read_polygons(text, at(4326))


def test_meters_that_are_labeled_as_degrees_are_nowhere(tmp_path, at):
    path = write(tmp_path / "meters.geojson", {"type": "Polygon", "coordinates": square(500_000, 5_000_000, 10)})
    assert len(read_polygons(path, at(32632))) == 0  # nowhere near the raster


def test_long_edges_are_curves_in_another_crs(tmp_path, at):
    path = write(tmp_path / "long.geojson", {"type": "Polygon", "coordinates": square(8, 45, 1.0)})
    (polygon,) = read_polygons(path, at(32632))
    # The parallel of 45 degrees from 8 to 9 degrees sinks by 540 m towards its middle meridian, seen from its ends.
    assert len(polygon.exterior.coords) > 40
