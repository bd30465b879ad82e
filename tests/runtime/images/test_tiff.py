"""Of every TIFF the right bands, values and colors are read, or the true reason is given."""

import io
import struct
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import rasterio
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from overfly.runtime.errors import ImageError
from overfly.runtime.images.reading import ImageReader
from overfly.runtime.images.tiff import read_tiff_layout

SIZE = 16
LOSSLESS = (None, "lzw", "deflate", "packbits", "zstd", "lerc", "lzma")


def as_rgb(values):
    """Turn bands ``[N, H, W]`` of 8 bits into an image: the first three, or the first as gray."""
    chosen = values[:3] if len(values) >= 3 else values[[0, 0, 0]]
    return np.moveaxis(chosen, 0, 2)


def layout_of(path):
    """Read the layout of a file."""
    with path.open("rb") as stream:
        return read_tiff_layout(stream)


@st.composite
def gdal_files(draw):
    """Draw what GDAL can write: the number of bands, the bits, and the options."""
    n_bands = draw(st.sampled_from([1, 2, 3, 4, 5, 8, 13]))
    n_bits = draw(st.sampled_from([8, 16, 8, 16, 12, 4, 1]))
    options = {
        "interleave": draw(st.sampled_from(["pixel", "band"])),
        "endianness": draw(st.sampled_from(["little", "big"])),
        "bigtiff": draw(st.sampled_from(["yes", "no"])),
        "compress": draw(st.sampled_from([*LOSSLESS, *(["jpeg"] if n_bits == 8 and n_bands <= 4 else [])])),
        "photometric": draw(st.sampled_from(["minisblack", "miniswhite", *(["rgb"] if n_bands >= 3 else [])])),
    }
    if draw(st.booleans()):
        options |= {"tiled": True, "blockxsize": 16, "blockysize": 16}
    if n_bits not in {8, 16}:
        options["nbits"] = n_bits
    elif options["compress"] in {"lzw", "deflate", "zstd"}:
        options["predictor"] = draw(st.sampled_from([1, 2]))
    if draw(st.booleans()):
        del options["photometric"]
    return n_bands, n_bits, {name: value for name, value in options.items() if value is not None}


@given(gdal_files(), st.integers(0, 2**32 - 1))
@example((3, 16, {"interleave": "band", "photometric": "rgb"}), 0)
@example((1, 16, {"photometric": "miniswhite"}), 0)
def test_whatever_gdal_writes_is_read_with_the_values_that_rasterio_reads(file, seed):
    n_bands, n_bits, options = file
    values = np.random.default_rng(seed).integers(0, 1 << n_bits, (n_bands, SIZE, SIZE))
    if options.get("compress") == "jpeg":
        values = values // 255 * 0 + np.linspace(0, 255, SIZE).astype(int)
    dtype = "uint8" if n_bits <= 8 else "uint16"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "scene.tif")
        profile = {"driver": "GTiff", "height": SIZE, "width": SIZE, "count": n_bands, "dtype": dtype}
        with rasterio.open(path, "w", **profile, **options) as dataset:
            dataset.write(values.astype(dtype))
        with rasterio.open(path) as dataset:
            read = dataset.read().astype(int)
        loaded = ImageReader(SIZE).read(path).astype(int)
    if options.get("photometric") == "miniswhite":
        read = (1 << n_bits) - 1 - read
    expected = as_rgb(read >> (n_bits - 8) if n_bits > 8 else read * 255 // ((1 << n_bits) - 1))
    assert np.abs(loaded - expected).max() <= (2 if options.get("compress") == "jpeg" else 0)


@pytest.mark.parametrize("n_bands", [3, 4, 5, 8, 13])
def test_16_bits_as_rasterio_writes_them_by_default(write_tiff, bands, n_bands):
    content = bands(n_bands)
    path = write_tiff(content.astype(np.uint16) * 257)
    assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


def test_five_bands_of_8_bits(write_tiff, bands):
    content = bands(5)
    assert (ImageReader(SIZE).read(write_tiff(content)) == as_rgb(content)).all()


@pytest.mark.parametrize("options", [{}, {"tiled": True, "blockxsize": 16, "blockysize": 16}, {"endianness": "big"}])
def test_16_bit_rgb_band_by_band(write_tiff, bands, options):
    content = bands(3)
    path = write_tiff(content.astype(np.uint16) * 257, photometric="rgb", interleave="band", **options)
    assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_where_white_is_zero_the_values_are_inverted(write_tiff, bands, dtype):
    content = bands(1)
    deepest = np.iinfo(dtype).max
    path = write_tiff(deepest - content.astype(dtype) * (deepest // 255), photometric="miniswhite")
    assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


@pytest.mark.parametrize("scale", [1, 256, 257])
def test_a_palette_becomes_colors_whatever_its_scale(write_tiff, scale):
    index = np.arange(SIZE * SIZE, dtype=np.uint8).reshape(1, SIZE, SIZE)
    colors = np.random.default_rng(0).integers(0, 256, (256, 3))
    path = write_tiff(index, photometric="palette", colors=colors)
    written, other = ((colors.T * factor).astype("<u2").tobytes() for factor in (257, scale))
    assert written in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(written, other))
    assert (ImageReader(SIZE).read(path) == colors[index[0]]).all()


@pytest.mark.parametrize("nbits", [1, 4, 8, 16])
def test_a_palette_that_gdal_writes(write_tiff, nbits):
    colors = np.random.default_rng(0).integers(0, 256, (min(1 << nbits, 256), 3))
    index = np.random.default_rng(1).integers(0, len(colors), (1, SIZE, SIZE))
    options = {"nbits": nbits} if nbits < 8 else {}
    path = write_tiff(
        index.astype(np.uint16 if nbits == 16 else np.uint8), photometric="palette", colors=colors, **options
    )
    assert (ImageReader(SIZE).read(path) == colors[index[0]]).all()


@pytest.mark.parametrize("options", [{}, {"compress": "deflate"}, {"interleave": "band"}])
def test_tiles_that_are_not_stored_are_zero(tmp_path, bands, options):
    path = tmp_path / "sparse.tif"
    content = np.zeros((3, 64, 64), np.uint8)
    content[:, :16, 16:32] = bands(3)
    profile = {"driver": "GTiff", "height": 64, "width": 64, "count": 3, "dtype": "uint8", "photometric": "rgb"}
    profile |= {"tiled": True, "blockxsize": 16, "blockysize": 16, "sparse_ok": True, **options}
    with rasterio.open(path, "w", **profile) as dataset:
        dataset.write(content[:, :16, 16:32], window=rasterio.windows.Window(16, 0, 16, 16))
    assert layout_of(path).sparse
    assert (ImageReader(64).read(path) == as_rgb(content)).all()


def test_a_strip_of_no_bytes_is_zero_although_it_has_a_place(write_tiff, bands):
    content = bands(3)
    path = write_tiff(content, photometric="rgb", blockysize=8)
    stored, empty = (struct.pack("<HHIHH", 279, 3, 2, 384, n_bytes) for n_bytes in (384, 0))
    assert stored in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(stored, empty))
    content[:, 8:] = 0
    assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


@pytest.mark.parametrize("compress", ["ccittfax3", "ccittfax4"])
@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_a_fax_compression_that_pillow_reads(write_tiff, bands, compress, photometric):
    content = bands(1) >> 7
    path = write_tiff(content, nbits=1, compress=compress, photometric=photometric)
    assert layout_of(path).pillow_is_right()
    white = 1 - content if photometric == "miniswhite" else content
    assert (ImageReader(SIZE).read(path) == as_rgb(white * 255)).all()


def test_the_old_number_of_deflate(tmp_path, bands):
    content = as_rgb(bands(3))
    Image.fromarray(content).save(tmp_path / "scene.tif", compression="tiff_deflate")
    assert layout_of(tmp_path / "scene.tif").pillow_is_right()
    assert (ImageReader(SIZE).read(tmp_path / "scene.tif") == content).all()


@pytest.mark.parametrize("compress", ["lerc", "webp", "zstd", "lzma"])
def test_a_compression_that_pillow_lacks(write_tiff, bands, compress):
    content = bands(3)
    options = {"webp_lossless": True} if compress == "webp" else {}
    path = write_tiff(content, photometric="rgb", compress=compress, **options)
    assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


def test_ycbcr_in_jpeg(write_tiff):
    content = np.broadcast_to(np.linspace(0, 255, SIZE).astype(np.uint8), (3, SIZE, SIZE))
    path = write_tiff(content, photometric="ycbcr", compress="jpeg")
    assert np.abs(ImageReader(SIZE).read(path).astype(int) - as_rgb(content)).max() <= 4


def test_8_bit_cmyk_becomes_rgb_in_both_readers(write_tiff, bands):
    content = bands(4)
    loaded = [
        ImageReader(SIZE).read(
            write_tiff(content, f"{layout}.tif", photometric="cmyk", interleave=layout, compress="zstd")
        )
        for layout in ("pixel", "band")
    ]
    path = write_tiff(content, "pillow.tif", photometric="cmyk")
    assert layout_of(path).pillow_is_right()
    for pixels in loaded:
        assert np.abs(pixels.astype(int) - ImageReader(SIZE).read(path)).max() <= 1


def test_premultiplied_transparency_is_dropped_and_the_values_stay(write_tiff, bands):
    content = bands(4)
    path = write_tiff(content, photometric="rgb", alpha="premultiplied")
    assert layout_of(path).extra_samples == (1,)
    assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


@pytest.mark.parametrize(
    ("dtype", "options", "words"),
    [
        ("float32", {}, "floating-point"),
        ("int16", {}, "signed 16-bit"),
        ("int8", {}, "signed 8-bit"),
        ("complex64", {}, "complex"),
        ("uint16", {"photometric": "cmyk"}, "CMYK"),
        ("uint8", {"photometric": "cielab"}, "CIELab"),
    ],
)
def test_what_can_not_become_8_bit_rgb_is_rejected_with_the_reason(write_tiff, bands, dtype, options, words):
    path = write_tiff((bands(4) // 2).astype(dtype), **options)
    with pytest.raises(ImageError) as caught:
        ImageReader(SIZE).read(path)
    assert str(caught.value).startswith(f"{path} has ")
    assert words in str(caught.value)


def test_without_rasterio_the_file_is_described_and_the_extra_named(write_tiff, bands, monkeypatch):
    path = write_tiff(bands(5).astype(np.uint16), compress="lzw", interleave="band")
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(ImageError) as caught:
        ImageReader(SIZE).read(path)
    assert str(caught.value) == (
        f"{path} is a TIFF of 5 bands of 16 bits (unsigned, interleaved by band, LZW, black is zero): "
        "this needs the package 'rasterio', which is not installed: run  python -m pip install \"overfly[geo]\""
    )


def test_without_rasterio_usual_files_are_read(write_tiff, bands, monkeypatch):
    content = bands(3)
    monkeypatch.setitem(sys.modules, "rasterio", None)
    monkeypatch.setitem(sys.modules, "overfly.runtime.images.geotiff", None)
    for depth, factor in (("uint8", 1), ("uint16", 257)):
        path = write_tiff(content.astype(depth) * factor, f"{depth}.tif", photometric="rgb", compress="deflate")
        assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


@pytest.mark.parametrize("pillow", [True, False])
def test_the_orientation_is_applied_whoever_decodes(tmp_path, bands, pillow):
    content = np.moveaxis(bands(4), 0, 2)
    path = tmp_path / "turned.tif"
    Image.fromarray(content).save(path, tiffinfo={274: 6})
    if not pillow:
        # Pillow would divide the colors by a transparency that is premultiplied (1).
        plain, premultiplied = (struct.pack("<HHIH", 338, 3, 1, meaning) for meaning in (2, 1))
        path.write_bytes(path.read_bytes().replace(plain, premultiplied))
    assert layout_of(path).pillow_is_right() == pillow
    assert (ImageReader(SIZE).read(path) == np.rot90(content[..., :3], -1)).all()


@pytest.mark.parametrize("compress", ["deflate", "zstd"])
def test_a_reduced_version_before_the_image_is_passed_over(tmp_path, write_tiff, bands, compress):
    Image.new("RGB", (4, 4)).save(tmp_path / "scene.tif", tiffinfo={254: 1})
    content = bands(3)
    path = write_tiff(content, photometric="rgb", compress=compress, append_subdataset=True)
    layout = layout_of(path)
    assert (layout.page, layout.pillow_is_right()) == (1, compress == "deflate")
    assert (ImageReader(SIZE).read(path) == as_rgb(content)).all()


def test_a_reduced_version_alone_is_read(tmp_path, bands):
    content = as_rgb(bands(3))
    Image.fromarray(content).save(tmp_path / "scene.tif", tiffinfo={254: 1})
    assert (ImageReader(SIZE).read(tmp_path / "scene.tif") == content).all()


@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_a_file_whose_tags_are_damaged_is_named(tmp_path, byte_order):
    """Tags that lack the width, that point beyond the end of the file, or whose pages form a circle."""
    magic = {"<": b"II*\0", ">": b"MM\0*"}[byte_order]
    no_width = struct.pack(f"{byte_order}IHHHIII", 8, 1, 257, 3, 1, 1, 0)
    beyond = struct.pack(f"{byte_order}IHHHIII", 8, 1, 258, 3, 1000, 5000, 0)
    nowhere = struct.pack(f"{byte_order}I", 5000)
    no_page = struct.pack(f"{byte_order}I", 0)
    path = tmp_path / "scene.tif"
    for content in (no_width, beyond, nowhere, no_page):
        path.write_bytes(magic + content)
        with pytest.raises(ImageError) as caught:
            ImageReader(SIZE).read(path)
        assert str(caught.value).startswith(f"{path} can't be decoded: ")


@pytest.mark.parametrize(("interleave", "n_strips"), [("pixel", 4), ("band", 12)])
def test_a_file_that_lists_too_few_strips_is_rejected(write_tiff, bands, interleave, n_strips):
    path = write_tiff(bands(3), interleave=interleave, blockysize=4)
    content = path.read_bytes()
    for kind in (3, 4):
        whole, part = (struct.pack("<HHI", 273, kind, n) for n in (n_strips, n_strips - 1))
        content = content.replace(whole, part)
    path.write_bytes(content)
    with pytest.raises(ImageError) as caught:
        ImageReader(SIZE).read(path)
    assert str(caught.value).startswith(f"{path} ")
    assert f"the TIFF stores {n_strips - 1} of its {n_strips} strips" in str(caught.value)


def test_a_file_that_lists_too_many_strips_is_read_by_rasterio(tmp_path):
    """Pillow pastes them over the image."""
    values = np.arange(128, dtype=np.uint8).reshape(16, 8)
    numbers = {256: 8, 257: 8, 258: 8, 259: 1, 262: 1, 273: (200, 264), 277: 1, 278: 8, 279: (64, 64)}
    far = {273: 130, 279: 138}
    entries = [
        struct.pack("<HHII", tag, 4, 2, far[tag]) if tag in far else struct.pack("<HHII", tag, 4, 1, number)
        for tag, number in numbers.items()
    ]
    head = b"II*\0" + struct.pack("<IH", 8, len(entries)) + b"".join(entries) + bytes(4)
    lists = struct.pack("<IIII", *numbers[273], *numbers[279])
    path = tmp_path / "scene.tif"
    path.write_bytes((head.ljust(130, b"\0") + lists).ljust(200, b"\0") + values.tobytes())
    assert layout_of(path).surplus
    assert (ImageReader(8).read(path) == values[:8, :, None]).all()


def test_a_file_with_fewer_bands_than_colors_is_rejected(write_tiff, bands):
    path = write_tiff(bands(3), photometric="rgb")
    content = path.read_bytes()
    (entry,) = {struct.pack("<HHI", 277, 3, 1) + struct.pack("<I", 3)} & {
        content[at : at + 12] for at in range(len(content))
    }
    path.write_bytes(content.replace(entry, entry[:8] + struct.pack("<I", 1)))
    with pytest.raises(ImageError) as caught:
        ImageReader(SIZE).read(path)
    assert "the TIFF has 1 of the 3 bands of RGB" in str(caught.value)


def test_a_truncated_file_is_rejected_whoever_decodes(write_tiff, bands):
    for n_bands in (3, 5):
        path = write_tiff(bands(n_bands), photometric="rgb")
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(ImageError) as caught:
            ImageReader(SIZE).read(path)
        assert str(caught.value).startswith(f"{path} can't be decoded: ")


def test_other_files_have_no_layout():
    assert read_tiff_layout(io.BytesIO(b"\x89PNG\r\n\x1a\n")) is None
    assert read_tiff_layout(io.BytesIO()) is None
