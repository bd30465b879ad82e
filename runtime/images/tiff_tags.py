"""Read the tags of a TIFF, and drop those that its pixels don't need.

The numbers of tags are those of TIFF 6.0 (Adobe, 1992) and of libtiff's ``tiff.h``.
"""

import io
import struct
from collections.abc import Iterator, Sequence
from enum import IntEnum
from itertools import islice
from typing import BinaryIO

from overfly.runtime.errors import DecodingError


class Tag(IntEnum):
    """The tags that say how the pixels are stored."""

    NEW_SUBFILE_TYPE = 254
    IMAGE_WIDTH = 256
    IMAGE_LENGTH = 257
    BITS_PER_SAMPLE = 258
    COMPRESSION = 259
    PHOTOMETRIC_INTERPRETATION = 262
    FILL_ORDER = 266
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES_PER_PIXEL = 277
    ROWS_PER_STRIP = 278
    STRIP_BYTE_COUNTS = 279
    PLANAR_CONFIGURATION = 284
    PREDICTOR = 317
    COLOR_MAP = 320
    TILE_WIDTH = 322
    TILE_LENGTH = 323
    TILE_OFFSETS = 324
    TILE_BYTE_COUNTS = 325
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339

    def __str__(self) -> str:
        """Return the name in the specification, and the number."""
        return f"{self.name.title().replace('_', '')} ({self.value})"


# Only the decoders read the others: old kinds of subfile and of transparency, fax options, inks, JPEG tables, old JPEG,
# the details of YCbCr, and the parameters of LERC. GDAL's value for "no data" fills tiles that are not stored.
_PIXEL_TAGS = {*Tag, 255, 292, 293, 332, 334, 347, *range(512, 522), *range(529, 533), 32995, 32996, 42113, 50674}

# The byte order, and whether it is a BigTIFF.
_MAGIC = {b"II*\0": ("<", False), b"II+\0": ("<", True), b"MM\0*": (">", False), b"MM\0+": (">", True)}
# How many bytes a value of each type takes.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
# The types of whole numbers, as `struct` names them.
_NUMBER_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 17: "q", 18: "Q"}


class TiffFile:
    """The pages of a classic TIFF or a BigTIFF.

    Attributes
    ----------
    byte_order
        ``<`` or ``>``.
    big
        Whether offsets have 64 bits.
    first
        Where the file says where its first page is.
    size
        Bytes of the whole file.
    entry, count, offset
        How a tag, the number of tags, and a place in the file are stored.
    """

    def __init__(self, stream: BinaryIO, byte_order: str, big: bool) -> None:
        self._stream = stream
        self.byte_order, self.big = byte_order, big
        self.first = 8 if big else 4
        self.size = stream.seek(0, io.SEEK_END)
        self.entry = struct.Struct(f"{byte_order}HHQ8s" if big else f"{byte_order}HHI4s")
        self.count = struct.Struct(f"{byte_order}Q" if big else f"{byte_order}H")
        self.offset = struct.Struct(f"{byte_order}Q" if big else f"{byte_order}I")

    def pages(self) -> Iterator["TiffPage"]:
        """Iterate over the pages; a page that was there before ends the list.

        Raises
        ------
        DecodingError
            If a page lies beyond the end of the file.
        """
        (start,) = self.offset.unpack(self.read(self.first, self.offset.size))
        seen: set[int] = set()
        while start and start not in seen:
            seen.add(start)
            page = TiffPage(self, start)
            yield page
            start = page.following

    def read(self, place: int, size: int) -> bytes:
        """Return bytes from a place in the file; raise DecodingError if it has fewer."""
        if place + size > self.size:
            raise DecodingError("the tags of the TIFF reach beyond its end")
        self._stream.seek(place)
        return self._stream.read(size)


class TiffPage:
    """The tags of a page. A value is read when it is asked for: damage elsewhere does not matter.

    Attributes
    ----------
    start, following
        Where the list of tags begins in the file, and that of the next page; 0 after the last page.
    """

    def __init__(self, file: TiffFile, start: int) -> None:
        self._file = file
        self.start = start
        (n_tags,) = file.count.unpack(file.read(start, file.count.size))
        self._list = file.read(start + file.count.size, n_tags * file.entry.size)
        (self.following,) = file.offset.unpack(file.read(start + file.count.size + len(self._list), file.offset.size))
        self._entries: dict[int, tuple[int, int, bytes]] = {}
        for tag, *entry in file.entry.iter_unpack(self._list):
            # Of several with one number, libtiff and Pillow take the first.
            self._entries.setdefault(tag, (entry[0], entry[1], entry[2]))

    def __contains__(self, tag: Tag) -> bool:
        """Whether the page has a tag."""
        return tag in self._entries

    def numbers(self, tag: Tag, default: Sequence[int] | None = None) -> Sequence[int]:
        """Return the values of a tag, or `default` if there is none.

        Raises
        ------
        DecodingError
            If the tag is damaged, or missing without a default.
        """
        kind, count, value = self._entries.get(tag, (0, 0, b""))
        if count == 0:
            if default is None:
                raise DecodingError(f"the TIFF lacks the tag {tag}")
            return default
        if kind not in _NUMBER_TYPES or self._reaches_beyond(kind, count, value):
            raise DecodingError(f"the tag {tag} of the TIFF is damaged")
        if count * _SIZES[kind] > len(value):
            value = self._file.read(self._file.offset.unpack(value)[0], count * _SIZES[kind])
        return struct.unpack_from(f"{self._file.byte_order}{count}{_NUMBER_TYPES[kind]}", value)

    def has_damaged_metadata(self) -> bool:
        """Whether a tag that the pixels don't need has an unknown type, or points beyond the end of the file."""
        return any(
            kind not in _SIZES or self._reaches_beyond(kind, count, value)
            for tag, (kind, count, value) in self._entries.items()
            if tag not in _PIXEL_TAGS
        )

    def without_metadata(self) -> bytes:
        """Return what is to be written from `start` on: the tags that the pixels need, and no next page."""
        size = self._file.entry.size
        entries = (self._list[at : at + size] for at in range(0, len(self._list), size))
        kept = [entry for entry in entries if self._file.entry.unpack(entry)[0] in _PIXEL_TAGS]
        return b"".join([self._file.count.pack(len(kept)), *kept, self._file.offset.pack(0)])

    def _reaches_beyond(self, kind: int, count: int, value: bytes) -> bool:
        """Whether the values end after the file does."""
        size = count * _SIZES[kind]
        # Short values stand in the place of their offset.
        return size > len(value) and self._file.offset.unpack(value)[0] + size > self._file.size


def open_tiff(stream: BinaryIO) -> TiffFile | None:
    """Return what reads the tags of a TIFF, or None if the stream is none. The position in the stream changes."""
    stream.seek(0)
    magic = _MAGIC.get(stream.read(4))
    return None if magic is None else TiffFile(stream, *magic)


def tiff_without_metadata(stream: BinaryIO, page: int) -> io.BytesIO:
    """Copy a TIFF, but with a single page, the one with this index, and only the tags that its pixels need.

    The tags are rewritten where they are, so that all else keeps its place.
    """
    stream.seek(0)
    copy = io.BytesIO(stream.read())
    file = open_tiff(copy)
    if file is None:
        raise DecodingError("this is no TIFF")
    tags = next(islice(file.pages(), page, None))
    copy.seek(tags.start)
    copy.write(tags.without_metadata())
    copy.seek(file.first)
    copy.write(file.offset.pack(tags.start))
    copy.seek(0)
    return copy
