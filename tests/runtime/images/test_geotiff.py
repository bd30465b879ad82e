"""rasterio gives the values of the bands that count, or one error."""

import struct
import sys

import numpy as np
import pytest
from rasterio.errors import RasterioError

from overfly.runtime.errors import DecodingError
from overfly.runtime.images.geotiff import read_bands
from overfly.runtime.images.tiff import read_tiff_layout


def read(path):
    """Read the bands of a file."""
    with path.open("rb") as stream:
        return read_bands(stream, read_tiff_layout(stream))


@pytest.mark.parametrize(("n_bands", "n_read"), [(1, 1), (2, 1), (3, 3), (13, 3)])
def test_the_first_three_bands_or_the_first(write_tiff, bands, n_bands, n_read):
    values = bands(n_bands).astype(np.uint16) * 7
    expected = values[0] if n_read == 1 else np.moveaxis(values[:3], 0, 2)
    assert (read(write_tiff(values)) == expected).all()


@pytest.mark.parametrize("nbits", [1, 12, 16])
def test_white_is_the_highest_value(write_tiff, nbits):
    highest = (1 << nbits) - 1
    values = np.array([[[0, highest], [highest, 0]]], np.uint16)
    options = {} if nbits == 16 else {"nbits": nbits}
    path = write_tiff(values.astype(np.uint8 if nbits == 1 else np.uint16), photometric="miniswhite", **options)
    assert (read(path) == highest - values[0]).all()


def test_the_numbers_of_a_palette_stay_numbers(write_tiff, bands):
    numbers = bands(1)
    assert (read(write_tiff(numbers, photometric="palette", colors=np.zeros((256, 3)))) == numbers[0]).all()


def test_colors_that_gdal_does_not_convert_are_named(write_tiff, bands):
    with pytest.raises(DecodingError, match="CMYK"):
        read(write_tiff(bands(4).astype(np.uint16), photometric="cmyk"))


def test_a_damaged_file_is_an_error_of_rasterio(write_tiff, bands):
    path = write_tiff(bands(5), compress="zstd")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(RasterioError):
        read(path)


def test_a_compression_that_gdal_lacks_is_named(write_tiff, bands):
    path = write_tiff(bands(5), compress="deflate")
    deflate, jpeg_xl = (struct.pack("<HHII", 259, 3, 1, number) for number in (8, 50002))
    path.write_bytes(path.read_bytes().replace(deflate, jpeg_xl))
    with pytest.raises(DecodingError, match="JPEG XL"):
        read(path)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such name")
def test_a_name_that_gdal_takes_for_an_address_is_a_name(write_tiff, bands):
    values = bands(5)
    path = write_tiff(values)
    other = path.rename(path.with_name("GTIFF_DIR:1:http.tif"))
    assert (read(other) == np.moveaxis(values[:3], 0, 2)).all()
