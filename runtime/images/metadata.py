"""Drop the metadata of PNG and JPEG files: it may be damaged, or too large for Pillow, while the pixels are sound."""

import io
import re
import struct
import zlib
from typing import BinaryIO

_PNG = b"\x89PNG\r\n\x1a\n"
_COLOR_TYPE_AT, _PALETTE_COLORS = 25, b"\3"
_LOWER_CASE = 0x20

_START_OF_IMAGE, _START_OF_SCAN = b"\xff\xd8", 0xDA
_MARKER = re.compile(rb"\xff[^\x00\xff]")
_COMMENT, _APP0, _APP1, _APP14, _APP15 = 0xFE, 0xE0, 0xE1, 0xEE, 0xEF


def without_metadata(stream: BinaryIO) -> io.BytesIO | None:
    """Return a PNG or JPEG file without its metadata, apart from what the colors and the orientation depend on.

    Returns None if it is another format, or damaged in more than its metadata.
    """
    stream.seek(0)
    content = stream.read()
    if content.startswith(_PNG):
        return _png_without_metadata(content)
    return _jpeg_without_metadata(content) if content.startswith(_START_OF_IMAGE) else None


def _png_without_metadata(content: bytes) -> io.BytesIO | None:
    """Keep the critical chunks of a PNG, and the EXIF data if their checksum is right.

    See the PNG specification: a chunk is its length, name, data and checksum; the name of a critical one starts with a
    capital letter.
    """
    kept, names, at = [_PNG], set(), len(_PNG)
    while at + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        chunk = content[at : at + 12 + length]
        name = chunk[4:8]
        intact = chunk[-4:] == struct.pack(">I", zlib.crc32(chunk[4:-4]))
        if not name[0] & _LOWER_CASE or (name == b"eXIf" and intact):
            kept.append(chunk)
            names.add(name)
        at += len(chunk)
    # A damaged name may turn a critical chunk into one that looks like metadata. Without its palette, Pillow would show
    # an image in shades of gray.
    needs_palette = content[_COLOR_TYPE_AT : _COLOR_TYPE_AT + 1] == _PALETTE_COLORS
    return None if needs_palette and b"PLTE" not in names else io.BytesIO(b"".join(kept))


def _jpeg_without_metadata(content: bytes) -> io.BytesIO | None:
    """Keep of a JPEG's metadata JFIF (APP0), EXIF (APP1) and Adobe's color transform (APP14).

    See ITU-T T.81, annex B: before the first scan, each segment is a marker, its length and its data.
    """
    kept = [_START_OF_IMAGE]
    # If the length of a segment is wrong, the search continues with the next marker, as in libjpeg.
    marker = _MARKER.search(content, len(_START_OF_IMAGE))
    while marker is not None:
        kind = marker[0][-1]
        if kind == _START_OF_SCAN:
            return io.BytesIO(b"".join([*kept, content[marker.end() - 2 :]]))
        end = marker.end() + int.from_bytes(content[marker.end() : marker.end() + 2], "big")
        if not (_APP0 <= kind <= _APP15 or kind == _COMMENT) or kind in {_APP0, _APP1, _APP14}:
            kept.append(content[marker.end() - 2 : end])
        marker = _MARKER.search(content, end)
    return None
