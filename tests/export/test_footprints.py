"""Where a model was trained: the hull of its training chips."""

import numpy as np
import pyogrio
import pytest
import shapely

from overfly.export.footprints import training_hull
from overfly.runtime.errors import RasterError


@pytest.fixture
def write(tmp_path):
    """A function that writes ``chips.gpkg`` with boxes (west, south, east, north) and their parts; returns its path."""

    def call(boxes, parts, *, crs="EPSG:4326", column="part"):
        path = tmp_path / "chips.gpkg"
        pyogrio.raw.write(
            path,
            shapely.to_wkb(shapely.box(*np.array(boxes, dtype=float).T)),
            [np.array(parts, dtype=object)],
            [column],
            layer="chips",
            geometry_type="Polygon",
            crs=crs,
        )
        return path

    return call


def test_only_training_chips_count_and_the_ring_is_counterclockwise(write):
    hull = training_hull(write([(5, 50, 6, 51), (8, 50, 9, 51), (70, 0, 71, 1)], ["train", "train", "test"]))
    assert hull.bbox == (5.0, 50.0, 9.0, 51.0)
    assert hull.geometry["type"] == "Polygon"
    (ring,) = hull.geometry["coordinates"]
    assert ring[0] == ring[-1]
    assert {tuple(point) for point in ring} == {(5, 50), (9, 50), (9, 51), (5, 51)}
    assert shapely.LinearRing(ring).is_ccw


def test_meters_become_longitude_and_latitude(write):
    # 500 km east in a zone of UTM is its central meridian: 75 degrees west for zone 18.
    west, south, east, north = training_hull(write([(500_000, 0, 501_000, 1_000)], ["train"], crs="EPSG:32618")).bbox
    assert (west, south) == pytest.approx((-75, 0), abs=1e-6)
    assert (east, north) == pytest.approx((-75 + 1 / 111.36, 1 / 110.6), abs=1e-4)


def test_chips_on_both_sides_of_the_180th_meridian_do_not_span_the_earth(write):
    hull = training_hull(write([(179, 10, 179.5, 11), (-179.5, 10, -179, 11)], ["train", "train"]))
    assert hull.bbox == (179.0, 10.0, -179.0, 11.0)
    assert hull.geometry["type"] == "MultiPolygon"
    before, after = (shapely.Polygon(polygon[0]).bounds for polygon in hull.geometry["coordinates"])
    assert before == (179.0, 10.0, 180.0, 11.0)
    assert after == (-180.0, 10.0, -179.0, 11.0)


def test_chips_on_both_sides_of_greenwich_are_not_cut(write):
    assert training_hull(write([(-1, 50, 0, 51), (1, 50, 2, 51)], ["train", "train"])).bbox == (-1.0, 50.0, 2.0, 51.0)


@pytest.mark.filterwarnings("ignore:'crs' was not provided")
def test_chips_of_rasters_without_coordinates_have_no_place(write):
    assert training_hull(write([(0, 0, 1, 1)], ["train"], crs=None)) is None


@pytest.mark.parametrize(("parts", "column"), [(["test"], "part"), (["train"], "name")])
def test_a_file_without_training_chips_is_named(write, parts, column):
    path = write([(0, 0, 1, 1)], parts, column=column)
    with pytest.raises(RasterError) as error:
        training_hull(path)
    assert str(error.value) == (
        f"{path} has no footprint with 'train' in the column 'part': cut the chips again with overfly chips, or leave "
        "out --stac"
    )


def test_a_file_that_is_none_is_named(tmp_path):
    path = tmp_path / "chips.gpkg"
    path.write_bytes(b"no GeoPackage")
    with pytest.raises(RasterError, match=r"chips\.gpkg"):
        training_hull(path)
