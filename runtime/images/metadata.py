"""Drop metadata of PNG, JPEG and WebP files: it may be damaged, or too large for Pillow, while the pixels are sound."""

import io
import re
import struct
import zlib
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from overfly.runtime.errors import DecodingError

_PNG = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPE_AT, _PALETTE_COLORS = 25, b"\3"
_LOWER_CASE = 0x20
_PNG_NAME = re.compile(b"PLTE|IDAT|IEND|eXIf")

_START_OF_IMAGE, _END_OF_IMAGE, _START_OF_SCAN = b"\xff\xd8", b"\xff\xd9", 0xDA
_MARKER = re.compile(rb"\xff[^\x00\xff]")
# Start of image, quantization tables, frame, scan: what an image has of its own.
_IMAGE_MARKER = re.compile(rb"\xff[\xc0-\xc3\xd8\xda\xdb]")
# Markers without a length and data: restarts, start and end of image.
_BARE_MARKERS = {0x01, *range(0xD0, 0xDA)}
_COMMENT, _APP0, _APP1, _APP14, _APP15 = 0xFE, 0xE0, 0xE1, 0xEE, 0xEF
# libjpeg passes over such segments if they are shorter, with the two bytes of the length. Pillow fails.
_MIN_LENGTHS = {_APP0: 16, _APP14: 14}

_WEBP_HEADER = 12
_WEBP_PIXELS = {b"VP8X", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"}
_WEBP_FLAGS_AT, _WEBP_FLAGS = 8, {b"ANIM": 0x02, b"EXIF": 0x08, b"ALPH": 0x10}


def without_metadata(stream: BinaryIO) -> io.BytesIO:
    """Return a PNG, JPEG or WebP file without its metadata, apart from what the colors and the orientation depend on.

    Raises
    ------
    DecodingError
        If it is another format, or damaged in more than its metadata.
    """
    stream.seek(0)
    content = stream.read()
    if content.startswith(_PNG):
        return _png_without_metadata(content)
    if content[:4] == b"RIFF" and content[8:_WEBP_HEADER] == b"WEBP":
        return _webp_without_metadata(content)
    if content.startswith(_START_OF_IMAGE):
        return _jpeg_without_metadata(content)
    raise DecodingError("not a PNG, JPEG or WebP file")


def check_thumbnails(stream: BinaryIO, segments: Iterable[bytes]) -> None:
    """Raise DecodingError if a segment of a JPEG ends too early, and the rest of its thumbnail comes before the image.

    A thumbnail is a JPEG itself. All decoders would show it then.

    Parameters
    ----------
    stream
        The file.
    segments
        Its metadata.
    """
    for segment in segments:
        # The end may lie between the two bytes of the start of the thumbnail.
        start = (segment + _START_OF_IMAGE[1:]).find(_START_OF_IMAGE)
        if start < 0 or _END_OF_IMAGE in segment[start:]:
            continue
        stream.seek(0)
        content = stream.read()
        # Of the image that decoders would show: a thumbnail may be spread over several segments before it.
        stops = {_START_OF_SCAN, _END_OF_IMAGE[1]}
        segments_after = _jpeg_segments(content, content.find(segment) + len(segment))
        end = content.find(_END_OF_IMAGE, next((at for kind, at, _ in segments_after if kind in stops), len(content)))
        # After a whole image comes no part of an image, but maybe the start of another one.
        following = None if end < 0 else _IMAGE_MARKER.search(content, end + len(_END_OF_IMAGE))
        if following is not None and following[0] != _START_OF_IMAGE:
            raise DecodingError(
                "the length of its metadata is wrong, so its thumbnail can't be distinguished from the image"
            )


def _png_without_metadata(content: bytes) -> io.BytesIO:
    """Keep the critical chunks of a PNG, and the EXIF data, if their checksums are right.

    See the PNG specification: a chunk is its length, name, data and checksum; the name of a critical one starts with a
    capital letter. If the length of another chunk is wrong, the search continues with the next chunk that is kept.
    """
    kept, previous, at = {_PNG: _PNG}, b"", len(_PNG)
    while at + 12 <= len(content):
        name, chunk, intact = _png_chunk(content, at)
        if intact and (not name[0] & _LOWER_CASE or name == b"eXIf"):
            # A damaged name may turn a critical chunk into one that looks like metadata. Pixel data has no gaps.
            if name == b"IDAT" and name in kept and previous != name:
                raise DecodingError("the PNG has a gap in its pixel data")
            kept[name] = kept.get(name, b"") + chunk
        elif not intact and not name[0] & _LOWER_CASE:
            raise DecodingError(f"the PNG has a damaged chunk {name!r}")
        following = [at + len(chunk)]
        if not intact:
            following += [match.start() - 4 for match in _PNG_NAME.finditer(content, at + 8)]
        at = next((place for place in following if intact or _png_chunk(content, place)[2]), len(content))
        previous = name
    # Without its palette, Pillow would show an image in shades of gray.
    if content[_COLOR_TYPE_AT : _COLOR_TYPE_AT + 1] == _PALETTE_COLORS and b"PLTE" not in kept:
        raise DecodingError("the PNG lacks its palette")
    return io.BytesIO(b"".join(kept.values()))


def _png_chunk(content: bytes, at: int) -> tuple[bytes, bytes, bool]:
    """Return the name of the chunk at a place, the whole chunk, and whether its checksum is right."""
    length, name = struct.unpack(">I4s", content[at : at + 8].ljust(8, b"\0"))
    chunk = content[at : at + 12 + length]
    intact = len(chunk) == 12 + length and chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))
    return name, chunk, intact


def _jpeg_without_metadata(content: bytes) -> io.BytesIO:
    """Keep of a JPEG's metadata JFIF (APP0), EXIF (APP1) and Adobe's color transform (APP14).

    See ITU-T T.81, annex B: before the first scan, each segment is a marker, its length and its data.
    """
    kept = [_START_OF_IMAGE]
    for kind, start, end in _jpeg_segments(content, len(_START_OF_IMAGE)):
        if kind == _START_OF_SCAN:
            return io.BytesIO(b"".join([*kept, content[start:]]))
        is_metadata = _APP0 <= kind <= _APP15 or kind == _COMMENT
        if not is_metadata or kind == _APP1 or end - start - 2 >= _MIN_LENGTHS.get(kind, len(content)):
            kept.append(content[start:end])
    raise DecodingError("the JPEG has no scan")


def _jpeg_segments(content: bytes, at: int) -> Iterator[tuple[int, int, int]]:
    """Yield the kind, the start and the end of each segment from a place on.

    If the length of a segment is wrong, the search continues with the next marker, as in libjpeg.
    """
    while (marker := _MARKER.search(content, at)) is not None:
        kind, at = marker[0][-1], marker.end()
        if kind not in _BARE_MARKERS:
            at += int.from_bytes(content[at : at + 2], "big")
        yield kind, marker.start(), at


def _webp_without_metadata(content: bytes) -> io.BytesIO:
    """Keep the pixels of a WebP, and the EXIF data if it is whole.

    See RFC 9649: a chunk is its name, length and data, and a byte more if the length is odd. The first chunk of a file
    with metadata has flags for what follows.
    """
    kept: dict[bytes, bytes] = {}
    at = _WEBP_HEADER
    while at + 8 <= len(content):
        name, length = struct.unpack_from("<4sI", content, at)
        chunk = content[at : at + 8 + length + length % 2]
        if name in _WEBP_PIXELS or (name == b"EXIF" and len(chunk) >= 8 + length):
            # An animation has several chunks of one name; the first image counts.
            kept.setdefault(name, chunk)
        at += len(chunk)
    if b"VP8X" in kept:
        header = bytearray(kept[b"VP8X"])
        header[_WEBP_FLAGS_AT] &= _WEBP_FLAGS[b"ALPH"]
        header[_WEBP_FLAGS_AT] |= sum(flag for name, flag in _WEBP_FLAGS.items() if name in kept)
        kept[b"VP8X"] = bytes(header)
    chunks = b"".join(kept.values())
    return io.BytesIO(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks)
