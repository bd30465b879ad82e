"""Several rasters of one grid as a single one: a VRT, which GDAL's programs and QGIS open as well."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import rasterio
from rasterio import Affine
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.errors import RasterioError

from overfly.runtime.errors import RasterError
from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.files.names import utf8_text

# GDAL's names of the types that pixels have.
_TYPES = {
    "uint8": "Byte",
    "uint16": "UInt16",
    "int16": "Int16",
    "uint32": "UInt32",
    "int32": "Int32",
    "float32": "Float32",
    "float64": "Float64",
}
# In pixels: how far the grids of two rasters may be apart.
_MAX_SHIFT = 0.01
_VALID = 255


@dataclass(frozen=True, slots=True)
class _Tile:
    """A raster of the mosaic: its data set, and its first column and row in the mosaic."""

    path: Path
    dataset: Any
    column: int
    row: int


def write_mosaic(path: Path, rasters: Sequence[Path], *, ignore_nodata: bool) -> None:
    """Write a VRT that shows rasters side by side. Where they overlap, the last one that has a pixel there is on top.

    Parameters
    ----------
    path
        The VRT to write.
    rasters
        The rasters: of the same CRS, pixel size, grid, type and number of bands.
    ignore_nodata
        Whether the nodata values of the rasters mark nothing.

    Raises
    ------
    RasterError
        If a raster can't be opened, or differs from the first one.
    """
    with ExitStack() as stack:
        datasets = []
        for raster in rasters:
            try:
                datasets.append(stack.enter_context(rasterio.open(raster)))
            except RasterioError as error:
                raise RasterError(f"{raster} can't be opened as a raster ({error}): leave it out") from error
        first = datasets[0]
        for raster, dataset in zip(rasters, datasets, strict=True):
            _check_same_kind(raster, dataset, rasters[0], first)
        left, top = min(d.transform.c for d in datasets), max(d.transform.f for d in datasets)
        pixel = first.transform
        origin = Affine(pixel.a, 0, left, 0, pixel.e, top)
        tiles = []
        for raster, dataset in zip(rasters, datasets, strict=True):
            column, row = (dataset.transform.c - left) / pixel.a, (dataset.transform.f - top) / pixel.e
            if max(abs(column - round(column)), abs(row - round(row))) > _MAX_SHIFT:
                raise RasterError(
                    f"{raster} can't be merged: its pixels are between those of {rasters[0]}; bring both to one grid, "
                    "for example with gdalwarp -tap, or map them without --merge"
                )
            tiles.append(_Tile(raster.absolute(), dataset, round(column), round(row)))
        content = _describe(tiles, origin, ignore_nodata=ignore_nodata)
    write_atomically(path, ET.tostring(content, encoding="unicode").encode("utf-8", "surrogateescape"))


def _check_same_kind(path: Path, dataset: Any, first_path: Path, first: Any) -> None:  # noqa: ANN401 - rasterio has no stubs
    """Raise RasterError if two rasters can't be shown as one."""
    transform = dataset.transform
    problem = None
    if dataset.gcps[0] or transform.b or transform.d:
        problem = "it is rotated, or has ground control points"
    elif transform == Affine.identity():
        problem = "it has no coordinates"
    elif transform.a < 0 or transform.e > 0:
        problem = "its first row is the southern one, or its first column the eastern one"
    elif ColorInterp.palette in dataset.colorinterp:
        problem = "its values are numbers of a palette"
    if problem:
        raise RasterError(f"{path} can't be merged: {problem}; map it without --merge")
    for what, found, expected in (
        ("CRS", dataset.crs, first.crs),
        ("number of bands", dataset.count, first.count),
        ("type of values", dataset.dtypes[0], first.dtypes[0]),
    ):
        if found != expected:
            raise RasterError(
                f"{path} can't be merged: its {what} is {found}, and that of {first_path} is {expected}; map them "
                "without --merge"
            )
    size, expected_size = (transform.a, transform.e), (first.transform.a, first.transform.e)
    # The sides of the whole raster, in pixels of the first one.
    sides = [n * (a / b - 1) for n, a, b in zip((dataset.width, dataset.height), size, expected_size, strict=True)]
    if max(map(abs, sides)) > _MAX_SHIFT:
        raise RasterError(
            f"{path} can't be merged: its pixels have the size {size}, and those of {first_path} {expected_size}; map "
            "them without --merge"
        )
    if dataset.dtypes[0] not in _TYPES:
        raise RasterError(f"{path} can't be merged: its values are of the type {dataset.dtypes[0]}; convert it")


def _describe(tiles: Sequence[_Tile], origin: Affine, *, ignore_nodata: bool) -> ET.Element:
    """Return the VRT as XML."""
    first = tiles[0].dataset
    width = max(tile.column + tile.dataset.width for tile in tiles)
    height = max(tile.row + tile.dataset.height for tile in tiles)
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if first.crs:
        ET.SubElement(root, "SRS").text = first.crs.to_wkt()
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, map(float, origin.to_gdal())))
    # The mask stands for an alpha band.
    n_bands = first.count - (first.count > 1 and first.colorinterp[-1] == ColorInterp.alpha)
    for number in range(1, n_bands + 1):
        band = ET.SubElement(root, "VRTRasterBand", dataType=_TYPES[first.dtypes[0]], band=str(number))
        ET.SubElement(band, "ColorInterp").text = first.colorinterp[number - 1].name.capitalize()
        for tile in tiles:
            _add_source(band, tile, str(number), masked=not (ignore_nodata and _has_nodata_only(tile.dataset)))
    mask = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    for tile in tiles:
        if ignore_nodata and _has_nodata_only(tile.dataset):
            source = _add_source(mask, tile, "1", masked=False)
            ET.SubElement(source, "ScaleOffset").text = str(_VALID)
            ET.SubElement(source, "ScaleRatio").text = "0"
        else:
            _add_source(mask, tile, "mask,1", masked=True)
    return root


def _add_source(band: ET.Element, tile: _Tile, source_band: str, *, masked: bool) -> ET.Element:
    """Add a raster to a band; `masked` leaves what is below its missing pixels."""
    source = ET.SubElement(band, "ComplexSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = utf8_text(tile.path)
    ET.SubElement(source, "SourceBand").text = source_band
    width, height = str(tile.dataset.width), str(tile.dataset.height)
    ET.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=width, ySize=height)
    ET.SubElement(source, "DstRect", xOff=str(tile.column), yOff=str(tile.row), xSize=width, ySize=height)
    if masked:
        ET.SubElement(source, "UseMaskBand").text = "true"
    return source


def _has_nodata_only(dataset: Any) -> bool:  # noqa: ANN401 - rasterio has no stubs
    """Whether nothing but a nodata value marks missing pixels."""
    flags = {flag for band in dataset.mask_flag_enums for flag in band}
    return MaskFlags.nodata in flags and flags <= {MaskFlags.nodata, MaskFlags.all_valid}
