"""The files of a raster that decide what is read of it.

Programs write files next to a raster that change nothing: reduced copies, and an ``.aux.xml`` with statistics. They
must not make it another raster. But an ``.aux.xml`` can also hold a CRS, coordinates, a nodata value or a palette.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree as ET

# Reduced copies of the image or of its mask. Every pixel is read at its own resolution.
_OVERVIEWS = ".ovr"
_PAM = ".aux.xml"
_METADATA = "Metadata"
# What a PAM file (GDAL's name for an ``.aux.xml``) says of a raster that no pixel, place or mask depends on.
_REMARKS = {
    "CategoryNames",
    "Description",
    "GDALRasterAttributeTable",
    "Histograms",
    "Maximum",
    "Minimum",
    "Offset",
    "Scale",
    "UnitType",
    _METADATA,
}
# The metadata with the number of bits of the values.
_STRUCTURE = "IMAGE_STRUCTURE"


def deciding_files(files: Iterable[Path]) -> dict[Path, str | None]:
    """Return the files of a raster that decide its pixels, its place, or what is missing in it.

    Parameters
    ----------
    files
        All files that it consists of.

    Returns
    -------
    dict
        The files in the same order. Of an ``.aux.xml``, the SHA-256 of the part that matters; None for other files,
        which matter as a whole.

    Raises
    ------
    OSError
        If an ``.aux.xml`` can't be read.
    """
    names = tuple(files)
    found: dict[Path, str | None] = {}
    for file in names:
        if _is_beside(file, _OVERVIEWS, names):
            continue
        if not _is_beside(file, _PAM, names):
            found[file] = None
        elif content := _without_remarks(file.read_bytes()):
            found[file] = hashlib.sha256(content).hexdigest()
    return found


def _is_beside(file: Path, ending: str, files: Iterable[Path]) -> bool:
    """Whether a file has the name of another one and this ending."""
    return file.name.lower().endswith(ending) and file.with_name(file.name[: -len(ending)]) in files


def _without_remarks(content: bytes) -> bytes:
    """Return the part of a PAM file that matters, which may be empty; all of a file that is no XML."""
    try:
        root = ET.fromstring(content)  # noqa: S314 - expat expands no external entity, and limits the others
    except ET.ParseError:
        return content
    for element in (root, *root.iter("PAMRasterBand")):
        for child in list(element):
            if child.tag in _REMARKS and child.get("domain") != _STRUCTURE:
                element.remove(child)
    for band in root.findall("PAMRasterBand"):
        if not len(band):
            root.remove(band)
    if not len(root):
        return b""
    for element in root.iter():
        element.tail = None
        element.text = (element.text or "").strip()
    return ET.tostring(root)
