"""Describe a raster in the record of what is made from it."""

from collections.abc import Iterable
from pathlib import Path

from overfly.runtime.files.hashing import combine_hashes, sha256_file
from overfly.runtime.files.names import utf8_text
from overfly.runtime.raster.record import RasterRecord
from overfly.runtime.raster.side_files import deciding_files
from overfly.runtime.raster.source import RasterSource


def describe_raster(source: RasterSource) -> RasterRecord:
    """Return the record of an open raster; the files that decide what is read of it are hashed."""
    return RasterRecord(
        path=utf8_text(source.path.absolute()),
        sha256=hash_raster(source),
        width=source.width,
        height=source.height,
        crs=None if source.crs is None else source.crs.to_string(),
        transform=tuple(source.transform)[:6],
    )


def hash_raster(source: RasterSource) -> str:
    """Return the SHA-256 of the files that decide what is read of a raster."""
    files = deciding_files(source.files)
    # The raster itself first, the others by their names: GDAL may list them in any order.
    ordered = sorted(files, key=lambda file: (file != source.path, file.name))
    return combine_hashes([files[file] or sha256_file(file) for file in ordered])


def file_states(files: Iterable[Path]) -> dict[Path, str]:
    """Return a text for each of a raster's files that decides what is read: it is another one if the file has changed.

    It has the size of the file and the time of its last change, because hashing a large file takes minutes.
    """
    return {file: part or _size_and_time(file) for file, part in deciding_files(files).items()}


def _size_and_time(file: Path) -> str:
    try:
        found = file.stat()
    except FileNotFoundError:
        return "missing"
    return f"{found.st_size} bytes, {found.st_mtime_ns} ns"
