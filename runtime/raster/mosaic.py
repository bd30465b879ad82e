"""Several rasters of one grid as a single one: a VRT, which GDAL's programs and QGIS open as well."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import rasterio
from rasterio import Affine
from rasterio.crs import CRS
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tile:
    """A raster of the mosaic. Its file is closed again: there may be more of them than a process may open.

    Attributes
    ----------
    path
        The file.
    width, height
        In pixels.
    crs, transform
        Where it is.
    dtype
        NumPy's name for the type of its values.
    colors
        What each band is.
    has_points
        Whether it has ground control points.
    has_nodata_only
        Whether nothing but a nodata value marks missing pixels.
    """

    path: Path
    width: int
    height: int
    crs: CRS | None
    transform: Affine
    dtype: str
    colors: tuple[ColorInterp, ...]
    has_points: bool
    has_nodata_only: bool


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
    tiles = [_read_tile(raster) for raster in rasters]
    first = tiles[0]
    for tile in tiles:
        _check_same_kind(tile, first)
    left, top = min(tile.transform.c for tile in tiles), max(tile.transform.f for tile in tiles)
    origin = Affine(first.transform.a, 0, left, 0, first.transform.e, top)
    content = _describe(tiles, origin, [_place(tile, first, origin) for tile in tiles], ignore_nodata=ignore_nodata)
    write_atomically(path, ET.tostring(content, encoding="unicode").encode("utf-8", "surrogateescape"))


def _read_tile(path: Path) -> _Tile:
    """Return what the mosaic needs to know of a raster."""
    try:
        with rasterio.open(path) as dataset:
            flags = {flag for band in dataset.mask_flag_enums for flag in band}
            return _Tile(
                path=path,
                width=dataset.width,
                height=dataset.height,
                crs=dataset.crs or None,
                transform=dataset.transform,
                dtype=dataset.dtypes[0],
                colors=tuple(dataset.colorinterp),
                has_points=bool(dataset.gcps[0]),
                has_nodata_only=MaskFlags.nodata in flags and flags <= {MaskFlags.nodata, MaskFlags.all_valid},
            )
    except RasterioError as error:
        raise RasterError(f"{path} can't be opened as a raster ({error}): leave it out") from error


def _check_same_kind(tile: _Tile, first: _Tile) -> None:
    """Raise RasterError if two rasters can't be shown as one."""
    path, transform = tile.path, tile.transform
    problem = None
    if tile.has_points or transform.b or transform.d:
        problem = "it is rotated, or has ground control points"
    elif transform == Affine.identity():
        problem = "it has no coordinates"
    elif transform.a < 0 or transform.e > 0:
        problem = "its first row is the southern one, or its first column the eastern one"
    elif ColorInterp.palette in tile.colors:
        problem = "its values are numbers of a palette"
    if problem:
        raise RasterError(f"{path} can't be merged: {problem}; map it without --merge")
    for what, found, expected in (
        ("CRS", tile.crs, first.crs),
        ("number of bands", len(tile.colors), len(first.colors)),
        ("type of values", tile.dtype, first.dtype),
    ):
        if found != expected:
            raise RasterError(
                f"{path} can't be merged: its {what} is {found}, and that of {first.path} is {expected}; map them "
                "without --merge"
            )
    size, expected_size = (transform.a, transform.e), (first.transform.a, first.transform.e)
    # The sides of the whole raster, in pixels of the first one.
    sides = [n * (a / b - 1) for n, a, b in zip((tile.width, tile.height), size, expected_size, strict=True)]
    if max(map(abs, sides)) > _MAX_SHIFT:
        raise RasterError(
            f"{path} can't be merged: its pixels have the size {size}, and those of {first.path} {expected_size}; map "
            "them without --merge"
        )
    if tile.dtype not in _TYPES:
        raise RasterError(f"{path} can't be merged: its values are of the type {tile.dtype}; convert it")


def _place(tile: _Tile, first: _Tile, origin: Affine) -> tuple[int, int]:
    """Return the first column and row of a raster in the mosaic."""
    column, row = ~origin @ (tile.transform.c, tile.transform.f)
    if max(abs(column - round(column)), abs(row - round(row))) > _MAX_SHIFT:
        raise RasterError(
            f"{tile.path} can't be merged: its pixels are between those of {first.path}; bring both to one grid, for "
            "example with gdalwarp -tap, or map them without --merge"
        )
    return round(column), round(row)


def _describe(
    tiles: Sequence[_Tile], origin: Affine, places: Sequence[tuple[int, int]], *, ignore_nodata: bool
) -> ET.Element:
    """Return the VRT as XML."""
    first = tiles[0]
    width = max(column + tile.width for tile, (column, _) in zip(tiles, places, strict=True))
    height = max(row + tile.height for tile, (_, row) in zip(tiles, places, strict=True))
    root = ET.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    if first.crs:
        ET.SubElement(root, "SRS").text = first.crs.to_wkt()
    ET.SubElement(root, "GeoTransform").text = ", ".join(map(repr, map(float, origin.to_gdal())))
    # The mask stands for an alpha band.
    n_bands = len(first.colors) - (len(first.colors) > 1 and first.colors[-1] == ColorInterp.alpha)
    for number in range(1, n_bands + 1):
        band = ET.SubElement(root, "VRTRasterBand", dataType=_TYPES[first.dtype], band=str(number))
        ET.SubElement(band, "ColorInterp").text = first.colors[number - 1].name.capitalize()
        for tile, place in zip(tiles, places, strict=True):
            _add_source(band, tile, place, str(number), masked=not (ignore_nodata and tile.has_nodata_only))
    mask = ET.SubElement(ET.SubElement(root, "MaskBand"), "VRTRasterBand", dataType="Byte")
    for tile, place in zip(tiles, places, strict=True):
        if ignore_nodata and tile.has_nodata_only:
            source = _add_source(mask, tile, place, "1", masked=False)
            ET.SubElement(source, "ScaleOffset").text = str(_VALID)
            ET.SubElement(source, "ScaleRatio").text = "0"
        else:
            _add_source(mask, tile, place, "mask,1", masked=True)
    return root


def _add_source(band: ET.Element, tile: _Tile, place: tuple[int, int], source_band: str, *, masked: bool) -> ET.Element:
    """Add a raster to a band; `masked` leaves what is below its missing pixels."""
    source = ET.SubElement(band, "ComplexSource")
    ET.SubElement(source, "SourceFilename", relativeToVRT="0").text = utf8_text(tile.path.absolute())
    ET.SubElement(source, "SourceBand").text = source_band
    width, height = str(tile.width), str(tile.height)
    ET.SubElement(source, "SrcRect", xOff="0", yOff="0", xSize=width, ySize=height)
    ET.SubElement(source, "DstRect", xOff=str(place[0]), yOff=str(place[1]), xSize=width, ySize=height)
    if masked:
        ET.SubElement(source, "UseMaskBand").text = "true"
    return source
