"""Write scenes as GeoTIFFs, and their footprints as a GeoPackage."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.raster.geopackage import geopackage
from overfly.runtime.raster.scale import project, transform_points

_LONGITUDE_LATITUDE = "EPSG:4326"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A scene that was cut from a raster.

    Attributes
    ----------
    name
        Path below the data folder, with forward slashes.
    label
        Name of its class.
    raster
        Index of the raster.
    index
        Index of its window in the raster.
    sha256
        Of its file.
    """

    name: str
    label: str
    raster: int
    index: int
    sha256: str


def write_chip(
    path: Path,
    pixels: npt.NDArray[np.uint8],
    *,
    crs: CRS | None,
    transform: Affine,
    tags: dict[str, str],
) -> str:
    """Write a scene as a GeoTIFF, and return the SHA-256 of the file.

    Parameters
    ----------
    path
        The file.
    pixels
        uint8, shape ``[H, W, 3]``, RGB.
    crs, transform
        The place of the scene.
    tags
        Texts to store in the file, by name.
    """
    height, width, count = pixels.shape
    with rasterio.MemoryFile() as memory:
        with memory.open(
            driver="GTiff",
            dtype="uint8",
            count=count,
            height=height,
            width=width,
            crs=crs,
            transform=transform,
            photometric="RGB",
            interleave="pixel",
            compress="deflate",
        ) as dataset:
            dataset.write(np.ascontiguousarray(pixels.transpose(2, 0, 1)))
            dataset.update_tags(**tags)
        content = memory.read()
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def write_footprints(
    path: Path, corners: Sequence[npt.NDArray[np.float64]], crs: Sequence[CRS], columns: dict[str, Sequence[object]]
) -> None:
    """Write the footprints of scenes as polygons, in their CRS or, if they have several, as longitude and latitude.

    Parameters
    ----------
    path
        The GeoPackage.
    corners
        For each scene, shape ``[4, 2]``.
    crs
        For each scene, that of its raster.
    columns
        For each column of the table, its name and the value for each scene.
    """
    is_same = all(each == crs[0] for each in crs)
    target = crs[0] if is_same else CRS.from_string(_LONGITUDE_LATITUDE)
    moved = [
        outline if is_same else np.stack(project(each, target, *outline.T), axis=1)
        for outline, each in zip(corners, crs, strict=True)
    ]
    content = geopackage(
        shapely.polygons(np.array(moved)),
        {name: np.array(values, object) for name, values in columns.items()},
        layer=path.stem,
        crs=target,
    )
    write_atomically(path, content)


def window_transform(transform: Affine, column: int, row: int) -> Affine:
    """Return the transform of a part of a raster that starts at a pixel."""
    (x,), (y,) = transform_points(transform, np.array([float(column)]), np.array([float(row)]))
    return Affine(transform.a, transform.b, float(x), transform.d, transform.e, float(y))
