"""Describe the pixels of a TIFF, and decide whether Pillow is known to read them right.

The numbers of photometric interpretations and the like are those of TIFF 6.0 (Adobe, 1992) and of libtiff's ``tiff.h``.
"""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from overfly.runtime.errors import DecodingError
from overfly.runtime.images.tiff_tags import Tag, TiffFile, TiffPage, open_tiff, tiff_without_metadata

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
UNCOMPRESSED, JPEG = 1, 7
_COMPRESSIONS = {
    UNCOMPRESSED: "uncompressed",
    2: "CCITT RLE",
    3: "CCITT G3",
    4: "CCITT G4",
    5: "LZW",
    6: "old JPEG",
    JPEG: "JPEG",
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
_PILLOW_COMPRESSIONS = {UNCOMPRESSED, 3, 4, 5, JPEG, 8, 32773, 32946}
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
    surplus
        Whether more strips or tiles are listed than the page has, or tags of both kinds.
    color_map
        The 3 * 2**bits values of a palette, all reds first; empty without one.
    damaged_metadata
        Whether a tag that the pixels don't need is damaged, in this page or one before it.
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
    surplus: bool
    color_map: tuple[int, ...]
    damaged_metadata: bool

    def __str__(self) -> str:
        """Return what the page holds, for a message."""
        return (
            f"{len(self.bits)} band{'s' if len(self.bits) > 1 else ''} of {_listed(self.bits)} bits "
            f"({_listed(_FORMATS.get(number, f'format {number}') for number in self.formats)}, "
            f"interleaved by {'pixel' if self.planar == _BY_PIXEL else 'band'}, "
            f"{_COMPRESSIONS.get(self.compression, f'compression {self.compression}')}, {self.colors}"
            f"{', sparse' if self.sparse else ''}{', with surplus strips or tiles' if self.surplus else ''})"
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
            and (self.photometric != YCBCR or self.compression == JPEG)
            # For each plane, Pillow takes one letter of the mode's name: that is right for L and RGB only.
            and (self.planar == _BY_PIXEL or pixels in {(BLACK_IS_ZERO, 8, UNSIGNED, ()), (RGB, 8, UNSIGNED, ())})
            and self.predictor in {1, 2}
            and self.fill_order == 1
            and not self.sparse
            and not self.surplus
            # Pillow 13.0 does not know such a file (test_tiff.py).
            and not (self.big_endian and self.big_tiff)
        )

    def without_metadata(self, stream: BinaryIO) -> tuple[io.BytesIO, "TiffLayout"]:
        """Return a copy with this page alone, and only the tags that its pixels need, and the layout of the copy."""
        return tiff_without_metadata(stream, self.page), replace(self, page=0)

    def palette(self) -> npt.NDArray[np.uint8]:
        """Return the colors of the palette, uint8, shape ``[2**bits, 3]``.

        A color map has 16 bits, but some programs write 8. Like libtiff, a map without a value above 255 counts as
        one of 8 bits.

        Raises
        ------
        DecodingError
            If the color map is missing or has another length.
        """
        n_values = 3 << self.bits[0]
        if len(self.color_map) != n_values:
            raise DecodingError(f"the color map has {len(self.color_map)} values, expected {n_values}")
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
    DecodingError
        If tags that the pixels need are missing or damaged.
    """
    file = open_tiff(stream)
    if file is None:
        return None
    first: TiffPage | None = None
    damaged = False
    for index, page in enumerate(file.pages()):
        damaged |= page.has_damaged_metadata()
        # Bit 0 marks a reduced version of another page.
        if not page.numbers(Tag.NEW_SUBFILE_TYPE, [0])[0] & 1:
            return _describe(file, index, page, damaged)
        first = first or page
    if first is None:
        raise DecodingError("the TIFF has no page")
    return _describe(file, 0, first, damaged)


def _describe(file: TiffFile, index: int, page: TiffPage, damaged_metadata: bool) -> TiffLayout:
    """Return the layout that the tags of a page describe."""

    def one(tag: Tag, *default: int) -> int:
        return page.numbers(tag, default or None)[0]

    n_bands = one(Tag.SAMPLES_PER_PIXEL, 1)
    bits = _for_each_band(page.numbers(Tag.BITS_PER_SAMPLE, [1]), n_bands)
    photometric = one(Tag.PHOTOMETRIC_INTERPRETATION)
    if n_bands < _N_COLORS.get(photometric, 1):
        raise DecodingError(f"the TIFF has {n_bands} of the {_N_COLORS[photometric]} bands of {_COLORS[photometric]}")
    sparse, surplus = _check_blocks(page, n_bands)
    return TiffLayout(
        page=index,
        big_endian=file.byte_order == ">",
        big_tiff=file.big,
        width=one(Tag.IMAGE_WIDTH),
        height=one(Tag.IMAGE_LENGTH),
        bits=bits,
        formats=_for_each_band(page.numbers(Tag.SAMPLE_FORMAT, [UNSIGNED]), n_bands),
        extra_samples=tuple(page.numbers(Tag.EXTRA_SAMPLES, ())),
        photometric=photometric,
        compression=one(Tag.COMPRESSION, 1),
        planar=one(Tag.PLANAR_CONFIGURATION, _BY_PIXEL),
        predictor=one(Tag.PREDICTOR, 1),
        fill_order=one(Tag.FILL_ORDER, 1),
        orientation=one(Tag.ORIENTATION, 1),
        sparse=sparse,
        surplus=surplus,
        color_map=tuple(page.numbers(Tag.COLOR_MAP, ())) if photometric == PALETTE else (),
        damaged_metadata=damaged_metadata,
    )


def _check_blocks(page: TiffPage, n_bands: int) -> tuple[bool, bool]:
    """Return whether some strips or tiles are not stored, and whether too many are listed.

    Raises DecodingError if too few are listed.
    """
    height, width = page.numbers(Tag.IMAGE_LENGTH)[0], page.numbers(Tag.IMAGE_WIDTH)[0]
    if Tag.TILE_OFFSETS in page:
        offsets, sizes = page.numbers(Tag.TILE_OFFSETS), page.numbers(Tag.TILE_BYTE_COUNTS, [])
        rows, columns = page.numbers(Tag.TILE_LENGTH)[0], page.numbers(Tag.TILE_WIDTH)[0]
    else:
        offsets, sizes = page.numbers(Tag.STRIP_OFFSETS), page.numbers(Tag.STRIP_BYTE_COUNTS, [])
        rows, columns = page.numbers(Tag.ROWS_PER_STRIP, [height])[0], width
    n_blocks = -(-height // max(1, rows)) * -(-width // max(1, columns))
    if page.numbers(Tag.PLANAR_CONFIGURATION, [_BY_PIXEL])[0] != _BY_PIXEL:
        n_blocks *= n_bands
    if len(offsets) < n_blocks:
        kind = "tiles" if Tag.TILE_OFFSETS in page else "strips"
        raise DecodingError(f"the TIFF stores {len(offsets)} of its {n_blocks} {kind}")
    is_mixed = Tag.STRIP_OFFSETS in page and (Tag.TILE_OFFSETS in page or Tag.TILE_WIDTH in page)
    return 0 in offsets or 0 in sizes, is_mixed or len(offsets) > n_blocks


def _for_each_band(values: Sequence[int], n_bands: int) -> tuple[int, ...]:
    """Return a value for each band: some programs write one for all of them."""
    if not 0 < n_bands <= _MAX_BANDS:
        raise DecodingError(f"the TIFF has {n_bands} bands, expected 1 to {_MAX_BANDS}")
    return tuple(values) * n_bands if len(values) == 1 else tuple(values[:n_bands])


def _listed(values: Iterable[object]) -> str:
    """Return the different values, for a message."""
    return ", ".join(dict.fromkeys(map(str, values)))
