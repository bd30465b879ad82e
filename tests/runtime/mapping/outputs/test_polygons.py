"""Polygons have the class, the cells, the area and the probability of what they enclose."""

import numpy as np
import pyogrio
import pytest
import shapely
from rasterio.features import rasterize

from overfly.runtime.mapping.outputs.cells import MapCells
from overfly.runtime.mapping.outputs.geotiff import MapPlace
from overfly.runtime.mapping.outputs.polygons import LAYER, polygons_file
from overfly.runtime.mapping.sums import ONE


@pytest.fixture
def read(tmp_path):
    """A function that reads a GeoPackage from its bytes."""
    path = tmp_path / "map.gpkg"

    def call(content):
        path.write_bytes(content)
        meta, _, geometries, values = pyogrio.raw.read(path, layer=LAYER)
        return meta, shapely.from_wkb(geometries), dict(zip(meta["fields"], values, strict=True))

    return call


def test_each_connected_area_is_a_polygon(cells, classes, place, read):
    meta, polygons, fields = read(polygons_file(cells, classes, place))
    assert meta["crs"] == "EPSG:32632"
    found = sorted(zip(fields["class"], fields["cells"], fields["area_m2"], strict=True))
    # Cells that touch at a corner only are apart.
    assert found == [("beach", 3, 8.0), ("beach", 3, 33.0), ("forest", 1, 9.0), ("forest", 3, 16.0)]
    assert [round(polygon.area) for polygon in polygons] == [10_000 * n for n in fields["cells"]]
    single = list(fields["cells"]).index(1)
    assert fields["mean_probability"][single] == pytest.approx((ONE // 2 + 800) / ONE)
    assert polygons[single].bounds == (500_000, 4_999_700, 500_100, 4_999_800)


def test_polygons_cover_each_cell_once_with_its_class(classes, place, read):
    rng = np.random.default_rng(0)
    # Single cells, larger areas with holes, and empty cells.
    indices = rng.choice([-1, 0, 0, 0, 1, 2], (30, 40)).astype(np.int32)
    _, polygons, fields = read(
        polygons_file(MapCells(indices, np.zeros((30, 40), np.uint16), np.ones((30, 40))), classes, place)
    )
    assert shapely.is_valid(polygons).all()
    assert (shapely.get_num_interior_rings(polygons) > 0).any()
    for index, name in enumerate(classes):
        drawn = rasterize(polygons[fields["class"] == name], indices.shape, transform=place.transform)
        np.testing.assert_array_equal(drawn == 1, indices == index)
    np.testing.assert_allclose(shapely.area(polygons), fields["cells"] * 10_000)
    np.testing.assert_array_equal(fields["area_m2"], fields["cells"])
    assert sum(fields["cells"]) == (indices >= 0).sum()


def test_the_same_map_has_the_same_bytes(cells, classes, place):
    assert polygons_file(cells, classes, place) == polygons_file(cells, classes, place)


def test_an_empty_map_and_one_without_crs_can_be_written(cells, classes, place, read):
    empty = MapCells(np.full_like(cells.indices, -1), cells.confidence, cells.areas)
    assert len(read(polygons_file(empty, classes, place))[1]) == 0
    meta, polygons, _ = read(polygons_file(cells, classes, MapPlace(crs=None, transform=place.transform)))
    assert meta["crs"] is None
    assert len(polygons) == 4
