"""Every kind of image becomes the right 8-bit RGB pixels, and whatever else a file holds becomes an ImageError."""

import io
import os
import re
import struct
import subprocess
import sys
import tempfile
import threading
import tracemalloc
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from overfly.runtime.errors import ImageError
from overfly.runtime.files.access import explain_unreadable
from overfly.runtime.images import reading
from overfly.runtime.images.discovery import find_images
from overfly.runtime.images.memory import MemoryBudget
from overfly.runtime.images.pillow_decoding import reduce_while_decoding
from overfly.runtime.images.reading import MAX_PIXELS, ImageReader, ImageSpec

SIZE = 8


NAMES = ["two words.png", "café.png", "森林.png", "100% 'sure' #1.png"]


def save(path, pixels, *, mode=None, **options):
    """Save an array as an image, and return the path."""
    image = Image.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


NOISE = np.random.default_rng(0).integers(0, 256, (24, 24, 3), dtype=np.uint8)


def encoded(kind, image=None, **options):
    """Return the bytes of an image file."""
    stream = io.BytesIO()
    (image or Image.fromarray(NOISE)).save(stream, kind, **options)
    return stream.getvalue()


def triangle_resize(pixels, size):
    """Resize `[H, W, 3]` as floats: bilinear, the filter widened when shrinking (antialiasing), separably."""
    result = pixels.astype(np.float64)
    for axis in (0, 1):
        n = result.shape[axis]
        scale = n / size
        width = max(scale, 1.0)
        centers = (np.arange(size) + 0.5) * scale
        distances = np.abs(np.arange(n) + 0.5 - centers[:, None]) / width
        weights = np.clip(1 - distances, 0, None)
        weights /= weights.sum(axis=1, keepdims=True)
        result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
    return result


def rejection(path, size=SIZE):
    """Return why an image is rejected: what its error says after the path."""
    with pytest.raises(ImageError) as caught:
        ImageReader(size).read(path)
    named, text = str(caught.value)[: len(f"{path} ")], str(caught.value)[len(f"{path} ") :]
    assert named == f"{path} "
    return text


def mode_of(path):
    """Pillow's name for the kind of pixels in a file."""
    with Image.open(path) as image:
        return image.mode


def gray_rgb(values):
    """Three equal channels."""
    return np.repeat(values[..., None], 3, axis=2)


def test_rgb_pixels_come_back_unchanged(image):
    path, content = image
    loaded = ImageReader(SIZE).read(path)
    assert loaded.dtype == np.uint8
    assert loaded.shape == (SIZE, SIZE, 3)
    assert (loaded == content).all()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff", ".bmp"])
def test_formats_without_loss(tmp_path, pixels, suffix):
    content = pixels(SIZE)
    assert (ImageReader(SIZE).read(save(tmp_path / f"scene{suffix}", content)) == content).all()


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_formats_with_loss(tmp_path, suffix):
    content = np.full((16, 16, 3), (200, 90, 30), np.uint8)
    path = save(tmp_path / f"scene{suffix}", content, quality=95)
    assert np.abs(ImageReader(16).read(path).astype(int) - content).max() <= 4


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_grayscale(tmp_path, pixels, suffix):
    content = pixels(SIZE, channels=1)
    assert (ImageReader(SIZE).read(save(tmp_path / f"gray{suffix}", content)) == gray_rgb(content)).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_one_bit(tmp_path, pixels, suffix):
    content = np.where(pixels(SIZE, channels=1) > 127, 255, 0).astype(np.uint8)
    path = save(tmp_path / f"bit{suffix}", content, mode="1")
    assert mode_of(path) == "1"
    assert (ImageReader(SIZE).read(path) == gray_rgb(content)).all()


@pytest.mark.parametrize("transparency", [None, 1, bytes([255, 0, 128, 7])])
def test_palette(tmp_path, transparency):
    colors = np.array([(10, 20, 30), (250, 1, 2), (3, 240, 5), (0, 0, 255)], np.uint8)
    index = np.arange(SIZE * SIZE, dtype=np.uint8).reshape(SIZE, SIZE) % 4
    image = Image.frombytes("P", (SIZE, SIZE), index.tobytes())
    image.putpalette(colors.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "palette.png", **options)
    assert mode_of(tmp_path / "palette.png") == "P"
    assert (ImageReader(SIZE).read(tmp_path / "palette.png") == colors[index]).all()


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_transparency_is_dropped_and_the_color_below_kept(tmp_path, pixels, suffix):
    content = pixels(SIZE, channels=4)
    content[0, :, 3] = 0
    assert (ImageReader(SIZE).read(save(tmp_path / f"rgba{suffix}", content)) == content[..., :3]).all()


def test_grayscale_with_transparency(tmp_path, pixels):
    content = pixels(SIZE, channels=2)
    path = tmp_path / "la.png"
    Image.frombytes("LA", (SIZE, SIZE), content.tobytes()).save(path)
    assert mode_of(path) == "LA"
    assert (ImageReader(SIZE).read(path) == gray_rgb(content[..., 0])).all()


@pytest.mark.parametrize(
    ("ink", "rgb"),
    [((255, 0, 0, 0), (0, 255, 255)), ((0, 0, 0, 0), (255, 255, 255)), ((0, 0, 0, 255), (0, 0, 0))],
)
def test_cmyk_jpeg(tmp_path, ink, rgb):
    Image.new("CMYK", (16, 16), ink).save(tmp_path / "print.jpg", quality=95)
    assert mode_of(tmp_path / "print.jpg") == "CMYK"
    assert np.abs(ImageReader(16).read(tmp_path / "print.jpg").astype(int) - rgb).max() <= 4


SIXTEEN = np.array([[0, 1, 255, 256], [257, 511, 512, 32767], [32768, 40000, 65279, 65280], [65281, 65534, 65535, 300]])


HIGH_BYTES = np.array([[0, 0, 0, 1], [1, 1, 2, 127], [128, 156, 254, 255], [255, 255, 255, 1]])


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_of_16_bit_grayscale_the_high_byte_counts(tmp_path, suffix):
    path = save(tmp_path / f"deep{suffix}", SIXTEEN.astype(np.uint16))
    assert mode_of(path).startswith("I")
    assert (ImageReader(4).read(path) == gray_rgb(HIGH_BYTES)).all()


def test_big_endian_16_bit_tiff(tmp_path):
    Image.frombytes("I;16B", (4, 4), SIXTEEN.astype(">u2").tobytes()).save(tmp_path / "deep.tif")
    assert mode_of(tmp_path / "deep.tif") == "I;16B"
    assert (ImageReader(4).read(tmp_path / "deep.tif") == gray_rgb(HIGH_BYTES)).all()


@pytest.mark.parametrize(("color", "channels"), [(2, 3), (6, 4)])
def test_of_16_bit_color_png_the_high_byte_counts(png, tmp_path, color, channels):
    deep = np.random.default_rng(1).integers(0, 65536, (4, 4, channels)).astype(">u2")
    rows = [row.tobytes() for row in deep]
    path = png(tmp_path / "deep.png", width=4, height=4, depth=16, color=color, rows=rows)
    assert (ImageReader(4).read(path) == (deep >> 8)[..., :3]).all()


def test_a_16_bit_image_of_another_size_is_resized_after_the_conversion(tmp_path):
    deep = np.random.default_rng(1).integers(0, 65536, (13, 9)).astype(np.uint16)
    expected = Image.fromarray((deep >> 8).astype(np.uint8)).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    loaded = ImageReader(SIZE).read(save(tmp_path / "deep.png", deep))
    assert (loaded == gray_rgb(np.asarray(expected))).all()


def test_32_bit_integers_within_16_bits(tmp_path):
    path = save(tmp_path / "int.tif", SIXTEEN.astype(np.int32))
    assert mode_of(path) == "I"
    assert (ImageReader(4).read(path) == gray_rgb(HIGH_BYTES)).all()


@pytest.mark.parametrize("value", [-1, 65536, 2**31 - 1])
def test_32_bit_integers_beyond_16_bits_are_rejected(tmp_path, value):
    content = SIXTEEN.astype(np.int32)
    content[1, 2] = value
    path = save(tmp_path / "int.tif", content)
    assert rejection(path, 4) == (
        f"has values from {min(value, 0)} to {max(value, 65535)}, outside 16 bits: "
        "train with --range LO,HI, or convert it"
    )


def test_floating_point_pixels_are_rejected(tmp_path):
    path = save(tmp_path / "float.tif", np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4))
    assert rejection(path, 4) == (
        "has floating-point pixels: expected 8 or 16 bits per channel without a sign, or a model trained with --range; "
        "convert it first"
    )


def test_of_several_pages_the_first_counts(tmp_path, pixels):
    pages = [Image.fromarray(pixels(SIZE, seed=i)) for i in range(3)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    with Image.open(tmp_path / "pages.tif") as image:
        assert image.n_frames == 3
    assert (ImageReader(SIZE).read(tmp_path / "pages.tif") == pixels(SIZE, seed=0)).all()


ORIENTATIONS = {
    1: lambda a: a,
    2: np.fliplr,
    3: lambda a: np.rot90(a, 2),
    4: np.flipud,
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
    8: np.rot90,
}


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_exif_orientation(tmp_path, pixels, orientation, suffix):
    content = pixels(SIZE)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / f"turned{suffix}", content, exif=exif)
    assert (ImageReader(SIZE).read(path) == ORIENTATIONS[orientation](content)).all()


@pytest.mark.parametrize("shape", [(32, 32), (20, 37), (37, 20), (5, 3), (8, 16), (16, 8), (1, 1), (1, 50)])
def test_other_sizes_are_resized_whole(tmp_path, pixels, shape):
    content = pixels(*shape)
    loaded = ImageReader(SIZE).read(save(tmp_path / "other.png", content))
    pillow = Image.fromarray(content).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    assert (loaded == np.asarray(pillow)).all()
    assert np.abs(loaded - triangle_resize(content, SIZE)).max() <= 1.01


def test_a_palette_is_resized_as_colors_not_as_numbers(tmp_path, pixels):
    content = pixels(40)
    path = save(tmp_path / "palette.png", content, mode="P")
    with Image.open(path) as image:
        expected = np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    assert (ImageReader(SIZE).read(path) == expected).all()


@pytest.mark.parametrize("kept", [0.5, 0.9])
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_a_truncated_image_is_rejected(tmp_path, pixels, suffix, kept):
    path = save(tmp_path / f"cut{suffix}", pixels(64))
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * kept)])
    assert rejection(path, 64)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"just a few words, whatever the name says", "has no known image format, or a damaged header"),
        (b"\xff\xd8\xff", "has no known image format, or a damaged header"),
    ],
)
def test_what_is_no_image_is_described(tmp_path, content, reason):
    path = tmp_path / "scene.jpg"
    path.write_bytes(content)
    assert rejection(path) == f"{reason}: expected JPEG, PNG, TIFF, BMP, WEBP; remove or replace it"


@pytest.mark.parametrize("kind", ["jpeg", "png", "webp", "bmp", "lzw.tif", "zstd.tif", "raw.tif"])
def test_a_damaged_image_is_called_that_in_plain_words(tmp_path, write_tiff, kind):
    if kind.endswith("tif"):
        options = {} if kind == "raw.tif" else {"compress": kind[:-4]}
        path = write_tiff(np.moveaxis(NOISE, 2, 0), kind, photometric="rgb", **options)
    else:
        path = save(tmp_path / f"scene.{kind}", NOISE)
    path.write_bytes(path.read_bytes()[:-300])
    assert rejection(path, 24) == "can't be decoded: its data is damaged or cut short; remove or replace it"


def test_what_pillow_does_not_support_keeps_its_words(tmp_path):
    content = bytearray(encoded("bmp"))
    struct.pack_into("<I", content, 30, 5)  # a PNG in a BMP
    (tmp_path / "scene.bmp").write_bytes(content)
    assert rejection(tmp_path / "scene.bmp") == (
        "can't be decoded: its data is damaged, or of a kind that overfly does not read (Unsupported BMP compression "
        "(5)); remove or replace it"
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(5, "Input/output error"), "Input/output error"),
        (MemoryError(), "does not fit into the memory that is free"),
    ],
)
def test_a_sound_image_is_not_called_damaged(tmp_path, monkeypatch, error, reason):
    path = save(tmp_path / "scene.png", NOISE)

    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    assert reason in rejection(path)


def test_a_folder_named_like_an_image(tmp_path):
    (tmp_path / "x.jpg").mkdir()
    assert rejection(tmp_path / "x.jpg") == "is a folder: expected an image"


def test_an_image_that_is_not_there(tmp_path):
    assert rejection(tmp_path / "absent.jpg") == "does not exist: check the path"


@pytest.mark.parametrize("side", [14_000, 30_000])
def test_a_decompression_bomb_is_rejected_by_its_header(png, tmp_path, side):
    path = png(tmp_path / "bomb.png", width=side, height=side, depth=8, color=2, rows=[b"\0" * 30])
    assert path.stat().st_size < 200
    assert side**2 > MAX_PIXELS
    assert str(MAX_PIXELS) in rejection(path)


def test_a_bomb_gives_one_sentence_and_no_warning_beside_it(png, tmp_path):
    path = png(tmp_path / "bomb.png", width=14_000, height=14_000, depth=8, color=2, rows=[b"\0" * 30])
    code = "import sys; from pathlib import Path; from overfly.runtime.images.reading import ImageReader\n"
    code += "try: ImageReader(32).read(Path(sys.argv[1]))\nexcept ValueError as error: sys.exit(str(error))"
    result = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert result.stderr.count("\n") == 1
    assert str(path) in result.stderr
    assert str(MAX_PIXELS) in result.stderr


def test_a_spec_reads_images_as_it_says_and_rejects_what_is_no_range(tmp_path):
    save(tmp_path / "deep.png", np.full((4, 4), 2000, np.uint16))
    reader = ImageSpec(4, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), value_range=(0.0, 4000.0)).reader()
    assert (reader.size, reader.read(tmp_path / "deep.png").tolist()) == (4, [[[128] * 3] * 4] * 4)
    with pytest.raises(ValueError, match="5,5"):
        ImageSpec(4, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), value_range=(5, 5))


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_with_a_range_signed_and_floating_point_pixels_are_read(write_tiff, dtype):
    values = np.random.default_rng(1).integers(-100, 100, (3, 4, 4)).astype(dtype)
    expected = np.moveaxis(np.rint((values.astype(float) + 100) * 255 / 200), 0, 2)
    assert np.abs(ImageReader(4, (-100, 100)).read(write_tiff(values)) - expected).max() <= 1


def test_a_100_megapixel_image_is_read(tmp_path):
    """As many pixels as a drone's camera has. Pillow's warning of them is an error in tests, so that it would show."""
    Image.new("L", (12288, 8192), 77).save(tmp_path / "drone.png", compress_level=1)
    code = "import sys; from pathlib import Path; from overfly.runtime.images.reading import ImageReader\n"
    code += "print(ImageReader(2).read(Path(sys.argv[1])).tolist())"
    command = [sys.executable, "-c", code, tmp_path / "drone.png"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.stdout, result.stderr) == (f"{[[[77] * 3] * 2] * 2}\n", "")


def test_a_damaged_large_image_does_not_wait_for_its_own_memory(tmp_path, monkeypatch):
    path = tmp_path / "cut.jpg"
    Image.new("L", (2100, 2100)).save(path)
    path.write_bytes(path.read_bytes()[:-1000])
    monkeypatch.setattr(reading, "DECODING_BUDGET", MemoryBudget(1))
    messages = []
    thread = threading.Thread(target=lambda: messages.append(rejection(path)), daemon=True)
    thread.start()
    thread.join(timeout=120)
    assert len(messages) == 1


def test_loading_leaves_no_file_open(tmp_path, image):
    path, _ = image
    ImageReader(SIZE).read(path)
    path.rename(tmp_path / "moved.png")  # Windows does not allow this while the file is open
    assert ImageReader(SIZE).read(tmp_path / "moved.png").shape == (SIZE, SIZE, 3)


@pytest.mark.parametrize("name", NAMES)
def test_awkward_names(tmp_path, pixels, name):
    content = pixels(SIZE)
    path = save(tmp_path / name, content)
    assert find_images([tmp_path]) == [path]
    assert (ImageReader(SIZE).read(path) == content).all()


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="file names are Unicode here")
def test_a_name_that_is_no_utf8(tmp_path, pixels):
    path = tmp_path / os.fsdecode(b"caf\xe9.png")
    stream = io.BytesIO()
    Image.fromarray(pixels(SIZE)).save(stream, "PNG")
    path.write_bytes(stream.getvalue())
    assert find_images([tmp_path]) == [path]
    assert (ImageReader(SIZE).read(path) == pixels(SIZE)).all()
    path.write_bytes(b"")
    assert rejection(path)


@pytest.mark.parametrize(("size", "std"), [(0, (1, 1, 1)), (-3, (1, 1, 1)), (8, (1, 0, 1)), (8, (1, 1, -1))])
def test_an_image_spec_that_no_model_can_take(size, std):
    with pytest.raises(ValueError, match=f"{size} .*{re.escape(str(std))}"):
        ImageSpec(size, (0, 0, 0), std)


def test_what_other_programs_would_have_to_read_is_no_image(tmp_path, monkeypatch):
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    path = tmp_path / "scene.jpg"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    monkeypatch.setattr("subprocess.Popen", lambda *_arguments, **_options: pytest.fail("a program was started"))
    assert rejection(path)


def test_an_image_of_two_views_in_one_file_gives_the_first(tmp_path, pixels):
    views = [Image.fromarray(pixels(24, seed=i)) for i in range(2)]
    views[0].save(tmp_path / "stereo.jpg", "MPO", save_all=True, append_images=views[1:], quality=95)
    views[0].save(tmp_path / "one.jpg", quality=95)
    assert (ImageReader(24).read(tmp_path / "stereo.jpg") == ImageReader(24).read(tmp_path / "one.jpg")).all()


def test_16_bits_take_no_more_memory_than_they_need(tmp_path):
    Image.fromarray(np.zeros((2000, 2000), np.uint16)).save(tmp_path / "deep.png")
    tracemalloc.start()
    try:
        ImageReader(8).read(tmp_path / "deep.png")
        # In numpy: two bytes for each pixel, the same shifted, and one byte of the result.
        assert tracemalloc.get_traced_memory()[1] < 6 * 2000 * 2000
    finally:
        tracemalloc.stop()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file")
def test_a_device_is_not_read():
    assert rejection(Path(os.devnull)) == "is a device, pipe or socket: expected an image; remove it"


def test_an_image_without_the_right_to_read_it(tmp_path, monkeypatch):
    path = tmp_path / "secret.png"
    path.touch()

    error = PermissionError(13, "Permission denied", str(path))

    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(Image, "open", fail)
    assert f"{path} {rejection(path)}" == explain_unreadable(path, error)


@pytest.mark.parametrize("reduce_first", [False, True])
@pytest.mark.parametrize("shape", [(40, 30), (SIZE, SIZE), (1, 1), (3 * SIZE, 2 * SIZE + 1)])
def test_arrays_are_resized_as_files_are(tmp_path, pixels, shape, reduce_first):
    content = pixels(*shape)
    Image.fromarray(content).save(tmp_path / "a.png")
    reader = ImageReader(SIZE, reduce_first=reduce_first)
    resized = reader.fit(content)
    assert resized.dtype == np.uint8
    assert (resized == reader.read(tmp_path / "a.png")).all()


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_an_image_a_whole_number_of_times_too_large_becomes_the_average_of_its_blocks(pixels, factor):
    content = pixels(factor * SIZE)
    blocks = content.reshape(SIZE, factor, SIZE, factor, 3).astype(float)
    assert np.abs(ImageReader(SIZE, reduce_first=True).fit(content) - blocks.mean((1, 3))).max() <= 1


@pytest.mark.parametrize(
    ("width", "height", "decoded"),
    [(256, 512, (64, 128)), (256, 258, (128, 129)), (256, 257, (256, 257)), (127, 512, (127, 512)), (64, 64, (64, 64))],
)
def test_a_jpeg_is_reduced_by_the_decoder_as_far_as_both_sides_allow(width, height, decoded):
    image = Image.open(io.BytesIO(encoded("jpeg", Image.new("RGB", (width, height)))))
    reduce_while_decoding(image, 64)
    assert image.size == decoded


@pytest.mark.parametrize("form", ["L", "RGB", "CMYK", "progressive"])
@pytest.mark.parametrize("side", [512, 1024, 600])
def test_a_jpeg_gives_the_same_as_its_pixels_in_another_format(tmp_path, side, form):
    """The low frequencies that the decoder uses and the average of its blocks differ most at sharp edges."""
    smooth = Image.fromarray(NOISE).resize((side, side), Image.Resampling.BICUBIC)
    mode = "RGB" if form == "progressive" else form
    smooth.convert(mode).save(tmp_path / "a.jpg", quality=90, progressive=form == "progressive")
    reader = ImageReader(128, reduce_first=True)
    whole = reader.fit(ImageReader(side).read(tmp_path / "a.jpg"))
    difference = np.abs(reader.read(tmp_path / "a.jpg").astype(int) - whole)
    assert difference.max() <= 8
    assert difference.mean() <= 1


def test_a_jpeg_cut_short_is_refused_also_if_the_decoder_reduces_it(tmp_path):
    path = tmp_path / "cut.jpg"
    path.write_bytes(encoded("jpeg", Image.fromarray(NOISE).resize((512, 512)))[:-400])
    with pytest.raises(ImageError, match="cut short"):
        ImageReader(64, reduce_first=True).read(path)


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
    profile = {"driver": "GTiff", "height": 24, "width": 24, "count": 5, "dtype": "uint16", "interleave": "band"}
    for packing in (None, "zstd"):
        with rasterio.MemoryFile() as memory:
            with memory.open(**profile, compress=packing) as dataset:
                dataset.write(np.stack([NOISE[..., 0].astype(np.uint16) * 257] * 5))
            files[".tiff", f"five bands, {packing}"] = memory.read()
    files[".jpeg", "progressive"] = encoded("jpeg", progressive=True)
    files[".png", "16 bits"] = encoded("png", Image.fromarray(NOISE[..., 0].astype(np.uint16) * 257))
    return files


def load_content(content, suffix):
    """Write a file and return its pixels, or None if it was rejected as an image."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"scene{suffix}")
        path.write_bytes(content)
        try:
            return ImageReader(SIZE).read(path)
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
def test_bytes_that_were_never_an_image_give_one_sentence(content, magic):
    assert load_content(magic + content, ".jpg") is None


@pytest.mark.parametrize("kind", [2, 5, 7, 11, 12])
def test_a_tiff_with_strip_offsets_of_another_type_is_named(tmp_path, kind):
    """Pillow fails with a TypeError here, which no list of a decoder's errors would have held."""
    content = bytearray(encoded("tiff"))
    (start,) = struct.unpack_from("<I", content, 4)
    (n_tags,) = struct.unpack_from("<H", content, start)
    places = range(start + 2, start + 2 + 12 * n_tags, 12)
    strip_offsets = next(place for place in places if struct.unpack_from("<H", content, place) == (273,))
    struct.pack_into("<H", content, strip_offsets + 2, kind)
    path = tmp_path / "scene.tif"
    path.write_bytes(content)
    assert "StripOffsets (273)" in rejection(path)


@pytest.mark.parametrize(("tag", "kind"), [(0x0100, 2), (0x0103, 7), (0x011A, 2), (0x0129, 4), (0x0213, 2)])
def test_a_photograph_with_an_odd_tag_is_turned_too(tmp_path, tag, kind):
    """Pillow's own turning writes every tag again, and fails with struct.error or TypeError where one is odd."""
    path = tmp_path / "scene.jpg"
    path.write_bytes(encoded("jpeg", exif=odd_exif(tag, kind, b"\xff\xff\xff\xff")))
    with Image.open(path) as image:
        turned = np.rot90(np.asarray(image), -1)
    assert (ImageReader(24).read(path) == turned).all()


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
def test_a_bomb_of_any_kind_is_rejected_by_its_header(tmp_path, make):
    path = tmp_path / "bomb.jpg"
    path.write_bytes(make())
    assert path.stat().st_size < 5000
    assert str(MAX_PIXELS) in rejection(path)


def test_a_tiff_that_is_too_large_is_named_with_its_size(tmp_path):
    (tmp_path / "bomb.tif").write_bytes(bomb_tiff())
    assert rejection(tmp_path / "bomb.tif") == (
        f"is too large: {MAX_PIXELS + 1} x 1 pixels, expected at most {MAX_PIXELS}; cut it into smaller images"
    )


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such name")
@pytest.mark.parametrize("name", ["two\nlines.png", "tab\tand return\r.png", "\x1b[31mred.png", " .png"])
def test_names_with_control_characters_are_names_like_others(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(encoded("png"))
    assert find_images([tmp_path]) == [path]
    assert (ImageReader(24).read(path) == NOISE).all()
    path.write_bytes(b"no image")
    assert rejection(path)
