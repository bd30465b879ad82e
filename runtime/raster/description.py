"""Describe a raster in the record of what is made from it."""

from pathlib import Path

from overfly.runtime.files.hashing import sha256_files
from overfly.runtime.files.names import utf8_text
from overfly.runtime.raster.record import RasterRecord
from overfly.runtime.raster.source import RasterSource


def hashed_files(source: RasterSource) -> list[Path]:
    """Return the files of an open raster in the order in which they are hashed."""
    # The raster itself first, the others by their names: GDAL may list them in any order.
    return sorted(source.files, key=lambda file: (file != source.path, file.name))


def describe_raster(source: RasterSource) -> RasterRecord:
    """Return the record of an open raster; all its files are hashed."""
    return RasterRecord(
        path=utf8_text(source.path.absolute()),
        sha256=sha256_files(hashed_files(source)),
        width=source.width,
        height=source.height,
        crs=None if source.crs is None else source.crs.to_string(),
        transform=tuple(source.transform)[:6],
    )
