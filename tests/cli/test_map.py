"""``overfly map``: the figures, the exit codes, and what an interruption says."""

import json
import signal

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio import Affine

N_ROWS, N_COLUMNS = 2, 4
SIDE = 96  # of a scene in pixels
SCENE_M = SIDE * 0.5 / 0.9996


@pytest.fixture(scope="module")
def scenes(tiny_data):
    """One scene of each class, in the order of the classes."""
    return [min(folder.iterdir()) for folder in sorted(tiny_data.iterdir())]


@pytest.fixture
def raster(scenes, tmp_path):
    """A GeoTIFF of scenes side by side, in a folder with a blank and an umlaut, at half a meter per pixel."""
    path = tmp_path / "Luftbild Süd" / "field.tif"
    path.parent.mkdir()
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in scenes])
    rows = images.reshape(N_ROWS, N_COLUMNS, SIDE, SIDE, 3).transpose(0, 2, 1, 3, 4)
    pixels = rows.reshape(N_ROWS * SIDE, N_COLUMNS * SIDE, 3).transpose(2, 0, 1)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": pixels.shape[1], "width": pixels.shape[2]}
    place = {"crs": "EPSG:32632", "transform": Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)}
    with rasterio.open(path, "w", **profile, **place) as dataset:
        dataset.write(pixels)
    return path


@pytest.fixture
def make(overfly, tiny_bundle, raster, tmp_path):
    """A function that calls the command with the small bundle on the CPU."""

    def call(*arguments):
        choices = ("--scene-m", SCENE_M, "--device", "CPU", "--variant", "fp32")
        return overfly("map", tiny_bundle, raster, "--out", tmp_path / "map", *choices, *arguments)

    return call


def test_cells_on_the_scenes_have_the_class_that_predict_gives(make, overfly, tiny_bundle, scenes, tmp_path):
    result = make("--overlap", "0")
    result.assert_done()
    assert f"map of {N_COLUMNS} x {N_ROWS} cells: {tmp_path / 'map'}\n" in result.out
    predicted = overfly("predict", tiny_bundle, *scenes, "--device", "CPU", "--variant", "fp32", "--json").out
    expected = [json.loads(line)["label"] for line in predicted.splitlines()]
    record = json.loads((tmp_path / "map" / "map.json").read_text(encoding="utf-8"))
    with rasterio.open(tmp_path / "map" / "class.tif") as dataset:
        found = [record["classes"][value] for value in dataset.read(1).ravel()]
    assert found == expected


def test_json_has_the_figures_of_the_record(make, tmp_path):
    result = make("--json")
    result.assert_done()
    printed = json.loads(result.out)
    record = json.loads((tmp_path / "map" / "map.json").read_text(encoding="utf-8"))
    assert printed.pop("map") == str(tmp_path / "map")
    # What has been added to the format is only written if it is not the default.
    assert printed.pop("other_machines") == []
    assert printed["options"].pop("unknown") is False
    assert printed == {key: value for key, value in record.items() if key != "schema"}


def test_a_raster_that_cannot_be_mapped_is_named_and_the_others_are_done(make, tmp_path):
    other = tmp_path / "missing.tif"
    result = make(other)
    assert result.code == 1
    assert str(other) in result.sentence
    assert (tmp_path / "map" / "field" / "class.tif").exists()
    assert "field" in result.out


@pytest.fixture
def _sigterm_does_nothing():
    """What SIGTERM does outside of the command; by default, it would end all tests."""
    previous = signal.signal(signal.SIGTERM, handler := lambda *_: None)
    yield
    assert signal.signal(signal.SIGTERM, previous) is handler


@pytest.mark.usefixtures("_sigterm_does_nothing")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_says_how_to_continue(make, monkeypatch, tmp_path, number):
    def interrupt(*_):
        signal.raise_signal(number)

    monkeypatch.setattr("overfly.runtime.mapping.raster_map.write_outputs", interrupt)
    result = make()
    assert result.code == 130
    assert f"{tmp_path / 'map.unfinished'} holds the finished blocks" in result.err
    monkeypatch.undo()
    make().assert_failed("--resume", "--overwrite")
    make("--resume").assert_done()


def test_unknown_is_a_class_of_the_map(overfly, known_bundle, raster, tmp_path, strange_pixels):
    with rasterio.open(raster, "r+") as dataset:
        pixels = dataset.read()
        pixels[:, :SIDE, :SIDE] = strange_pixels.transpose(2, 0, 1)
        dataset.write(pixels)
    choices = ("--scene-m", SCENE_M, "--device", "CPU", "--overlap", "0", "--unknown")
    result = overfly("map", known_bundle, raster, "--out", tmp_path / "map", *choices)
    result.assert_done()
    with rasterio.open(tmp_path / "map" / "class.tif") as dataset:
        classes = dataset.read(1).ravel().tolist()
    assert classes[0] == 8
    assert 8 not in classes[1:]
    record = json.loads((tmp_path / "map" / "map.json").read_text(encoding="utf-8"))
    assert record["classes"][8] == "unknown"
    assert any(line.startswith("unknown ") for line in result.out.splitlines())


def test_a_bundle_without_a_known_score_refuses_unknown(make):
    make("--unknown").assert_failed("--val-fraction", "--unknown")


def test_a_map_of_an_uncalibrated_bundle_gets_a_warning(overfly, scaled_bundle, raster, tmp_path):
    options = ("--scene-m", SCENE_M, "--device", "CPU", "--variant", "fp32", "--overlap", "0")
    result = overfly("map", scaled_bundle(None), raster, "--out", tmp_path / "map", *options)
    result.assert_done()
    assert "not calibrated: train with a validation part (--val-fraction 0.05, " in result.err


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--bands", "1,2"), "1,2"),
        (("--bands", "0,1,2"), "0,1,2"),
        (("--nodata", "black"), "black"),
        (("--overlap", "0.3"), "0.3"),
        (("--min-probability", "1.5"), "1.5"),
        (("--range", "9,1"), "9,1"),
        (("--gsd", "0"), "0"),
    ],
)
def test_wrong_values_are_wrong_usage(make, arguments, found):
    make(*arguments).assert_misused(found)


def test_too_few_bands_are_named(make):
    make("--bands", "4,3,2").assert_failed("field.tif", "3 bands", "4,3,2", "--bands")
