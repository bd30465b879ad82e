"""Damaged tags that the pixels don't need are passed over; of one that they need, the message has name and number."""

import io
import struct

import numpy as np
import pytest

from overfly.runtime.errors import ImageError
from overfly.runtime.images.reading import ImageReader
from overfly.runtime.images.tiff import read_tiff_layout
from overfly.runtime.images.tiff_tags import Tag, TiffFile, open_tiff, tiff_without_metadata

SIZE = 16
# Where it is stored, Pillow and rasterio may both look for it: texts, coordinates, GDAL's and Adobe's data.
UNNEEDED = {
    "DocumentName": 269,
    "ImageDescription": 270,
    "XResolution": 282,
    "Software": 305,
    "DateTime": 306,
    "Artist": 315,
    "SubIFDs": 330,
    "XMP": 700,
    "Copyright": 33432,
    "ModelPixelScale": 33550,
    "IPTC": 33723,
    "ModelTiepoint": 33922,
    "Photoshop": 34377,
    "EXIF": 34665,
    "ICC profile": 34675,
    "GeoKeyDirectory": 34735,
    "GeoAsciiParams": 34737,
    "GDAL_METADATA": 42112,
}


def add_tag(content, *tag):
    """Return a little-endian classic TIFF with one more tag: number, type, count, value. The list moves to its end."""
    (start,) = struct.unpack_from("<I", content, 4)
    (n_tags,) = struct.unpack_from("<H", content, start)
    entries = [content[start + 2 + 12 * i : start + 14 + 12 * i] for i in range(n_tags)] + [struct.pack("<HHII", *tag)]
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    place = len(content) + len(content) % 2
    table = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return content[:4] + struct.pack("<I", place) + content[8:].ljust(place - 8, b"\0") + table


def as_rgb(values):
    """Turn bands ``[N, H, W]`` into an image."""
    return np.moveaxis(values[:3], 0, 2)


def change_entry(path, tag, offset, value):
    """Overwrite 2 or 4 bytes of the entry of a tag in a little-endian classic TIFF."""
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (n_tags,) = struct.unpack_from("<H", content, start)
    place = next(
        at
        for at in range(start + 2, start + 2 + 12 * n_tags, 12)
        if int.from_bytes(content[at : at + 2], "little") == tag
    )
    struct.pack_into("<H" if offset < 4 else "<I", content, place + offset, value)
    path.write_bytes(content)


LAYOUTS = {
    "pillow": {"photometric": "rgb"},
    "pillow, band by band": {"photometric": "rgb", "interleave": "band"},
    "pillow, LZW": {"photometric": "rgb", "compress": "lzw", "predictor": 2},
    "rasterio": {"compress": "zstd"},
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", UNNEEDED)
def test_a_tag_that_is_not_needed_may_point_anywhere(write_tiff, bands, layout, name):
    content = bands(5 if layout == "rasterio" else 3)
    path = write_tiff(content, **LAYOUTS[layout])
    whole = path.read_bytes()
    for kind, count, place in ((2, 50, 10**6), (5, 1, 2**32 - 1), (2, 2**32 - 1, 8), (99, 5, 8), (7, 40, 12)):
        path.write_bytes(add_tag(whole, UNNEEDED[name], kind, count, place))
        assert (ImageReader(SIZE).read(path) == as_rgb(content)).all(), (kind, count, place)


def test_a_big_tiff_with_a_damaged_text_is_read(write_tiff, bands):
    content = bands(3)
    path = write_tiff(content, photometric="rgb", bigtiff="yes", nodata=7)
    text = struct.pack("<HHQ", 42113, 2, 2)
    assert text in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(text, struct.pack("<HHQ", 305, 2, 2**63)))
    assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


def test_damage_before_and_after_the_page_that_counts_does_not_matter(write_tiff, bands):
    path = write_tiff(bands(3), photometric="rgb")
    content = bands(3) // 2
    write_tiff(content, photometric="rgb", append_subdataset=True)
    path.write_bytes(damage_other_pages(path.read_bytes()))
    with path.open("rb") as stream:
        assert read_tiff_layout(stream).page == 1
    assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


def damage_other_pages(content):
    """Mark the first page as a reduced version, damage it, and let the second page name one beyond the end."""
    first, second = open_tiff(io.BytesIO(content)).pages()
    content = bytearray(content)
    # This replaces the width and the height.
    struct.pack_into("<HHIIHHII", content, first.start + 2, 254, 4, 1, 1, 305, 2, 99, 10**6)
    (n_tags,) = struct.unpack_from("<H", content, second.start)
    struct.pack_into("<I", content, second.start + 2 + 12 * n_tags, 10**6)
    return bytes(content)


@pytest.mark.parametrize("tag", [Tag.IMAGE_WIDTH, Tag.PHOTOMETRIC_INTERPRETATION, Tag.STRIP_OFFSETS])
def test_a_tag_that_is_missing_is_named(write_tiff, bands, tag):
    path = write_tiff(bands(3), photometric="rgb")
    change_entry(path, tag, 0, 65000)
    with pytest.raises(ImageError) as caught:
        ImageReader(SIZE).read(path)
    assert str(caught.value) == f"{path} can't be decoded: the TIFF lacks the tag {tag}; remove or replace it"


@pytest.mark.parametrize("tag", [Tag.BITS_PER_SAMPLE, Tag.SAMPLE_FORMAT])
def test_a_tag_that_is_damaged_is_named(write_tiff, bands, tag):
    path = write_tiff(bands(3), photometric="rgb")
    change_entry(path, tag, 8, 10**6)
    with pytest.raises(ImageError) as caught:
        ImageReader(SIZE).read(path)
    assert str(caught.value) == f"{path} can't be decoded: the tag {tag} of the TIFF is damaged; remove or replace it"


def test_tags_are_named_as_in_the_specification():
    assert str(Tag.PHOTOMETRIC_INTERPRETATION) == "PhotometricInterpretation (262)"


def test_only_the_tags_of_the_pixels_are_kept(write_tiff, bands):
    path = write_tiff(bands(3), photometric="rgb", crs="EPSG:32633", nodata=0)
    with path.open("rb") as stream:
        before = next(iter(open_tiff(stream).pages()))
        assert not before.has_damaged_metadata()
        values = [before.numbers(tag, (0,)) for tag in Tag]
        copy = tiff_without_metadata(stream, 0)
    (after,) = open_tiff(copy).pages()
    assert (34735 in before, 42113 in before) == (True, True)
    assert (34735 in after, 42113 in after) == (False, True)
    assert [after.numbers(tag, (0,)) for tag in Tag] == values


def test_pages_that_form_a_circle_end():
    page = struct.pack("<HHHIII", 1, 256, 4, 1, 5, 8)
    stream = io.BytesIO(b"II*\0" + struct.pack("<I", 8) + page)
    assert [tags.numbers(Tag.IMAGE_WIDTH) for tags in TiffFile(stream, "<", False).pages()] == [(5,)]


def test_of_two_tags_with_one_number_the_first_counts():
    page = struct.pack("<HHHIIHHIII", 2, 256, 4, 1, 5, 256, 4, 1, 6, 0)
    stream = io.BytesIO(b"II*\0" + struct.pack("<I", 8) + page)
    assert [tags.numbers(Tag.IMAGE_WIDTH) for tags in TiffFile(stream, "<", False).pages()] == [(5,)]
