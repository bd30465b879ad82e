"""Rasters are opened with their sizes, and parts of them are read as RGB with a mask."""

import os
import subprocess
import sys

import numpy as np
import pytest
from rasterio import Affine
from rasterio.control import GroundControlPoint
from rasterio.windows import Window

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.source import RasterSource

ALL = Window(0, 0, 30, 20)


def _rgb(values):
    return values[:3].transpose(1, 2, 0)


def test_the_attributes_say_what_the_raster_is(draw_raster, noise):
    path = draw_raster(noise(bands=4))
    with RasterSource(path) as source:
        assert (source.path, source.width, source.height, source.dtype) == (path, 30, 20, "uint8")
        assert source.crs.to_epsg() == 32632
        assert source.transform == Affine(2, 0, 500_000, 0, -2, 5_000_000)
        assert source.bands == (1, 2, 3)
        assert source.files == (path,)
        # At the central meridian of UTM the scale is 0.9996.
        assert source.pixel_size.x == pytest.approx(2 / 0.9996, rel=1e-5)
        assert source.pixel_size.y == pytest.approx(2 / 0.9996, rel=1e-5)


def test_a_part_is_read_in_rgb_order(draw_raster, noise):
    values = noise(bands=5)
    with RasterSource(draw_raster(values)) as source:
        pixels, valid = source.read(Window(3, 4, 10, 6))
    np.testing.assert_array_equal(pixels, _rgb(values)[4:10, 3:13])
    assert pixels.flags.c_contiguous
    assert valid is None


def test_bands_are_read_in_the_order_asked_for(draw_raster, noise):
    values = noise(bands=5)
    with RasterSource(draw_raster(values), bands=(5, 3, 1)) as source:
        np.testing.assert_array_equal(source.read(ALL)[0], values[[4, 2, 0]].transpose(1, 2, 0))


def test_one_band_is_gray(draw_raster, noise):
    values = noise(bands=1)
    with RasterSource(draw_raster(values)) as source:
        assert source.bands == (1, 1, 1)
        np.testing.assert_array_equal(source.read(ALL)[0], np.repeat(values.transpose(1, 2, 0), 3, axis=2))


def test_a_window_may_extend_beyond_the_raster(draw_raster, noise):
    values = noise()
    with RasterSource(draw_raster(values)) as source:
        pixels, valid = source.read(Window(-4, 15, 10, 8))
        assert source.read(Window(40, 0, 3, 2))[1].tolist() == [[False] * 3] * 2
    expected = np.zeros((8, 10), bool)
    expected[:5, 4:] = True
    np.testing.assert_array_equal(valid, expected)
    np.testing.assert_array_equal(pixels[:5, 4:], _rgb(values)[15:, :6])
    assert not pixels[~expected].any()


@pytest.mark.parametrize(
    ("nodata", "expected"),
    [(None, [False, True, True]), ("none", [True, True, True]), ("7", [True, False, True])],
)
def test_missing_pixels_are_those_of_the_nodata_value_unless_it_is_overridden(draw_raster, noise, nodata, expected):
    values = noise()
    values[:, 0, 0], values[:, 0, 1], values[0, 0, 2] = 0, 7, 0
    with RasterSource(draw_raster(values, nodata=0), nodata=nodata) as source:
        valid = source.read(ALL)[1]
    if nodata == "none":
        assert valid is None
    else:
        assert valid[0, :3].tolist() == expected
        assert valid.sum() == valid.size - 1


def test_a_mask_counts_also_if_the_nodata_value_does_not(draw_raster, noise):
    mask = np.full((20, 30), 255, np.uint8)
    mask[5, 6] = 0
    with RasterSource(draw_raster(noise(), mask=mask), nodata="none") as source:
        valid = source.read(ALL)[1]
    assert np.argwhere(~valid).tolist() == [[5, 6]]


def test_an_alpha_band_marks_missing_pixels(draw_raster, noise):
    values = noise(bands=4)
    values[3] = 255
    values[3, 2, 1] = 0
    with RasterSource(draw_raster(values, photometric="RGB", alpha="yes")) as source:
        assert np.argwhere(~source.read(ALL)[1]).tolist() == [[2, 1]]


def test_the_nodata_value_of_a_band_that_is_not_read_does_not_count(draw_raster, noise):
    values = noise(bands=4, dtype=np.int16)
    values[:3, 0, 0], values[3, 0, 1] = 0, 0
    with RasterSource(draw_raster(values, nodata=0), value_range=(0, 255)) as source:
        assert np.argwhere(~source.read(ALL)[1]).tolist() == [[0, 0]]


def test_the_alpha_band_counts_beside_a_nodata_value(draw_raster, noise):
    values = noise(bands=4)
    values[:3, 0, 0], values[3], values[3, 0, 1] = 7, 255, 0
    path = draw_raster(values, photometric="RGB", alpha="yes", nodata=7)
    for nodata, missing in ((None, [[0, 0], [0, 1]]), ("none", [[0, 1]])):
        with RasterSource(path, nodata=nodata) as source:
            assert np.argwhere(~source.read(ALL)[1]).tolist() == missing


def test_a_value_range_becomes_8_bits(draw_raster, noise):
    values = noise(dtype=np.uint16, high=4000)
    values[:, 0, :3] = 1000, 2000, 3000
    with RasterSource(draw_raster(values), value_range=(1000, 3000)) as source:
        assert source.dtype == "uint16"
        assert source.read(ALL)[0][0, :3, 0].tolist() == [0, 128, 255]
    with RasterSource(draw_raster(noise(), "b.tif"), value_range=(0, 510)) as source:
        np.testing.assert_array_equal(source.read(ALL)[0], np.rint(_rgb(noise()) / 2))


def test_not_a_number_is_missing(draw_raster, noise):
    values = noise().astype(np.float32)
    values[1, 3, 4] = np.nan
    with RasterSource(draw_raster(values), value_range=(0, 255)) as source:
        pixels, valid = source.read(ALL)
    assert np.argwhere(~valid).tolist() == [[3, 4]]
    np.testing.assert_array_equal(pixels[valid], _rgb(values)[valid])


def test_more_than_8_bits_need_a_range(draw_raster, noise):
    path = draw_raster(noise(dtype=np.uint16))
    with pytest.raises(RasterError, match=r"a\.tif.*uint16.*--range"):
        RasterSource(path)
    with RasterSource(path, needs_range=False) as source:
        assert source.read_valid_values(ALL).shape == (600, 3)


def test_the_numbers_of_a_palette_become_its_colors(draw_raster, noise):
    values = noise(bands=1, high=2)
    with RasterSource(draw_raster(values, colormap={1: (10, 20, 30), 2: (40, 50, 60)})) as source:
        pixels = source.read(ALL)[0]
    np.testing.assert_array_equal(pixels, np.array([[0, 0, 0], [10, 20, 30], [40, 50, 60]])[values[0]])


def test_a_rotated_raster_is_resampled_to_a_straight_grid(draw_raster):
    values = np.full((3, 40, 40), 90, np.uint8)
    transform = Affine.translation(500_000, 5_000_000) @ Affine.rotation(30) @ Affine.scale(2, -2)
    with RasterSource(draw_raster(values, transform=transform)) as source:
        assert (source.transform.b, source.transform.d) == (0, 0)
        pixels, valid = source.read(Window(0, 0, source.width, source.height))
    # 40 pixels of 2 m on each side, whatever the grid.
    assert valid.sum() * source.pixel_size.x * source.pixel_size.y == pytest.approx(80**2, rel=0.06)
    assert not valid[0, 0]
    assert set(pixels[valid].ravel()) == {90}


@pytest.mark.parametrize("nodata", [None, "none"])
def test_ground_control_points_give_a_raster_its_place(draw_raster, nodata):
    values = np.full((3, 40, 40), 90, np.uint8)
    corners = [(0, 0), (0, 40), (40, 0), (40, 40)]
    points = [GroundControlPoint(r, c, 500_000 + 2 * c, 5_000_000 - 2 * r) for r, c in corners]
    with RasterSource(draw_raster(values, gcps=points), nodata=nodata) as source:
        assert source.crs.to_epsg() == 32632
        assert source.pixel_size.x == pytest.approx(2, rel=0.03)
        pixels, _ = source.read(Window(10, 10, 5, 5))
    assert set(pixels.ravel()) == {90}


def test_a_raster_without_crs_needs_the_size_of_its_pixels(draw_raster, noise):
    path = draw_raster(noise(), crs=None)
    with pytest.raises(RasterError, match=r"a\.tif.*--gsd"):
        RasterSource(path)
    with RasterSource(path, gsd=0.5) as source:
        assert (source.pixel_size.x, source.pixel_size.y, source.crs) == (0.5, 0.5, None)


def test_missing_bands_are_named(draw_raster, noise):
    with pytest.raises(RasterError, match=r"a\.tif.* 3 bands.*5,3,1.*--bands"):
        RasterSource(draw_raster(noise()), bands=(5, 3, 1))


def test_a_file_that_is_no_raster_is_named(tmp_path):
    with pytest.raises(RasterError, match=r"b\.tif does not exist"):
        RasterSource(tmp_path / "b.tif")
    (tmp_path / "c.tif").write_text("no raster")
    with pytest.raises(RasterError, match=r"c\.tif.*GeoTIFF"):
        RasterSource(tmp_path / "c.tif")


def test_a_damaged_part_is_named(draw_raster, noise):
    path = draw_raster(noise(height=400, width=300), compress="deflate")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RasterError, match=r"a\.tif"), RasterSource(path) as source:
        source.read(Window(0, 0, 300, 400))


def test_coordinates_outside_of_their_crs_are_named(draw_raster, noise):
    with pytest.raises(RasterError, match=r"a\.tif.*EPSG:4326"):
        RasterSource(draw_raster(noise(), crs="EPSG:4326", transform=Affine(2, 0, 500_000, 0, -2, 5_000_000)))


@pytest.mark.parametrize("variable", ["PROJ_DATA", "PROJ_LIB"])
def test_a_variable_that_hides_the_data_base_of_proj_is_named(draw_raster, noise, tmp_path, variable):
    # In a process of its own, because PROJ looks for its data base only once.
    code = "import sys, pathlib; from overfly.runtime.raster.source import *; RasterSource(pathlib.Path(sys.argv[1]))"
    environment = {**os.environ, variable: str(tmp_path / "elsewhere")}
    path = draw_raster(noise())
    done = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stderr.splitlines()[-1].startswith("overfly.runtime.errors.RasterError: coordinates can't be")
    assert f"{variable}={tmp_path / 'elsewhere'}" in done.stderr.splitlines()[-1]
