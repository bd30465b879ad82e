"""``overfly chips``: what it prints, and that train and export carry what it recorded."""

import json

import numpy as np
import pytest
import rasterio


@pytest.fixture
def chips(overfly, raster_and_labels, tmp_path):
    """A function that cuts scenes of 60 m from the drawn raster, with more options."""
    raster, labels = raster_and_labels

    def call(*more):
        return overfly("chips", raster, "--labels", labels, "--scene-m", 60, "--out", tmp_path / "scenes", *more)

    return call


def test_the_summary_has_the_classes_and_what_was_dropped(chips, tmp_path):
    result = chips("--stride", 90)
    result.assert_done()
    record = json.loads((tmp_path / "scenes" / "chips.json").read_text())
    lines = result.out.splitlines()
    total = sum(n for parts in record["counts"].values() for n in parts.values())
    assert lines[0] == f"{total} scenes of 60 m from 1 raster"
    for line, (name, parts) in zip(lines[1:3], record["counts"].items(), strict=True):
        assert line.split(None, 1) == [name, f"{parts['train']} train, {parts['test']} test"]
    assert lines[3] == f"dropped: {record['dropped']['near_other_part']} near other part"
    assert lines[4] == f"scenes: {tmp_path / 'scenes'}"


def test_json_has_the_same_numbers(chips, tmp_path):
    result = chips("--json", "--val-fraction", 0.2, "--stride", 90, "--block", 4)
    result.assert_done()
    content = json.loads(result.out)
    record = json.loads((tmp_path / "scenes" / "chips.json").read_text())
    assert content["scenes"] == str(tmp_path / "scenes")
    assert {name: content[name] for name in ("counts", "dropped", "value_range")} == {
        name: record[name] for name in ("counts", "dropped", "value_range")
    }
    assert set(content["counts"]["sand"]) == {"train", "val", "test"}
    assert record["options"]["val_fraction"] == 0.2


def test_an_existing_folder_is_only_replaced_on_request(chips, content, tmp_path):
    chips("--stride", 90).assert_done()
    before = content(tmp_path / "scenes")
    chips().assert_failed(tmp_path / "scenes", "--overwrite")
    assert content(tmp_path / "scenes") == before
    chips("--stride", 90, "--overwrite").assert_done()
    assert content(tmp_path / "scenes") == before


def test_all_options_of_labels_and_values_arrive(chips, tmp_path):
    options = ("--label-field", "kind", "--layer", "labels", "--min-cover", 0.9, "--outside", "other")
    values = ("--bands", "3,2,1", "--range", "0,510", "--nodata", "none", "--test-fraction", 0.3, "--seed", 4)
    chips(*options, *values, "--stride", 90).assert_done()
    record = json.loads((tmp_path / "scenes" / "chips.json").read_text())
    assert record["scene"] == {"scene_m": 60.0, "bands": [3, 2, 1]}
    assert record["value_range"] == [0.0, 510.0]
    assert (record["labels"]["field"], record["labels"]["layer"]) == ("kind", "labels")
    assert (record["labels"]["min_cover"], record["labels"]["outside"]) == (0.9, "other")
    chosen = {"nodata": "none", "test_fraction": 0.3, "seed": 4, "stride_m": 90.0}
    assert {name: record["options"][name] for name in chosen} == chosen


def test_a_measured_range_is_shown(chips):
    result = chips("--range", "auto", "--stride", 90)
    result.assert_done()
    assert "the range of values of all rasters is " in result.err


def test_an_error_is_one_sentence(overfly, tmp_path):
    (tmp_path / "bad.tif").write_text("no raster")
    arguments = ("--grid", "--scene-m", 60, "--out", tmp_path / "out")
    overfly("chips", tmp_path / "bad.tif", *arguments).assert_failed(tmp_path / "bad.tif")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_train_and_export_carry_the_scene_and_the_range(overfly, chips, briefly, tmp_path):
    chips("--bands", "3,2,1", "--range", "0,300", "--stride", 90).assert_done()
    result = overfly("train", tmp_path / "scenes", "--out", tmp_path / "run", *briefly)
    result.assert_done()
    assert "split.json" in result.err
    assert "60 m" in result.err
    run = json.loads((tmp_path / "run" / "run.json").read_text())
    split = json.loads((tmp_path / "scenes" / "split.json").read_text())
    assert run["scene"] == {"scene_m": 60.0, "bands": [3, 2, 1]}
    assert run["image"]["value_range"] == [0.0, 300.0]
    assert run["metrics"]["n_images"] == sum(file["part"] == "test" for file in split["files"])
    overfly("export", tmp_path / "run", "--out", tmp_path / "bundle", "--variant", "fp32").assert_done()
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["scene"] == run["scene"]
    assert manifest["image"]["value_range"] == [0.0, 300.0]
    # The scenes have 8 bits, and are read as they are.
    path = next((tmp_path / "scenes" / "sand").iterdir())
    overfly("predict", tmp_path / "bundle", path, "--device", "CPU").assert_done()
    with rasterio.open(path) as chip:
        assert chip.read().max() == np.rint(249 * 255 / 300)
    again = ("train", tmp_path / "scenes", "--out", tmp_path / "other", *briefly, "--range", "0,400")
    overfly(*again).assert_failed("chips.json", "0,400", "0,300")


@pytest.mark.slow
def test_other_data_have_no_scene(overfly, small_data, briefly, tmp_path):
    overfly("train", small_data, "--out", tmp_path / "run", *briefly).assert_done()
    assert "scene" not in json.loads((tmp_path / "run" / "run.json").read_text())
