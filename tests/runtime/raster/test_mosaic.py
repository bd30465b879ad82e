"""A mosaic shows its rasters where they are, with what is missing in one taken from the other."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from rasterio import Affine
from rasterio.windows import Window

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.mosaic import write_mosaic
from overfly.runtime.raster.source import RasterSource


def at(x, y, size=2.0):
    return Affine(size, 0, 500_000 + x, 0, -size, 5_000_000 - y)


def read(path, **choices):
    with RasterSource(path, **choices) as source:
        return source.read(Window(0, 0, source.width, source.height))


def test_rasters_are_where_they_belong(draw_raster, noise, tmp_path):
    whole = noise(3, 20, 30)
    parts = [
        draw_raster(whole[:, :, :18], "a ä.tif", transform=at(0, 0)),
        draw_raster(whole[:, :, 12:], "b.tif", transform=at(24, 0)),
    ]
    write_mosaic(tmp_path / "m.vrt", parts, ignore_nodata=False)
    pixels, valid = read(tmp_path / "m.vrt")
    np.testing.assert_array_equal(pixels.transpose(2, 0, 1), whole)
    assert valid is None


@pytest.mark.gdal
def test_gdal_opens_a_mosaic(draw_raster, noise, tmp_path):
    parts = [draw_raster(noise(3, 4, 5), "a.tif"), draw_raster(noise(3, 4, 5), "b.tif", transform=at(6, 4))]
    write_mosaic(tmp_path / "m.vrt", parts, ignore_nodata=False)
    command = ["gdalinfo", "-json", tmp_path / "m.vrt"]
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert (found["driverShortName"], found["size"]) == ("VRT", [8, 6])
    assert found["geoTransform"] == [500_000, 2, 0, 5_000_000, 0, -2]
    assert {Path(name).name for name in found["files"]} == {"m.vrt", "a.tif", "b.tif"}
    assert [band["colorInterpretation"] for band in found["bands"]] == ["Red", "Green", "Blue"]
    assert {tuple(band["mask"]["flags"]) for band in found["bands"]} == {("PER_DATASET",)}


@pytest.mark.parametrize("kind", ["nodata", "mask"])
def test_missing_pixels_show_what_is_below(draw_raster, noise, tmp_path, kind):
    below, above = noise(3, 10, 10), noise(3, 10, 10)[:, ::-1].copy()
    mask = np.full((10, 10), 255, np.uint8)
    mask[:, :4] = 0
    above[:, :, :4] = 0
    choices = {"nodata": 0} if kind == "nodata" else {"mask": mask}
    parts = [draw_raster(below, "a.tif"), draw_raster(above, "b.tif", **choices)]
    write_mosaic(tmp_path / "m.vrt", parts, ignore_nodata=False)
    pixels, valid = read(tmp_path / "m.vrt")
    np.testing.assert_array_equal(pixels[:, :4].transpose(2, 0, 1), below[:, :, :4])
    np.testing.assert_array_equal(pixels[:, 4:].transpose(2, 0, 1), above[:, :, 4:])
    assert valid is None
    write_mosaic(tmp_path / "m.vrt", parts, ignore_nodata=True)
    pixels, _ = read(tmp_path / "m.vrt", nodata="none")
    assert (pixels[:, :4] == 0).all() == (kind == "nodata")


def test_between_rasters_pixels_are_missing(draw_raster, noise, tmp_path):
    parts = [draw_raster(noise(3, 4, 4), "a.tif"), draw_raster(noise(3, 4, 4), "b.tif", transform=at(12, 12))]
    write_mosaic(tmp_path / "m.vrt", parts, ignore_nodata=False)
    _, valid = read(tmp_path / "m.vrt")
    expected = np.zeros((10, 10), bool)
    expected[:4, :4] = expected[6:, 6:] = True
    np.testing.assert_array_equal(valid, expected)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc says how many files are open")
def test_there_may_be_more_rasters_than_a_process_may_open(draw_raster, tmp_path):
    import resource

    n = 12
    parts = [
        draw_raster(np.full((1, 1, 1), 100 + i, np.uint8), f"{i}.tif", transform=at(2 * (i % n), 2 * (i // n)))
        for i in range(n * n)
    ]
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    n_open = len(list(Path("/proc/self/fd").iterdir()))
    # GDAL itself keeps up to 100 files of a mosaic open.
    resource.setrlimit(resource.RLIMIT_NOFILE, (n_open + 110, limits[1]))
    try:
        write_mosaic(tmp_path / "m.vrt", parts, ignore_nodata=False)
        pixels, _ = read(tmp_path / "m.vrt")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    np.testing.assert_array_equal(pixels[:, :, 0].ravel(), np.arange(100, 100 + n * n))


@pytest.mark.parametrize(
    ("choices", "bands", "dtype", "found"),
    [
        ({"crs": "EPSG:32633"}, 3, np.uint8, "CRS"),
        ({}, 4, np.uint8, "number of bands"),
        ({}, 3, np.uint16, "type of values"),
        ({"transform": at(0, 0, 2.1)}, 3, np.uint8, "size"),
        ({"transform": at(1, 0)}, 3, np.uint8, "between"),
        ({"transform": Affine(2, 0.1, 500_000, 0.1, -2, 5_000_000)}, 3, np.uint8, "rotated"),
    ],
)
def test_other_rasters_are_refused_by_name(draw_raster, noise, tmp_path, choices, bands, dtype, found):
    first = draw_raster(noise(), "a.tif")
    other = draw_raster(noise(bands, dtype=dtype), "other.tif", **choices)
    with pytest.raises(RasterError, match=f"other.*{found}"):
        write_mosaic(tmp_path / "m.vrt", [first, other], ignore_nodata=False)
    assert not (tmp_path / "m.vrt").exists()
