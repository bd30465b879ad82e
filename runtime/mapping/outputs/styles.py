"""Names and colors of the classes for other programs: GDAL's side file and QGIS's style."""

from collections.abc import Sequence
from xml.etree import ElementTree as ET

from overfly.runtime.mapping.outputs.palette import Color

# GDAL's numbers for the types and the uses of columns (GDALRATFieldType, GDALRATFieldUsage).
_INTEGER, _REAL, _STRING = "0", "1", "2"
_GENERIC, _PIXEL_COUNT, _NAME, _MIN_MAX, _RED, _GREEN, _BLUE = "0", "1", "2", "5", "6", "7", "8"


def attribute_table(classes: Sequence[str], colors: Sequence[Color], counts: Sequence[int]) -> bytes:
    """Return the ``.aux.xml`` of a class raster: a raster attribute table and the names of the categories.

    rasterio can't write attribute tables. The form is that of GDAL's PAM files.

    Parameters
    ----------
    classes, colors, counts
        Name, color and number of cells of each class.
    """
    root = ET.Element("PAMDataset")
    band = ET.SubElement(root, "PAMRasterBand", band="1")
    names = ET.SubElement(band, "CategoryNames")
    for name in classes:
        ET.SubElement(names, "Category").text = name
    table = ET.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    columns = [
        ("Value", _INTEGER, _MIN_MAX),
        ("Count", _REAL, _PIXEL_COUNT),
        ("Class", _STRING, _NAME),
        ("Red", _INTEGER, _RED),
        ("Green", _INTEGER, _GREEN),
        ("Blue", _INTEGER, _BLUE),
    ]
    for i, (name, kind, usage) in enumerate(columns):
        column = ET.SubElement(table, "FieldDefn", index=str(i))
        for tag, text in (("Name", name), ("Type", kind), ("Usage", usage)):
            ET.SubElement(column, tag).text = text
    for i, (name, color, count) in enumerate(zip(classes, colors, counts, strict=True)):
        row = ET.SubElement(table, "Row", index=str(i))
        for value in (i, count, name, *color):
            ET.SubElement(row, "F").text = str(value)
    return _to_bytes(root)


def qgis_style(classes: Sequence[str], colors: Sequence[Color]) -> bytes:
    """Return the ``.qml`` with which QGIS shows a class raster: the name and the color of each class."""
    root = ET.Element("qgis", version="3.22.0", styleCategories="Symbology")
    pipe = ET.SubElement(root, "pipe")
    renderer = ET.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    palette = ET.SubElement(renderer, "colorPalette")
    for value, (name, color) in enumerate(zip(classes, colors, strict=True)):
        text = "#{:02x}{:02x}{:02x}".format(*color)
        ET.SubElement(palette, "paletteEntry", value=str(value), label=name, color=text, alpha="255")
    ET.SubElement(pipe, "brightnesscontrast", brightness="0", contrast="0", gamma="1")
    ET.SubElement(pipe, "huesaturation", saturation="0", colorizeOn="0", grayscaleMode="0")
    ET.SubElement(pipe, "rasterresampler", maxOversampling="2")
    ET.SubElement(root, "blendMode").text = "0"
    return b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + _to_bytes(root)


def _to_bytes(root: ET.Element) -> bytes:
    ET.indent(root)
    return ET.tostring(root, encoding="unicode").encode() + b"\n"
