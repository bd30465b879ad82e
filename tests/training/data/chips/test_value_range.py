"""The range of values is that of all rasters together."""

import numpy as np
import pytest

from overfly.runtime.errors import RasterError
from overfly.training.data.chips.value_range import measure_range

CHOICES = {"bands": None, "nodata": None, "gsd": None}


def test_the_range_is_from_the_2nd_to_the_98th_percentile_of_all_rasters(draw_raster):
    ramp = np.tile(np.arange(1000, dtype=np.uint16), (3, 4, 1))
    first, second = draw_raster(ramp), draw_raster(ramp + 1000, "b.tif")
    assert measure_range([first], **CHOICES) == (pytest.approx(20, abs=2), pytest.approx(979, abs=2))
    assert measure_range([first, second], **CHOICES) == (pytest.approx(40, abs=3), pytest.approx(1959, abs=3))


def test_missing_pixels_and_other_bands_do_not_count(draw_raster):
    values = np.full((4, 30, 30), 500, np.uint16)
    values[:3, :, ::2], values[:3, :10], values[3] = 700, 9999, 1
    path = draw_raster(values, nodata=9999)
    assert measure_range([path], **CHOICES) == (500, 700)


def test_large_rasters_are_sampled_everywhere(draw_raster):
    values = np.full((1, 900, 900), 10, np.uint16)
    values[:, 450:, :450], values[:, :450, 450:] = 300, 200
    path = draw_raster(values, tiled=True, blockxsize=64, blockysize=64)
    assert measure_range([path], **CHOICES) == (10, 300)


def test_rasters_of_one_value_have_no_range(draw_raster):
    with pytest.raises(RasterError, match=r"a\.tif are 5.*--range"):
        measure_range([draw_raster(np.full((3, 9, 9), 5, np.uint16))], **CHOICES)
    with pytest.raises(RasterError, match=r"b\.tif has no valid pixel"):
        measure_range([draw_raster(np.full((3, 9, 9), 5, np.uint16), "b.tif", nodata=5)], **CHOICES)
