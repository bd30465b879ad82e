"""Read the tags of a TIFF: what its pixels are, and whether Pillow is known to read them right.

The numbers of tags and of their values are those of TIFF 6.0 (Adobe, 1992) and of libtiff's ``tiff.h``.
"""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import BinaryIO

import numpy as np
import numpy.typing as npt


class _Tag(IntEnum):
    """The tags that are read."""

    NEW_SUBFILE_TYPE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTES = 279
    PLANAR = 284
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339


_TAGS = frozenset(_Tag)
# The byte order, and whether it is a BigTIFF.
_MAGIC = {b"II*\0": ("<", False), b"II+\0": ("<", True), b"MM\0*": (">", False), b"MM\0+": (">", True)}
# The types of whole numbers, as NumPy names them.
_NUMBER_TYPES = {1: "u1", 3: "u2", 4: "u4", 6: "i1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8"}

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR = 0, 1, 2, 3, 5, 6
_COLORS = {
    WHITE_IS_ZERO: "white is zero",
    BLACK_IS_ZERO: "black is zero",
    RGB: "RGB",
    PALETTE: "palette",
    CMYK: "CMYK",
    YCBCR: "YCbCr",
    8: "CIELab",
    9: "ICCLab",
    10: "ITULab",
    32803: "color filter array",
    32844: "LogL",
    32845: "LogLuv",
    34892: "linear raw",
}
READABLE_COLORS = frozenset({WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR})

UNSIGNED, SIGNED, FLOAT, UNDEFINED = 1, 2, 3, 4
REAL_FORMATS = frozenset({UNSIGNED, SIGNED, FLOAT, UNDEFINED})
_FORMATS = {
    UNSIGNED: "unsigned",
    SIGNED: "signed",
    FLOAT: "floating-point",
    UNDEFINED: "undefined",
    5: "complex",
    6: "complex",
}
_JPEG = 7
_COMPRESSIONS = {
    1: "uncompressed",
    2: "CCITT RLE",
    3: "CCITT G3",
    4: "CCITT G4",
    5: "LZW",
    6: "old JPEG",
    _JPEG: "JPEG",
    8: "deflate",
    32773: "PackBits",
    32946: "deflate",
    34712: "JPEG 2000",
    34887: "LERC",
    34925: "LZMA",
    50000: "ZSTD",
    50001: "WebP",
    50002: "JPEG XL",
    52546: "JPEG XL",
}

# What Pillow reads like rasterio: a test compares them. Pillow reads more, and some of it wrong (python-pillow/Pillow
# #1888 and #2157, seen in 13.0). The pixels are: photometric interpretation, bits, sample format, extra samples.
_PILLOW_COMPRESSIONS = {1, 3, 4, 5, _JPEG, 8, 32773, 32946}
_PILLOW_PIXELS = {
    *((colors, bits, UNSIGNED, ()) for colors in (WHITE_IS_ZERO, BLACK_IS_ZERO, PALETTE) for bits in (1, 4, 8)),
    *((BLACK_IS_ZERO, 8, UNSIGNED, extra) for extra in ((0,), (2,))),
    (BLACK_IS_ZERO, 16, UNSIGNED, ()),
    (BLACK_IS_ZERO, 32, SIGNED, ()),
    *((RGB, bits, UNSIGNED, extra) for bits in (8, 16) for extra in ((), (0,), (2,))),
    (CMYK, 8, UNSIGNED, ()),
    (YCBCR, 8, UNSIGNED, ()),
}
_N_COLORS = {RGB: 3, CMYK: 4, YCBCR: 3}
_BY_PIXEL = 1
# GDAL allows as many.
_MAX_BANDS = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class TiffLayout:
    """How the pixels of one page of a TIFF are stored: the values of its tags.

    Attributes
    ----------
    page
        Index of the page in the file.
    big_endian, big_tiff
        The byte order, and whether offsets have 64 bits.
    bits, formats
        Bits and sample format of each band.
    extra_samples
        The meaning of each band after the colors: 0 unknown, 1 premultiplied transparency, 2 transparency.
    sparse
        Whether some strips or tiles are not stored.
    color_map
        The 3 * 2**bits values of a palette, all reds first; empty without one.
    """

    page: int
    big_endian: bool
    big_tiff: bool
    width: int
    height: int
    bits: tuple[int, ...]
    formats: tuple[int, ...]
    extra_samples: tuple[int, ...]
    photometric: int
    compression: int
    planar: int
    predictor: int
    fill_order: int
    orientation: int
    sparse: bool
    color_map: tuple[int, ...]

    def __str__(self) -> str:
        """Return what the page holds, for a message."""
        return (
            f"{len(self.bits)} band{'s' if len(self.bits) > 1 else ''} of {_listed(self.bits)} bits "
            f"({_listed(_FORMATS.get(number, f'format {number}') for number in self.formats)}, "
            f"interleaved by {'pixel' if self.planar == _BY_PIXEL else 'band'}, "
            f"{_COMPRESSIONS.get(self.compression, f'compression {self.compression}')}, {self.colors}"
            f"{', sparse' if self.sparse else ''})"
        )

    @property
    def colors(self) -> str:
        """The name of the photometric interpretation."""
        return _COLORS.get(self.photometric, f"photometric interpretation {self.photometric}")

    def pillow_is_right(self) -> bool:
        """Whether this is one of the layouts that Pillow is known to read like rasterio."""
        pixels = (self.photometric, self.bits[0], self.formats[0], self.extra_samples)
        return (
            pixels in _PILLOW_PIXELS
            and len({*self.bits}) == len({*self.formats}) == 1
            and len(self.bits) == _N_COLORS.get(self.photometric, 1) + len(self.extra_samples)
            and self.compression in _PILLOW_COMPRESSIONS
            and (self.photometric != YCBCR or self.compression == _JPEG)
            # For each plane, Pillow takes one letter of the mode's name: that is right for L and RGB only.
            and (self.planar == _BY_PIXEL or pixels in {(BLACK_IS_ZERO, 8, UNSIGNED, ()), (RGB, 8, UNSIGNED, ())})
            and self.predictor in {1, 2}
            and self.fill_order == 1
            and not self.sparse
            # Pillow 13.0 does not know such a file (test_tiff.py).
            and not (self.big_endian and self.big_tiff)
        )

    def palette(self) -> npt.NDArray[np.uint8]:
        """Return the colors of the palette, uint8, shape ``[2**bits, 3]``.

        A color map has 16 bits, but some programs write 8. Like libtiff, a map without a value above 255 counts as
        one of 8 bits.

        Raises
        ------
        ValueError
            If the color map is missing or has another length.
        """
        n_values = 3 << self.bits[0]
        if len(self.color_map) != n_values:
            raise ValueError(f"the color map has {len(self.color_map)} values, expected {n_values}")
        colors = np.array(self.color_map).reshape(3, -1).T
        if colors.max() > np.iinfo(np.uint8).max:
            colors >>= 8
        palette: npt.NDArray[np.uint8] = colors.astype(np.uint8)
        return palette


def read_tiff_layout(stream: BinaryIO) -> TiffLayout | None:
    """Read the tags of the page that counts: the first that is not a reduced version of another, else the first.

    Returns None if the stream is not a TIFF. The position in the stream changes.

    Raises
    ------
    ValueError
        If the tags are damaged.
    """
    stream.seek(0)
    magic = _MAGIC.get(stream.read(4))
    if magic is None:
        return None
    try:
        return _Reader(stream, *magic).layout()
    except (struct.error, LookupError, OverflowError) as error:
        raise ValueError("a tag of the TIFF is missing or damaged") from error


class _Reader:
    """Reads the tags of a classic TIFF or a BigTIFF."""

    def __init__(self, stream: BinaryIO, byte_order: str, big: bool) -> None:
        self._stream, self._order, self._big = stream, byte_order, big
        self._entry = struct.Struct(f"{byte_order}HHQ8s" if big else f"{byte_order}HHI4s")
        self._count, self._offset = ("u8", "u8") if big else ("u2", "u4")
        self._first = 8 if big else 4

    def layout(self) -> TiffLayout:
        """Return the layout of the page that counts."""
        (start,) = self._numbers(self._first, self._offset, 1)
        first: Mapping[int, list[int]] | None = None
        seen: set[int] = set()
        while start and start not in seen:
            tags, following = self._page(start)
            # Bit 0 marks a reduced version of another page.
            if not tags.get(_Tag.NEW_SUBFILE_TYPE, [0])[0] & 1:
                return self._describe(len(seen), tags)
            first = first or tags
            seen.add(start)
            start = following
        if first is None:
            raise ValueError("the TIFF has no page")
        return self._describe(0, first)

    def _describe(self, page: int, tags: Mapping[int, list[int]]) -> TiffLayout:
        """Return the layout that the tags of a page describe."""

        def one(tag: _Tag, default: int) -> int:
            return tags.get(tag, [default])[0]

        n_bands = one(_Tag.SAMPLES, 1)
        tiled = _Tag.TILE_OFFSETS in tags
        offsets = tags[_Tag.TILE_OFFSETS if tiled else _Tag.STRIP_OFFSETS]
        sizes = tags.get(_Tag.TILE_BYTES if tiled else _Tag.STRIP_BYTES, [])
        height, width = tags[_Tag.HEIGHT][0], tags[_Tag.WIDTH][0]
        rows, columns = (_Tag.TILE_HEIGHT, _Tag.TILE_WIDTH) if tiled else (_Tag.ROWS_PER_STRIP, _Tag.WIDTH)
        n_blocks = -(-height // max(1, one(rows, height))) * -(-width // max(1, one(columns, width)))
        n_blocks *= 1 if one(_Tag.PLANAR, _BY_PIXEL) == _BY_PIXEL else n_bands
        if len(offsets) < n_blocks:
            raise ValueError(f"the TIFF stores {len(offsets)} of its {n_blocks} {'tiles' if tiled else 'strips'}")
        return TiffLayout(
            page=page,
            big_endian=self._order == ">",
            big_tiff=self._big,
            width=width,
            height=height,
            bits=_for_each_band(tags.get(_Tag.BITS, [1]), n_bands),
            formats=_for_each_band(tags.get(_Tag.SAMPLE_FORMAT, [UNSIGNED]), n_bands),
            extra_samples=tuple(tags.get(_Tag.EXTRA_SAMPLES, ())),
            photometric=tags[_Tag.PHOTOMETRIC][0],
            compression=one(_Tag.COMPRESSION, 1),
            planar=one(_Tag.PLANAR, _BY_PIXEL),
            predictor=one(_Tag.PREDICTOR, 1),
            fill_order=one(_Tag.FILL_ORDER, 1),
            orientation=one(_Tag.ORIENTATION, 1),
            sparse=0 in offsets or 0 in sizes,
            color_map=tuple(tags.get(_Tag.COLOR_MAP, ())),
        )

    def _page(self, start: int) -> tuple[dict[int, list[int]], int]:
        """Return the tags of a page that are whole numbers, and where the next page starts."""
        (n_tags,) = self._numbers(start, self._count, 1)
        entries = self._read(start + np.dtype(self._count).itemsize, n_tags * self._entry.size)
        (following,) = self._numbers(self._stream.tell(), self._offset, 1)
        tags = {}
        for tag, kind, count, value in self._entry.iter_unpack(entries):
            if tag in _TAGS and kind in _NUMBER_TYPES:
                number = np.dtype(self._order + _NUMBER_TYPES[kind])
                if count * number.itemsize > len(value):
                    (place,) = np.frombuffer(value, self._order + self._offset).tolist()
                    tags[tag] = self._numbers(place, _NUMBER_TYPES[kind], count)
                else:
                    tags[tag] = np.frombuffer(value, number, count).tolist()
        return tags, following

    def _numbers(self, place: int, kind: str, count: int) -> list[int]:
        """Return whole numbers from a place in the file."""
        number = np.dtype(self._order + kind)
        numbers: list[int] = np.frombuffer(self._read(place, count * number.itemsize), number).tolist()
        return numbers

    def _read(self, place: int, size: int) -> bytes:
        """Return bytes from a place in the file."""
        self._stream.seek(place)
        content = self._stream.read(size)
        if len(content) < size:
            raise ValueError("the tags of the TIFF reach beyond its end")
        return content


def _for_each_band(values: list[int], n_bands: int) -> tuple[int, ...]:
    """Return a value for each band: some programs write one for all of them."""
    if not 0 < n_bands <= _MAX_BANDS:
        raise ValueError(f"the TIFF has {n_bands} bands, expected 1 to {_MAX_BANDS}")
    return tuple(values * n_bands if len(values) == 1 else values[:n_bands])


def _listed(values: Iterable[object]) -> str:
    """Return the different values, for a message."""
    return ", ".join(dict.fromkeys(map(str, values)))
