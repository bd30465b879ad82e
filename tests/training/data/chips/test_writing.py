"""Scenes are GeoTIFFs that Pillow reads as well, with their place, and footprints are in a GeoPackage."""

import hashlib

import numpy as np
import pyogrio
import rasterio
import shapely
from PIL import Image
from rasterio import Affine
from rasterio.crs import CRS

from overfly.runtime.images.reading import ImageReader
from overfly.training.data.chips.writing import window_transform, write_chip, write_footprints

UTM = CRS.from_epsg(32632)
PLACE = Affine(2, 0, 500_000, 0, -2, 5_000_000)


def test_a_scene_has_its_pixels_its_place_and_its_tags(tmp_path, noise):
    pixels = np.ascontiguousarray(noise(height=32, width=40).transpose(1, 2, 0))
    path = tmp_path / "a.tif"
    sha256 = write_chip(path, pixels, crs=UTM, transform=PLACE, tags={"source": "é.tif", "window": "1,2,40,32"})
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    with rasterio.open(path) as dataset:
        assert (dataset.crs.to_epsg(), dataset.transform) == (32632, PLACE)
        assert dataset.profile["compress"] == "deflate"
        assert dataset.tags()["source"] == "é.tif"
        assert dataset.tags()["window"] == "1,2,40,32"
        np.testing.assert_array_equal(dataset.read().transpose(1, 2, 0), pixels)
    with Image.open(path) as image:
        assert image.mode == "RGB"
        np.testing.assert_array_equal(np.asarray(image), pixels)
    square = pixels[:, :32]
    write_chip(path, square, crs=None, transform=PLACE, tags={})
    np.testing.assert_array_equal(ImageReader(32).read(path), square)


def test_a_window_keeps_the_grid_of_its_raster():
    assert window_transform(PLACE, 10, 20) == Affine(2, 0, 500_020, 0, -2, 4_999_960)


def test_footprints_keep_a_common_crs_and_are_longitude_and_latitude_otherwise(tmp_path):
    corners = np.array([[0, 0], [10, 0], [10, 10], [0, 10]]) + np.array([500_000, 5_000_000])
    columns = {"name": ["a/1.tif", "b/2.tif"], "class": ["a", "b"], "part": ["train", "test"]}
    write_footprints(tmp_path / "one.gpkg", [corners] * 2, [UTM] * 2, columns)
    meta, _, geometry, data = pyogrio.raw.read(tmp_path / "one.gpkg")
    assert meta["crs"] == "EPSG:32632"
    assert list(meta["fields"]) == ["name", "class", "part"]
    assert [values.tolist() for values in data] == list(columns.values())
    assert shapely.from_wkb(geometry[0]).equals(shapely.Polygon(corners))
    write_footprints(tmp_path / "two.gpkg", [corners] * 2, [UTM, CRS.from_epsg(32633)], columns)
    meta, _, geometry, _ = pyogrio.raw.read(tmp_path / "two.gpkg")
    assert meta["crs"] == "EPSG:4326"
    longitudes = [round(shapely.from_wkb(g).centroid.x) for g in geometry]
    assert longitudes == [9, 15]


def test_the_same_footprints_give_the_same_file(tmp_path):
    corners = np.array([[0, 0], [10, 0], [10, 10], [0, 10]])
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_footprints(tmp_path / name / "chips.gpkg", [corners], [UTM], {"name": ["x"]})
    assert (tmp_path / "a" / "chips.gpkg").read_bytes() == (tmp_path / "b" / "chips.gpkg").read_bytes()
