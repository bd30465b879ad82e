"""Other programs find names and colors: GDAL in the side file, QGIS in the style."""

from xml.etree import ElementTree as ET

import numpy as np
import rasterio

from overfly.runtime.mapping.outputs.geotiff import geotiff
from overfly.runtime.mapping.outputs.styles import attribute_table, qgis_style

COLORS = [(1, 2, 3), (4, 5, 6), (255, 128, 0)]


def test_gdal_reads_the_attribute_table(place, classes, tmp_path):
    path = tmp_path / "class.tif"
    with geotiff(np.zeros((1, 2, 2), np.uint8), place, nodata=255, descriptions=["class"]) as memory:
        path.write_bytes(bytes(memory.getbuffer()))
    content = attribute_table(("a & b", *classes[1:]), COLORS, [5, 0, 7])
    path.with_name("class.tif.aux.xml").write_bytes(content)
    with rasterio.open(path) as dataset:
        assert len(dataset.files) == 2  # GDAL takes the side file for its own
    root = ET.fromstring(content)  # noqa: S314 - our own
    assert [item.text for item in root.iter("Category")] == ["a & b", "forest", "harbor"]
    rows = [[cell.text for cell in row] for row in root.iter("Row")]
    assert rows[2] == ["2", "7", "harbor", "255", "128", "0"]


def test_the_style_has_the_name_and_color_of_each_class(classes):
    content = qgis_style(classes, COLORS)
    assert content.startswith(b"<!DOCTYPE qgis")
    entries = list(ET.fromstring(content).iter("paletteEntry"))  # noqa: S314 - our own
    assert [(e.get("value"), e.get("label"), e.get("color")) for e in entries] == [
        ("0", "beach", "#010203"),
        ("1", "forest", "#040506"),
        ("2", "harbor", "#ff8000"),
    ]
