"""The trip from rasters to a map on real scenes: chips, train, export, map, as a user types it."""

import json

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from PIL import Image
from rasterio import Affine
from rasterio.crs import CRS

from overfly.cli import run
from overfly.runtime.classifier import Classifier
from overfly.runtime.raster.scale import project, transform_points

pytestmark = pytest.mark.real

SIDE = 256  # of a scene in pixels
PIXEL_M = 0.3048  # UC Merced: a foot
SCENE_M = SIDE * PIXEL_M
UTM = CRS.from_epsg(32611)
LONGITUDE_LATITUDE = CRS.from_epsg(4326)


class Field:
    """A raster of scenes side by side, at the central meridian of its projection, where the scale is 0.9996."""

    def __init__(self, folder, name, scenes, *, columns, northing):
        self.path, self.scenes, self.columns = folder / f"{name}.tif", scenes, columns
        self.rows = -(-len(scenes) // columns)
        step = PIXEL_M * 0.9996
        self.transform = Affine(step, 0, 500_000, 0, -step, northing)

    def write(self):
        shape = {"height": self.rows * SIDE, "width": self.columns * SIDE, "count": 3}
        place = {"crs": UTM, "transform": self.transform, "compress": "deflate", "tiled": True}
        with rasterio.open(self.path, "w", driver="GTiff", dtype="uint8", **shape, **place) as dataset:
            for number, scene in enumerate(self.scenes):
                row, column = divmod(number, self.columns)
                image = Image.open(scene).convert("RGB").resize((SIDE, SIDE))
                window = rasterio.windows.Window(column * SIDE, row * SIDE, SIDE, SIDE)
                dataset.write(np.asarray(image).transpose(2, 0, 1), window=window)

    def outlines(self):
        """Return the polygon of each scene in longitude and latitude."""
        polygons = []
        for number in range(len(self.scenes)):
            row, column = divmod(number, self.columns)
            x = np.array([column, column + 1, column + 1, column]) * float(SIDE)
            y = np.array([row, row, row + 1, row + 1]) * float(SIDE)
            corners = project(UTM, LONGITUDE_LATITUDE, *transform_points(self.transform, x, y))
            polygons.append(shapely.Polygon(np.stack(corners, axis=1)))
        return np.array(polygons)

    @property
    def classes(self):
        return [scene.parent.name for scene in self.scenes]


def make_trip(folder, data, weights, *, n_train, n_test, epochs):
    """Train on chips of one raster and map another one, of other scenes; return both rasters."""
    rng = np.random.default_rng(0)
    train, test = [], []
    for of_class in sorted(data.iterdir()):
        scenes = rng.permutation(sorted(of_class.iterdir()))[: n_train + n_test]
        train += list(scenes[:n_train])
        test += list(scenes[n_train:])
    fields = [
        Field(folder, name, list(rng.permutation(scenes)), columns=21, northing=northing)
        for name, scenes, northing in (("Übung", train, 4_000_000), ("Prüfung", test, 3_900_000))
    ]
    for field in fields:
        field.write()
    labels = folder / "Klassen der Szenen.gpkg"
    pyogrio.raw.write(
        labels,
        shapely.to_wkb(fields[0].outlines()),
        [np.array(fields[0].classes, object)],
        ["class"],
        layer="scenes",
        geometry_type="Polygon",
        crs="EPSG:4326",
    )
    chips, first_run, bundle = folder / "chips", folder / "run", folder / "bundle"
    cut = ["chips", fields[0].path, "--labels", labels, "--scene-m", SCENE_M, "--out", chips]
    trained = ["train", chips, "--weights", weights, "--out", first_run]
    if epochs:
        trained += ["--epochs", epochs]
    exported = ["export", first_run, "--out", bundle]
    mapped = ["map", bundle, fields[1].path, "--overlap", 0, "--device", "CPU", "--variant", "int8"]
    for command in (cut, trained, exported, [*mapped, "--out", folder / "map"]):
        assert run(list(map(str, command))) == 0
    return fields


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a blank and an umlaut in its path."""
    folder = tmp_path_factory.mktemp("trip") / "Luftbilder Süd"
    folder.mkdir()
    return folder


@pytest.fixture(scope="module")
def field(folder, real_data, real_weights):
    """The raster that was mapped after a short training."""
    return make_trip(folder, real_data, real_weights, n_train=24, n_test=10, epochs=3)[1]


def classes_of(folder):
    """Return the class of each cell of a map, row by row."""
    classes = json.loads((folder / "map.json").read_text(encoding="utf-8"))["classes"]
    with rasterio.open(folder / "class.tif") as dataset:
        return [classes[value] for value in dataset.read(1).ravel()]


def test_no_chip_is_lost_but_those_between_the_parts(field, folder):
    record = json.loads((folder / "chips" / "chips.json").read_text(encoding="utf-8"))
    split = json.loads((folder / "chips" / "split.json").read_text(encoding="utf-8"))
    assert len(split["files"]) == len(list((folder / "chips").glob("*/*.tif")))
    assert record["scene"]["scene_m"] == pytest.approx(SCENE_M)
    manifest = json.loads((folder / "bundle" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["scene"] == {"scene_m": pytest.approx(SCENE_M), "bands": [1, 2, 3]}
    assert len(field.scenes) == 210


def test_cells_have_the_class_that_predict_gives_to_the_chip(field, folder):
    cut = ["chips", field.path, "--grid", "--scene-m", SCENE_M, "--out", folder / "grid"]
    assert run(list(map(str, cut))) == 0
    chips = sorted((folder / "grid").rglob("*.tif"))
    assert len(chips) == 210
    with Classifier.from_bundle(folder / "bundle", device="CPU", variant="int8") as classifier:
        predicted = [prediction.label for prediction in classifier.predict(chips)]
    by_cell = dict(
        zip(
            ((int(row), int(column)) for _, row, column in (p.stem.rsplit("_", 2) for p in chips)),
            predicted,
            strict=True,
        )
    )
    expected = [by_cell[cell] for cell in sorted(by_cell)]
    found = classes_of(folder / "map")
    assert np.mean([a == b for a, b in zip(found, expected, strict=True)]) >= 0.98


def test_the_map_is_mostly_right(field, folder):
    found = classes_of(folder / "map")
    right = np.mean([a == b for a, b in zip(found, field.classes, strict=True)])
    assert right >= 0.6  # three epochs on a quarter of the scenes


@pytest.mark.full
def test_after_a_whole_training_the_map_is_as_good_as_the_bench_says(tmp_path, real_data, real_weights):
    folder = tmp_path / "Luftbilder Süd"
    folder.mkdir()
    _, field = make_trip(folder, real_data, real_weights, n_train=80, n_test=20, epochs=None)
    right = sum(a == b for a, b in zip(classes_of(folder / "map"), field.classes, strict=True))
    assert right >= 0.97 * len(field.scenes)
    with Classifier.from_bundle(folder / "bundle", device="CPU", variant="int8") as classifier:
        predicted = [prediction.label for prediction in classifier.predict(field.scenes)]
    assert abs(right - sum(a == b for a, b in zip(predicted, field.classes, strict=True))) <= 2
