"""Whatever a file holds, it becomes pixels or one sentence: no other error comes out, and no bomb goes off."""

import io
import struct
import sys
import tempfile
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from overfly.runtime.errors import ImageError
from overfly.runtime.images.discovery import find_images
from overfly.runtime.images.reading import MAX_PIXELS, load_image

SIZE = 8
NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)

# Pillow warns of some damage and decodes the rest.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


def encoded(kind, image=None, **options):
    """Return the bytes of an image file."""
    stream = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(stream, kind, **options)
    return stream.getvalue()


def odd_exif(tag, kind, value):
    """Return EXIF data with an orientation, and another tag whose type is not the one expected."""
    entries = sorted([struct.pack(">HHI4s", 0x0112, 3, 1, b"\0\6\0\0"), struct.pack(">HHI4s", tag, kind, 4, value)])
    return b"Exif\0\0MM\0*" + struct.pack(">IH", 8, len(entries)) + b"".join(entries) + bytes(4)


@cache
def whole_files():
    """Return a file of each kind that is read, by its name's ending and what is particular of it."""
    noise = Image.fromarray(NOISE)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {(f".{kind}", "rgb"): encoded(kind, exif=exif) for kind in ("jpeg", "png", "tiff", "webp")}
    files |= {(f".{kind}", "palette"): encoded(kind, noise.convert("P")) for kind in ("png", "tiff", "bmp")}
    packings = ("tiff_lzw", "packbits", "tiff_adobe_deflate", "jpeg")
    files |= {(".tiff", packing): encoded("tiff", compression=packing) for packing in packings}
    files[".jpeg", "progressive"] = encoded("jpeg", progressive=True)
    files[".png", "16 bits"] = encoded("png", Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257))
    return files


def load_content(content, suffix):
    """Write a file and return its pixels, or None if it was refused as an image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"scene{suffix}")
        path.write_bytes(content)
        try:
            return load_image(path, SIZE)
        except ImageError as error:
            assert str(error).startswith(f"{path} ")  # noqa: PT017 - either end is right, this one has a form
            return None


def test_the_whole_files_are_images():
    for (suffix, kind), content in whole_files().items():
        assert load_content(content, suffix).shape == (SIZE, SIZE, 3), (suffix, kind)


changes = st.lists(
    st.tuples(
        st.floats(0, 1, exclude_max=True),
        st.sampled_from(["set", "flip", "insert", "delete", "cut", "ones"]),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=6,
)


def damaged(content, place, how, value):
    """Return the bytes with one change at a fraction of their length."""
    # Most of what matters stands near the start.
    at = int(place**2 * len(content))
    middle = {
        "set": bytes([value]) + content[at + 1 :],
        "flip": bytes([content[at] ^ (1 << value % 8)]) + content[at + 1 :],
        "insert": bytes([value] * 4) + content[at:],
        "delete": content[at + 1 + value % 8 :],
        "cut": b"",
        "ones": b"\xff" * 4 + content[at + 4 :],
    }
    return content[:at] + middle[how] or b"\0"


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 10**6), changes)
def test_damage_anywhere_gives_pixels_or_one_sentence(kind, damages):
    (suffix, _), content = list(whole_files().items())[kind % len(whole_files())]
    for place, how, value in damages:
        content = damaged(content, place, how, value)
    pixels = load_content(content, suffix)
    assert pixels is None or (pixels.shape, pixels.dtype) == ((SIZE, SIZE, 3), np.uint8)


@settings(deadline=None, max_examples=50)
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"II*\0", b"BM", b"RIFF"])
)
def test_bytes_that_were_never_a_image_give_one_sentence(content, magic):
    assert load_content(magic + content, ".jpg") is None


@pytest.mark.parametrize("kind", [2, 5, 7, 11, 12])
def test_a_tiff_whose_strips_are_told_in_another_type_is_named(tmp_path, kind):
    """Pillow fails with a TypeError here, which no list of a decoder's errors would have held."""
    content = bytearray(encoded("tiff"))
    (start,) = struct.unpack_from("<I", content, 4)
    (n_tags,) = struct.unpack_from("<H", content, start)
    places = range(start + 2, start + 2 + 12 * n_tags, 12)
    strip_offsets = next(place for place in places if struct.unpack_from("<H", content, place) == (273,))
    struct.pack_into("<H", content, strip_offsets + 2, kind)
    path = tmp_path / "scene.tif"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=r"scene\.tif can't be decoded \(.*\): remove or replace it"):
        load_image(path, SIZE)


@pytest.mark.parametrize(("tag", "kind"), [(0x0100, 2), (0x0103, 7), (0x011A, 2), (0x0129, 4), (0x0213, 2)])
def test_a_photograph_with_an_odd_tag_is_turned_all_the_same(tmp_path, tag, kind):
    """Pillow's own turning writes every tag again, and fails with struct.error or TypeError where one is odd."""
    path = tmp_path / "scene.jpg"
    path.write_bytes(encoded("jpeg", exif=odd_exif(tag, kind, b"\xff\xff\xff\xff")))
    with Image.open(path) as image:
        turned = np.rot90(np.asarray(image), -1)
    assert (load_image(path, 24) == turned).all()


def bomb_png():
    """Return a PNG whose header claims 30,000 x 30,000 pixels; its checksum is right."""
    content = bytearray(encoded("png"))
    struct.pack_into(">II", content, 16, 30_000, 30_000)
    struct.pack_into(">I", content, 29, zlib.crc32(content[12:29]))
    return content


def bomb_jpeg():
    content = bytearray(encoded("jpeg"))
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, 30_000, 30_000)
    return content


def bomb_bmp():
    content = bytearray(encoded("bmp"))
    struct.pack_into("<ii", content, 18, 30_000, 30_000)
    return content


def bomb_tiff():
    """Return a TIFF of one strip, of which a single row is there."""
    return encoded("tiff", Image.fromarray(NOISE[:1]).resize((1, 1)), tiffinfo={}).replace(
        struct.pack("<HHII", 256, 4, 1, 1), struct.pack("<HHII", 256, 4, 1, MAX_PIXELS + 1)
    )


@pytest.mark.parametrize("make", [bomb_png, bomb_jpeg, bomb_bmp, bomb_tiff])
def test_a_bomb_of_any_kind_is_refused_by_its_header(tmp_path, make):
    path = tmp_path / "bomb.jpg"
    path.write_bytes(make())
    assert path.stat().st_size < 5000
    with pytest.raises(ImageError, match=r"bomb\.jpg is too large: .* pixels.*; cut it into smaller images"):
        load_image(path, SIZE)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such name")
@pytest.mark.parametrize("name", ["two\nlines.png", "tab\tand return\r.png", "\x1b[31mred.png", " .png"])
def test_names_with_control_characters_are_names_like_others(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded("png"))
    assert find_images([tmp_path]) == [path]
    assert (load_image(path, 24) == NOISE).all()
    path.write_bytes(b"no image")
    with pytest.raises(ImageError) as caught:
        load_image(path, 24)
    assert str(path) in str(caught.value)
