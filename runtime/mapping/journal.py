"""The journal: the finished blocks of a map on disk, so that an interrupted map continues where it stopped.

It begins with a line of JSON that says which map it belongs to. Then follows a record for each block: its index, the
length and the CRC-32 of its data, and the data. A process that is killed while it writes leaves a torn last record,
which is dropped. The record of a machine that computes otherwise comes before the first of its blocks.
"""

import json
import os
import struct
import time
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import BinaryIO

from overfly.runtime.errors import OutputError

JOURNAL_SCHEMA = "overfly.journal/1"

# Index of the block, length of the data, CRC-32 of index and data; all little-endian.
_RECORD = struct.Struct("<III")
_MAX_HEADER_BYTES = 1 << 16
# The index in the record of a machine.
MACHINE = 0xFFFFFFFF
# A disk may need 10 ms to confirm a record, and a cluster has a block done every 5 ms. What a power cut takes is done
# again; whatever ends a process takes nothing.
_SYNC_S = 0.5


class Journal(AbstractContextManager["Journal"]):
    """A journal that is open for appending.

    Parameters
    ----------
    path
        The file. It is made if it does not exist.
    identity
        What the map is made from, as a hash. The journal of another map is refused.

    Raises
    ------
    OutputError
        If the journal is of another map, or is none.
    """

    def __init__(self, path: Path, identity: str) -> None:
        header = json.dumps({"schema": JOURNAL_SCHEMA, "identity": identity}).encode() + b"\n"
        if path.exists():
            _check_header(path, header)
        self._stream: BinaryIO = path.open("a+b")
        if self._stream.tell() < len(header):
            self._stream.truncate(0)
            self._append(header)
        self._synced = time.monotonic()
        self._begin = len(header)

    def __exit__(self, *_error: object) -> None:
        with self._stream:
            os.fsync(self._stream.fileno())

    def records(self) -> Iterator[tuple[int, bytes]]:
        """Yield the index and the data of each finished block; drop what follows the last whole record."""
        self._stream.seek(self._begin)
        end = self._begin
        while len(head := self._stream.read(_RECORD.size)) == _RECORD.size:
            index, length, crc = _RECORD.unpack(head)
            data = self._stream.read(length)
            if len(data) < length or _crc(index, data) != crc:
                break
            end = self._stream.tell()
            yield index, data
            self._stream.seek(end)
        self._stream.truncate(end)

    def write(self, index: int, data: bytes) -> None:
        """Append the data of a block. Every half a second, and at the end, wait until all is on disk."""
        self._append(_RECORD.pack(index, len(data), _crc(index, data)) + data)
        if time.monotonic() > self._synced + _SYNC_S:
            os.fsync(self._stream.fileno())
            self._synced = time.monotonic()

    def _append(self, content: bytes) -> None:
        self._stream.seek(0, os.SEEK_END)
        self._stream.write(content)
        self._stream.flush()


def _crc(index: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(index.to_bytes(4, "little")))


def _check_header(path: Path, expected: bytes) -> None:
    """Raise OutputError if a journal has another header; one that is cut short is that of a process that was killed."""
    with path.open("rb") as stream:
        found = stream.readline(_MAX_HEADER_BYTES)
    if found != expected and not expected.startswith(found):
        raise OutputError(
            f"{path} is the journal of another map: the raster, the bundle, the device or an option has changed since "
            "it was begun; repeat the first command with --resume, or start again with --overwrite"
        )
