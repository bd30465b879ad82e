"""Windows have the same size on the ground, whatever the units of a raster's coordinates are."""

import math

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.warp import transform

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.source import RasterSource
from overfly.training.data.chips.windows import chip_grid


def _grid(path, scene_m, stride_m=None, **choices):
    with RasterSource(path, **choices) as source:
        return chip_grid(source, scene_m, stride_m or scene_m)


def test_windows_are_side_by_side_and_inside_of_the_raster(draw_raster, noise):
    grid = _grid(draw_raster(noise(height=25, width=34)), 20)
    assert (grid.width, grid.height) == (10, 10)
    assert grid.columns.tolist() == [0, 10, 20] * 2
    assert grid.rows.tolist() == [0] * 3 + [10] * 3


def test_windows_overlap_by_the_stride_rounded_up(draw_raster, noise):
    grid = _grid(draw_raster(noise()), 20, 13)
    assert sorted(set(grid.columns)) == [0, 7, 14]
    assert sorted(set(grid.rows)) == [0, 7]


def test_a_raster_smaller_than_a_window_has_none(draw_raster, noise):
    assert len(_grid(draw_raster(noise()), 50).columns) == 0


@pytest.mark.parametrize(
    ("crs", "pixel", "expected"),
    [
        ("EPSG:3857", (2, 2), (20 / math.cos(math.radians(48)), 20 / math.cos(math.radians(48)))),
        ("EPSG:32632", (1, 4), (40, 10)),
        ("EPSG:2263", (10, 10), (40 / 3.048, 40 / 3.048)),  # New York, in feet
        ("EPSG:4326", (1e-5, 1e-5), (40 / 1.1132 / math.cos(math.radians(48)), 40 / 1.1120)),
    ],
)
def test_a_window_has_its_size_on_the_ground(draw_raster, noise, crs, pixel, expected):
    place = (-74, 40.7) if crs == "EPSG:2263" else (9, 48)
    (x,), (y,) = transform(CRS.from_epsg(4326), CRS.from_string(crs), *([value] for value in place))
    path = draw_raster(noise(), crs=crs, transform=Affine(pixel[0], 0, x, 0, -pixel[1], y))
    grid = _grid(path, 40)
    assert (grid.width, grid.height) == (pytest.approx(expected[0], abs=0.7), pytest.approx(expected[1], abs=0.7))


def test_the_corners_are_coordinates(draw_raster, noise):
    grid = _grid(draw_raster(noise()), 20)
    place = Affine(2, 0, 500_000, 0, -2, 5_000_000)
    left, top, right, bottom = 500_020, 5_000_000, 500_040, 4_999_980
    expected = [[left, top], [right, top], [right, bottom], [left, bottom]]
    np.testing.assert_array_equal(grid.corners(place)[1], expected)
    assert grid.polygons(place)[1].area == 400


def test_a_scene_without_pixels_is_named(draw_raster, noise):
    with pytest.raises(RasterError, match=r"a\.tif has pixels of 2 m.*1 m.*--scene-m"):
        _grid(draw_raster(noise()), 1)
