"""Pillow gives all 16 bits of every kind of image, and says nothing."""

import io
import sys

import numpy as np
import pytest
from PIL import Image, _imagingmath

from overfly.runtime.errors import ImageError
from overfly.runtime.images import reading
from overfly.runtime.images.pillow_decoding import decode_values, open_image, silence_libraries
from overfly.runtime.images.reading import ImageReader


@pytest.mark.parametrize("name", ["gray.png", "gray.tif", "rgb.png", "rgba.png", "la.png"])
def test_a_range_applies_to_all_16_bits_of_every_kind(png, tmp_path, name):
    deep = np.random.default_rng(1).integers(1000, 3000, (4, 4, {"la": 2, "rgb": 3, "rgba": 4}.get(name[:-4], 1)))
    if name.startswith("gray"):
        path = tmp_path / name
        Image.fromarray(deep[..., 0].astype(np.uint16)).save(path)
    else:
        rows = [row.tobytes() for row in deep.astype(">u2")]
        color = {"la": 4, "rgb": 2, "rgba": 6}[name[:-4]]
        path = png(tmp_path / name, width=4, height=4, depth=16, color=color, rows=rows)
    expected = np.rint((deep - 1000) * 255 / 2000)[..., : 3 if "rgb" in name else 1]
    assert np.abs(ImageReader(4, (1000, 3000)).read(path) - expected).max() <= 1


@pytest.mark.parametrize("options", [{}, {"compress": "lzw"}, {"endianness": "big"}, {"interleave": "band"}])
def test_a_range_applies_to_all_16_bits_of_an_rgb_tiff(write_tiff, options):
    deep = np.random.default_rng(1).integers(1000, 3000, (3, 4, 4)).astype(np.uint16)
    path = write_tiff(deep, photometric="rgb", **options)
    expected = np.moveaxis(np.rint((deep - 1000.0) * 255 / 2000), 0, 2)
    assert np.abs(ImageReader(4, (1000, 3000)).read(path) - expected).max() <= 1


def test_an_8_bit_image_comes_as_an_image(pixels):
    content = pixels(8)
    stream = io.BytesIO()
    Image.fromarray(content).save(stream, "PNG")
    with open_image(stream, None) as image:
        decoded = decode_values(stream, image, None, lambda _high: True)
    assert (np.asarray(decoded) == content).all()


def test_libtiff_is_silent_where_its_symbols_can_be_reached(monkeypatch):
    assert silence_libraries() == (sys.platform != "win32")
    monkeypatch.setattr(sys.modules["PIL._imaging"], "__file__", _imagingmath.__file__)
    assert not silence_libraries()  # as in Pillow's Windows wheel, which exports nothing of libtiff


@pytest.mark.parametrize("compress", ["lzw", "deflate", "packbits"])
def test_a_libtiff_that_is_not_silent_is_not_used(write_tiff, monkeypatch, capfd, compress):
    """Its raw lines would come without the file's name."""
    monkeypatch.setattr(reading, "_LIBTIFF_IS_SILENT", False)
    content = np.random.default_rng(1).integers(0, 256, (3, 16, 16), dtype=np.uint8)
    path = write_tiff(content, photometric="rgb", compress=compress)
    monkeypatch.setattr(reading, "open_image", lambda *_: pytest.fail("Pillow was used"))
    assert (ImageReader(16).read(path) == np.moveaxis(content, 0, 2)).all()
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(ImageError):
        ImageReader(16).read(path)
    assert capfd.readouterr().err == ""
