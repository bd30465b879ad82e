"""Write arrays as GeoTIFF, in memory first: the bytes are then written atomically, and a full disk is noticed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.io import MemoryFile
from rasterio.shutil import copy as copy_raster

from overfly.runtime.mapping.outputs.palette import Color


@dataclass(frozen=True, slots=True, kw_only=True)
class MapPlace:
    """Where the cells of a map are: the CRS, None without one, and the transform from (column, row)."""

    crs: CRS | None
    transform: Affine


def geotiff(
    bands: npt.NDArray[Any],
    place: MapPlace,
    *,
    nodata: float,
    descriptions: Sequence[str],
    scale: float = 1.0,
    tags: dict[str, str] | None = None,
    colors: Sequence[Color] | None = None,
) -> MemoryFile:
    """Return a GeoTIFF with deflate compression, in memory.

    Parameters
    ----------
    bands
        Shape ``[n_bands, n_rows, n_columns]``.
    place
        Where the cells are.
    nodata
        The value of empty cells.
    descriptions
        A name for each band.
    scale
        What a value is to be multiplied by to get what it means.
    tags
        Metadata of the file.
    colors
        The color of each value of the first band, from 0 on.
    """
    n_bands, n_rows, n_columns = bands.shape
    memory = MemoryFile()
    with memory.open(
        driver="GTiff",
        dtype=bands.dtype.name,
        count=n_bands,
        height=n_rows,
        width=n_columns,
        crs=place.crs,
        transform=place.transform,
        nodata=nodata,
        compress="deflate",
        predictor=1 if colors else 2,
        tiled=True,
        blockxsize=256,
        blockysize=256,
        interleave="band",
    ) as target:
        target.write(bands)
        target.descriptions = descriptions
        target.scales = [scale] * n_bands
        target.update_tags(**(tags or {}))
        if colors:
            target.write_colormap(1, {value: (*color, 255) for value, color in enumerate(colors)})
    return memory


def cloud_optimized(memory: MemoryFile, *, resampling: str) -> bytes:
    """Return a GeoTIFF as cloud-optimized GeoTIFF, which can only be written by copying another raster.

    Parameters
    ----------
    memory
        From `geotiff`.
    resampling
        How the overviews are made, in GDAL's words: ``MODE`` for classes, ``AVERAGE`` for numbers.
    """
    with MemoryFile() as target, rasterio.open(memory.name) as source:
        copy_raster(
            source,
            target.name,
            driver="COG",
            compress="DEFLATE",
            overviews="IGNORE_EXISTING",
            overview_resampling=resampling,
            # One thread: the order of the tiles, and so the bytes, must not depend on the machine.
            num_threads="1",
            statistics="NO",
        )
        return bytes(target.getbuffer())


def as_bands(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return values of shape ``[n_rows, n_columns, n_bands]`` as ``[n_bands, n_rows, n_columns]``."""
    return np.ascontiguousarray(values.transpose(2, 0, 1))
