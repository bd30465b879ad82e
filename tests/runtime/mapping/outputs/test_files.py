"""The files of a map say the same as its probabilities, also to the programs of GDAL."""

import json
import re
import subprocess

import numpy as np
import pytest
import rasterio

from overfly.runtime.mapping.outputs.files import MapContent, write_outputs
from overfly.runtime.mapping.outputs.palette import class_colors
from overfly.runtime.mapping.sums import NO_DATA, ONE


def content_of(values, classes, place):
    n_rows, n_columns, _ = values.shape
    return MapContent(
        title="field",
        classes=classes,
        place=place,
        probabilities=values,
        areas=np.full((n_rows, n_columns), 10_000.0),
        inside=None,
        min_probability=0.0,
        picture=np.zeros((2 * n_rows, 2 * n_columns, 3), np.uint8),
        cell_m=(100.0, 100.0),
    )


@pytest.mark.parametrize("n_classes", [3, 300])
def test_rasters_agree(place, tmp_path, n_classes):
    rng = np.random.default_rng(0)
    values = rng.integers(0, ONE, (5, 6, n_classes), np.uint16)
    values[0, 0] = NO_DATA
    classes = tuple(f"class {i}" for i in range(n_classes))
    stages = []
    figures, n_empty, names = write_outputs(
        tmp_path, content_of(values, classes, place), lambda *stage: stages.append(stage)
    )
    assert set(names) == {path.name for path in tmp_path.iterdir()}
    assert set(stages) == {(f"writing {name}", done, 1) for name in names for done in (0, 1)}
    assert n_empty == 1
    assert sum(row.cells for row in figures) == 29
    with rasterio.open(tmp_path / "probabilities.tif") as dataset:
        assert dataset.descriptions == classes
        assert dataset.nodata == NO_DATA
        probabilities = dataset.read()
    with rasterio.open(tmp_path / "class.tif") as dataset:
        indices, filled = dataset.read(1), dataset.read_masks(1) > 0
        assert dataset.transform == place.transform
    with rasterio.open(tmp_path / "confidence.tif") as dataset:
        confidence = dataset.read(1)
    assert filled.sum() == 29
    np.testing.assert_array_equal(indices[filled], probabilities.argmax(axis=0)[filled])
    np.testing.assert_array_equal(confidence, probabilities.max(axis=0))


@pytest.fixture(scope="module")
def files(tmp_path_factory, place):
    """The files of a map of 700 x 600 cells: three classes side by side, and an empty cell."""
    folder = tmp_path_factory.mktemp("map")
    values = np.zeros((600, 700, 3), np.uint16)
    values[:, np.arange(700), np.arange(700) // 300] = ONE
    values[0, 0] = NO_DATA
    write_outputs(folder, content_of(values, ("beach", "forêt", "harbor"), place), lambda *_: None)
    return folder


def run(program, *arguments):
    """Return what a program of GDAL prints about a file."""
    done = subprocess.run([program, *map(str, arguments)], capture_output=True, check=True)
    assert not done.stderr
    return done.stdout.decode()


def describe(path):
    return json.loads(run("gdalinfo", "-json", path))


@pytest.mark.gdal
class TestGdal:
    def test_class_tif(self, files):
        found = describe(files / "class.tif")
        (band,) = found["bands"]
        assert found["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
        assert found["geoTransform"] == [500_000, 100, 0, 5_000_000, 0, -100]
        assert '"EPSG",32632' in found["coordinateSystem"]["wkt"]
        assert (band["type"], band["noDataValue"], band["description"]) == ("Byte", 255, "class")
        assert band["overviews"] == [{"size": [350, 300]}]
        assert band["categories"] == ["beach", "forêt", "harbor"]
        colors = [[*color, 255] for color in class_colors(3)]
        assert band["colorTable"]["entries"][:3] == colors
        assert [field["name"] for field in found["rat"]["fieldDefn"]] == [
            "Value",
            "Count",
            "Class",
            "Red",
            "Green",
            "Blue",
        ]
        assert [row["f"] for row in found["rat"]["row"]] == [
            [0, 179_999, "beach", *colors[0][:3]],
            [1, 180_000, "forêt", *colors[1][:3]],
            [2, 60_000, "harbor", *colors[2][:3]],
        ]

    def test_confidence_tif(self, files):
        found = describe(files / "confidence.tif")
        (band,) = found["bands"]
        assert found["metadata"]["IMAGE_STRUCTURE"]["LAYOUT"] == "COG"
        assert (band["type"], band["noDataValue"], band["description"]) == ("UInt16", NO_DATA, "confidence")
        assert band["scale"] == pytest.approx(1 / ONE)
        assert band["overviews"] == [{"size": [350, 300]}]

    def test_probabilities_tif(self, files):
        bands = describe(files / "probabilities.tif")["bands"]
        assert [band["description"] for band in bands] == ["beach", "forêt", "harbor"]
        assert {(band["type"], band["noDataValue"]) for band in bands} == {("UInt16", NO_DATA)}

    def test_preview_png(self, files):
        found = describe(files / "preview.png")
        assert found["driverShortName"] == "PNG"
        assert len(found["bands"]) == 3

    def test_map_gpkg(self, files):
        text = run("ogrinfo", "-so", files / "map.gpkg", "map")
        assert "Geometry: Polygon" in text
        assert "Feature Count: 3" in text
        assert "Extent: (500000.000000, 4940000.000000) - (570000.000000, 5000000.000000)" in text
        assert 'ID["EPSG",32632]]' in text
        assert re.findall(r"^(\w+): (\w+) \(", text, re.MULTILINE) == [
            ("class", "String"),
            ("class_index", "Integer"),
            ("cells", "Integer64"),
            ("area_m2", "Real"),
            ("mean_probability", "Real"),
        ]

    def test_areas_csv(self, files):
        text = run("ogrinfo", "-q", files / "areas.csv", "areas")
        assert re.findall(r"^  (\w+) \(String\) = (.*)$", text, re.MULTILINE)[:5] == [
            ("class", "beach"),
            ("cells", "179999"),
            ("area_m2", "1799990000.0"),
            ("share", "0.428570"),
            ("mean_probability", "1.0000"),
        ]
