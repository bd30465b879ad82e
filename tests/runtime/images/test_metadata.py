"""Damaged or huge metadata does not keep sound pixels from being read."""

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.errors import DecodingError, ImageError
from overfly.runtime.images.metadata import without_metadata
from overfly.runtime.images.reading import ImageReader

SIZE = 24
NOISE = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)
EXIF = Image.Exif()
EXIF[0x0112] = 6


def encoded(kind, image=None, **options):
    """Return the bytes of an image file, of noise unless another image is given."""
    stream = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(stream, kind, **options)
    return stream.getvalue()


def chunk(name, content, checksum=None):
    """Return a PNG chunk, with its right checksum unless another one is given."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum or zlib.crc32(name + content))


def png_with(*chunks, **options):
    """Return a PNG with more chunks after its header."""
    content = encoded("png", **options)
    return content[:33] + b"".join(chunks) + content[33:]


def jpeg_with(*segments, **options):
    """Return a JPEG with more segments after its start."""
    content = encoded("jpeg", **options)
    return content[:2] + b"".join(segments) + content[2:]


def segment(kind, content, length=None):
    """Return a JPEG segment, with its right length unless another one is given."""
    return struct.pack(">BBH", 0xFF, kind, length or len(content) + 2) + content


PNGS = {
    "bad checksum of a text": png_with(chunk(b"tEXt", b"Comment\0some words", checksum=1)),
    "bad checksum of a gamma": png_with(chunk(b"gAMA", struct.pack(">I", 45455), checksum=1)),
    "short resolution": png_with(chunk(b"pHYs", b"\0\0")),
    "megabytes of text": png_with(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(5 << 20)))),
    "megabytes of international text": png_with(chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(5 << 20)))),
    "megabytes of color profile": png_with(chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(5 << 20)))),
    "wrong length of a text": png_with(
        chunk(b"tEXt", b"Comment\0words")[:3] + b"\x40" + chunk(b"tEXt", b"Comment\0words")[4:]
    ),
    "a PNG in a text with a wrong checksum": png_with(chunk(b"tEXt", b"Comment\0" + encoded("png"), checksum=1)),
    "EXIF data that is no EXIF data": png_with(chunk(b"eXIf", b"nothing")),
    "color profile that is no profile": png_with(chunk(b"iCCP", b"icc")),
    "many texts": png_with(*[chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(1 << 20)))] * 70),
}
JPEGS = {
    "Photoshop block cut short": jpeg_with(segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\x00")),
    "Photoshop block with a wrong length": jpeg_with(segment(0xED, b"Photoshop 3.0\x008BIM", length=21)),
    "malformed MPO": jpeg_with(segment(0xE2, b"MPF\0II*\0\x08\0\0\0\1\0\1\xb0\7\0\4\0\0\0\xff\xff\xff\xff\0\0\0\0")),
    "color profile cut short": jpeg_with(segment(0xE2, b"ICC_PROFILE\0")),
    "color profile with a wrong count": jpeg_with(segment(0xE2, b"ICC_PROFILE\0\1\7abc")),
    "short Adobe segment": jpeg_with(segment(0xEE, b"Adobe")),
    "Adobe segment without a transform": jpeg_with(segment(0xEE, b"Adobe\0\x64\0\0")),
    "garbled Adobe segment": jpeg_with(segment(0xEE, b"Adobx\0\x64\0\0\0\0\0")),
    "short JFIF segment": jpeg_with(segment(0xE0, b"JFIF\0")),
    "comment of no length": jpeg_with(segment(0xFE, b"", length=1)),
    "EXIF cut short": jpeg_with(segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\x09\0\x12\1\3\0")),
    "EXIF with a huge count": jpeg_with(
        segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\1\0" + struct.pack("<HHII", 0x0111, 2, 0xFFFFFFF0, 5) + bytes(4))
    ),
}


@pytest.mark.parametrize("name", PNGS)
def test_a_png_is_read_whatever_its_metadata(tmp_path, name):
    (tmp_path / "scene.png").write_bytes(PNGS[name])
    assert (ImageReader(SIZE).read(tmp_path / "scene.png") == NOISE).all()


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_is_read_whatever_its_metadata(tmp_path, name):
    (tmp_path / "scene.jpg").write_bytes(JPEGS[name])
    with Image.open(io.BytesIO(encoded("jpeg"))) as image:
        assert (ImageReader(SIZE).read(tmp_path / "scene.jpg") == np.asarray(image)).all()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("scene.png", png_with(chunk(b"tEXt", b"a\0b", checksum=1), exif=EXIF)),
        ("scene.jpg", jpeg_with(segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\x00"), exif=EXIF)),
    ],
)
def test_the_orientation_is_applied_although_other_metadata_is_damaged(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with Image.open(io.BytesIO(encoded("png" if name.endswith("png") else "jpeg"))) as image:
        assert (ImageReader(SIZE).read(tmp_path / name) == np.rot90(np.asarray(image), -1)).all()


def test_the_color_transform_of_a_cmyk_jpeg_is_kept(tmp_path):
    stream = io.BytesIO()
    Image.fromarray(NOISE).convert("CMYK").save(stream, "jpeg")
    content = stream.getvalue()
    sound, damaged = tmp_path / "sound.jpg", tmp_path / "damaged.jpg"
    sound.write_bytes(content)
    damaged.write_bytes(content[:2] + segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04\x00") + content[2:])
    assert b"Adobe" in without_metadata(io.BytesIO(content)).getvalue()
    assert (ImageReader(SIZE).read(damaged) == ImageReader(SIZE).read(sound)).all()


@pytest.mark.parametrize("name", [b"IDAT", b"PLTE"])
def test_a_png_without_a_chunk_that_it_needs_is_rejected(tmp_path, name):
    """A damaged letter of a name makes the chunk look like metadata."""
    stream = io.BytesIO()
    Image.fromarray(NOISE).convert("P").save(stream, "png")
    path = tmp_path / "scene.png"
    path.write_bytes(stream.getvalue().replace(name, name.swapcase()[:1] + name[1:]))
    with pytest.raises(ImageError) as caught:
        ImageReader(SIZE).read(path)
    assert str(caught.value).startswith(f"{path} ")


def test_the_color_transform_of_an_rgb_jpeg_is_kept_although_other_metadata_is_damaged(tmp_path):
    """Transform 0 says that the three channels are red, green and blue: without it they would count as YCbCr."""
    rgb = encoded("jpeg", keep_rgb=True)
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")
    sound, damaged = tmp_path / "sound.jpg", tmp_path / "damaged.jpg"
    sound.write_bytes(rgb[:2] + adobe + rgb[2:])
    damaged.write_bytes(rgb[:2] + segment(0xEE, b"Adobe") + adobe + rgb[2:])
    assert (ImageReader(SIZE).read(damaged) == ImageReader(SIZE).read(sound)).all()


def test_a_png_whose_pixel_data_has_a_gap_is_rejected(tmp_path):
    """A damaged letter in a name makes one of several chunks of pixel data look like metadata."""
    noise = np.random.default_rng(1).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "png", compress_level=0)
    first, second, third = stream.getvalue().split(b"IDAT", 3)[:3], b"iDAT", stream.getvalue().split(b"IDAT", 3)[3]
    content = b"IDAT".join(first) + second + third
    with pytest.raises(DecodingError, match="gap"):
        without_metadata(io.BytesIO(content))
    (tmp_path / "scene.png").write_bytes(content)
    with pytest.raises(ImageError):
        ImageReader(400).read(tmp_path / "scene.png")


WEBP = encoded("webp", lossless=True, exif=EXIF, icc_profile=b"a profile", xmp=b"<xmp/>")
WEBPS = {
    "wrong length of the file": WEBP[:4] + b"\1\0\0\0" + WEBP[8:],
    "wrong length of the last chunk": WEBP.replace(b"XMP \6", b"XMP \xf6"),
    "flags of data that is not there": WEBP[:20] + b"\xff" + WEBP[21:],
    "chunk cut short": WEBP + b"EXIF\x20\0\0\0abc",
}


@pytest.mark.parametrize("name", WEBPS)
def test_a_webp_is_read_whatever_its_metadata(tmp_path, name):
    (tmp_path / "scene.webp").write_bytes(WEBPS[name])
    assert (ImageReader(SIZE).read(tmp_path / "scene.webp") == np.rot90(NOISE, -1)).all()


THUMBNAIL = b"some tags " + encoded("jpeg", Image.new("RGB", (24, 24), "red"))


@pytest.mark.parametrize("kind", [0xE1, pytest.param(0xED, marks=pytest.mark.slow)])
def test_a_thumbnail_is_never_taken_for_the_image(tmp_path, kind):
    """A segment that ends too early leaves the rest of its thumbnail, which is a JPEG, before the image."""
    content = jpeg_with(segment(kind, THUMBNAIL))
    with Image.open(io.BytesIO(content)) as image:
        expected = np.asarray(image.resize((SIZE, SIZE)))
    n_read = 0
    for length in range(2, len(THUMBNAIL) + 3):
        path = tmp_path / "scene.jpg"
        path.write_bytes(content[:4] + struct.pack(">H", length) + content[6:])
        try:
            pixels = ImageReader(SIZE).read(path)
        except ImageError:
            continue
        n_read += 1
        assert (pixels == expected).all(), length
    assert n_read > 1


@pytest.mark.parametrize(
    "padding", [b"\0" * 16, *(pytest.param(padding, marks=pytest.mark.slow) for padding in (b"\0" * 1000, b"\xff" * 8))]
)
def test_a_thumbnail_before_padding_is_never_taken_for_the_image(tmp_path, padding):
    content = jpeg_with(segment(0xE1, THUMBNAIL + padding))
    path = tmp_path / "scene.jpg"
    for length in range(2, THUMBNAIL.index(b"\xff\xda")):
        path.write_bytes(content[:4] + struct.pack(">H", length) + content[6:])
        try:
            pixels = ImageReader(SIZE).read(path)
        except ImageError:
            continue
        assert (pixels == ImageReader(SIZE).read(saved(tmp_path / "sound.jpg", content))).all(), length


@pytest.mark.parametrize(
    "segments",
    [
        segment(0xE2, THUMBNAIL[: len(THUMBNAIL) // 2]) + segment(0xE2, THUMBNAIL[len(THUMBNAIL) // 2 :]),
        segment(0xE1, b"a stray \xff\xd8 ") + segment(0xED, THUMBNAIL),
        segment(0xE2, b"a stray \xff\xd8 "),
    ],
    ids=["a thumbnail in two segments", "a stray start before a thumbnail", "a stray start"],
)
@pytest.mark.parametrize("trailer", [b"", b"\xff\xe1 of a camera", THUMBNAIL], ids=["nothing", "data", "an image"])
def test_a_sound_jpeg_is_read_whatever_is_in_its_metadata_and_after_it(tmp_path, segments, trailer):
    plain = ImageReader(SIZE).read(saved(tmp_path / "plain.jpg", jpeg_with(b"")))
    assert (ImageReader(SIZE).read(saved(tmp_path / "scene.jpg", jpeg_with(segments) + trailer)) == plain).all()


def saved(path, content):
    """Write a file and return its path."""
    path.write_bytes(content)
    return path


def test_other_formats_and_what_is_no_image_are_rejected():
    for content in (encoded("bmp"), b"\xff\xd8 and no scan"):
        with pytest.raises(DecodingError, match="JPEG"):
            without_metadata(io.BytesIO(content))


def test_nothing_reaches_standard_error(tmp_path):
    """The libraries write warnings that do not name the file."""
    for number, content in enumerate([*PNGS.values(), *JPEGS.values()]):
        (tmp_path / f"{number}.img").write_bytes(content)
    damaged = io.BytesIO()
    Image.fromarray(NOISE).save(damaged, "tiff", compression="tiff_lzw")
    (tmp_path / "damaged.img").write_bytes(damaged.getvalue()[:200] + b"\x55" * 100 + damaged.getvalue()[300:])
    code = """
import sys
from pathlib import Path
from overfly.runtime.errors import DecodingError, ImageError
from overfly.runtime.images.reading import ImageReader
for path in Path(sys.argv[1]).iterdir():
    try:
        ImageReader(24).read(path)
    except ImageError as error:
        print(error)
"""
    result = subprocess.run([sys.executable, "-c", code, tmp_path], capture_output=True, text=True, check=False)
    assert result.stderr == ""
    assert result.stdout.startswith(str(tmp_path / "damaged.img"))
