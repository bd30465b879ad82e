"""The files that GDAL opens because another file names them, or because they are next to it.

What is not known to be harmless is refused. GDAL's XML is not quite that of the standard: names may be in upper or
lower case, and a comment ends a text. So a VRT that the two could understand differently is refused as well.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import rasterio
from rasterio.errors import RasterioError

from overfly.runtime.cluster.formats import FORMATS
from overfly.runtime.errors import RasterError
from overfly.runtime.files.names import utf8_text

# As much of a file as GDAL looks at to recognize a VRT, and what it looks for.
_HEAD_BYTES = 1024
_VRT = b"<VRTDataset"
# Files next to a raster that belong to it, whatever their case. Anything that GDAL reads may be in the first two.
_BESIDE = (".msk", ".ovr", ".aux.xml")
_PAM = ".aux.xml"
# The item in the metadata of a raster that names a file of reduced copies.
_OVERVIEWS = "OVERVIEW_FILE"

_FILES = {"SourceFilename", "SourceDataset"}
# What else a VRT may consist of. Below the last ones may be anything: GDAL only keeps it.
_HARMLESS = """
    VRTDataset VRTRasterBand SRS GeoTransform GCPList GCP ColorInterp NoDataValue HideNoDataValue Description UnitType
    Offset Scale ColorTable Entry BlockXSize BlockYSize MaskBand Overview OverviewList SimpleSource ComplexSource
    AveragedSource NoDataFromMaskSource KernelFilteredSource SourceBand SourceProperties SrcRect DstRect NODATA
    UseMaskBand ScaleOffset ScaleRatio ColorTableComponent LUT Exponent SrcMin SrcMax DstMin DstMax Clamp Kernel Size
    Coefs MaskValueThreshold RemappedValue GDALWarpOptions WarpMemoryLimit ResampleAlg WorkingDataType Option BandList
    BandMapping SrcNoDataReal SrcNoDataImag DstNoDataReal DstNoDataImag SrcAlphaBand DstAlphaBand Cutline
    CutlineBlendDist Transformer ApproxTransformer MaxError BaseTransformer GenImgProjTransformer SrcGeoTransform
    SrcInvGeoTransform DstGeoTransform DstInvGeoTransform SrcGCPTransformer GCPTransformer Order Reversed Options
    ReprojectTransformer ReprojectionTransformer SourceSRS TargetSRS SourceCRS TargetCRS
"""
_ATTRIBUTES = """
    RasterXSize RasterYSize subClass dataType band BlockXSize BlockYSize relativeToVRT shared dataAxisToSRSAxisMapping
    coordinateEpoch xOff yOff xSize ySize c1 c2 c3 c4 resampling normalized name key Id Info Pixel Line X Y Z Projection
    min max value src dst
"""
_ONLY_KEPT = {"Metadata", "Histograms", "CategoryNames", "GDALRasterAttributeTable"}
_KNOWN_TAGS = _FILES.union(_HARMLESS.split())
_KNOWN_ATTRIBUTES = set(_ATTRIBUTES.lower().split())
# Names that GDAL does not take as the path of a file: those with the prefix of a driver, and data instead of a name.
_NO_PATH = re.compile(r"\w{2,}:|[<{]")


def referenced_files(path: Path) -> list[Path]:
    """Return the files that GDAL may open with a file; they may be missing.

    Parameters
    ----------
    path
        A raster, or what belongs to one; without links.

    Raises
    ------
    RasterError
        If it may refer to files in a way that is not known here.
    OSError
        If it can't be read.
    """
    with path.open("rb") as stream:
        content = stream.read(_HEAD_BYTES)
        is_vrt = _VRT in content
        if not is_vrt and not path.name.lower().endswith(_PAM):
            _check_format(path)
            return []
        root = _parse(path, content + stream.read())
    _check_metadata(path, root)
    return [_source(path, node) for node in _harmless_nodes(path, root) if node.tag in _FILES] if is_vrt else []


def files_beside(folder: Path) -> dict[str, list[Path]]:
    """Return the files in a folder that belong to others there, by the name of the other file in lower case."""
    found: dict[str, list[Path]] = {}
    for file in folder.iterdir():
        name = file.name.lower()
        for ending in _BESIDE:
            if name.endswith(ending):
                found.setdefault(name.removesuffix(ending), []).append(file)
    return found


def _parse(path: Path, content: bytes) -> ET.Element:
    """Return XML that GDAL and the standard understand in the same way."""
    text = content.decode("utf-8-sig", "replace")
    if "<!" in text or "<?" in text.removeprefix("<?xml "):
        raise RasterError(f"{path} has a comment or a declaration, which GDAL may understand otherwise: remove it")
    try:
        return ET.fromstring(text)  # noqa: S314 - without declarations there are no entities
    except (ET.ParseError, ValueError) as error:
        raise RasterError(f"{path} is no valid XML ({error}): write it again") from error


def _check_metadata(path: Path, root: ET.Element) -> None:
    """Raise RasterError if the metadata of a raster name a file of reduced copies."""
    if any(_OVERVIEWS in value.upper() for node in root.iter() for value in node.attrib.values()):
        raise RasterError(f"{path} names a file of reduced copies ({_OVERVIEWS}): remove that from its metadata")


def _harmless_nodes(path: Path, node: ET.Element) -> Iterator[ET.Element]:
    """Yield a node of a VRT and those below it; raise RasterError if one is unknown."""
    if node.tag in _ONLY_KEPT:
        return
    if node.tag not in _KNOWN_TAGS:
        raise RasterError(f"{path} has a part {node.tag}, which may refer to other files: write a VRT without it")
    if unknown := [name for name in node.attrib if name.lower() not in _KNOWN_ATTRIBUTES]:
        raise RasterError(f"{path} has an attribute {unknown[0]} of unknown meaning: write a VRT without it")
    yield node
    for child in node:
        yield from _harmless_nodes(path, child)


def _source(path: Path, node: ET.Element) -> Path:
    """Return the file that a node of a VRT names."""
    name = node.text or ""
    # GDAL's own spelling is relativetoVRT as well.
    relative = {value for key, value in node.attrib.items() if key.lower() == "relativetovrt"} or {"0"}
    if relative not in ({"0"}, {"1"}):
        raise RasterError(f"{path} has a name that is relative to {' and '.join(relative)}, expected 0 or 1")
    if name != name.strip() or len(node) or (_NO_PATH.match(name) and not Path(name).drive):
        raise RasterError(f"{path} refers to {name!r}, which is no path of a file: extract it to one")
    if relative == {"1"}:
        return path.parent / name
    if not Path(name).is_absolute():
        raise RasterError(f'{path} refers to {name}, which depends on the working folder: add relativeToVRT="1"')
    return Path(name)


def _check_format(path: Path) -> None:
    """Raise RasterError unless a file is of a format that refers to no other file."""
    try:
        with rasterio.open(path) as dataset:
            found, names = dataset.driver, dataset.tags(ns="OVERVIEWS")
    except RasterioError as error:
        reason = utf8_text(error).splitlines()[0]
        raise RasterError(f"a worker can't open {path} ({reason}): {_remedy()}") from error
    if found not in FORMATS or found == "VRT":
        raise RasterError(f"{path} has the format {found}, which may refer to other files: {_remedy()}")
    if names:
        raise RasterError(f"{path} names a file of reduced copies ({_OVERVIEWS}): remove that from its metadata")


def _remedy() -> str:
    return "convert it to GeoTIFF, or map it without --scheduler"
