"""The STAC item of a bundle: what it says, and that the published schemas accept it."""

import copy
import dataclasses
import json
import os
from pathlib import Path

import jsonschema
import numpy as np
import pyogrio
import pytest
import shapely
from referencing import Registry, Resource

from overfly.export.exporter import ExportJob, export
from overfly.export.footprints import Hull
from overfly.export.stac import BundleFacts, stac_item
from overfly.runtime.bundle.manifest import FileRecord, SceneSpec
from overfly.runtime.errors import RasterError
from overfly.training.run import Run

SQUARE = [[[5.0, 50.0], [6.0, 50.0], [6.0, 51.0], [5.0, 51.0], [5.0, 50.0]]]
HULL = Hull({"type": "Polygon", "coordinates": SQUARE}, (5.0, 50.0, 6.0, 51.0))
NAMES = ("deepness.onnx", "fp32.bin", "fp32.xml", "golden.npz", "int8.bin", "int8.xml", "labels.txt", "model.onnx")
MLM, FILE = (f"https://stac-extensions.github.io/{name}/schema.json" for name in ("mlm/v1.5.2", "file/v2.1.0"))
CORE = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"


@pytest.fixture
def facts(make_run):
    return BundleFacts(
        record=Run.open(make_run()).record,
        run_sha256="ab" * 32,
        n_parameters=1000,
        scene=SceneSpec(78.0, (4, 3, 2)),
        hull=HULL,
        variants=("fp32", "int8"),
        files={name: FileRecord("cd" * 32, index) for index, name in enumerate(NAMES)},
    )


def test_the_item_has_the_place_and_no_invented_date(facts):
    item = stac_item(facts)
    assert item["id"] == "mobilenet_v2-abababababab"
    assert (item["geometry"], item["bbox"]) == (HULL.geometry, [5.0, 50.0, 6.0, 51.0])
    properties = item["properties"]
    assert properties["datetime"] is None
    assert (properties["start_datetime"], properties["end_datetime"]) == (
        "1900-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    )
    assert properties["gsd"] == 78 / 8
    assert properties["bands"][0] == {"name": "red", "description": "band 4 of the raster"}


def test_without_a_place_and_a_scene_nothing_is_made_up(facts):
    item = stac_item(dataclasses.replace(facts, hull=None, scene=None))
    assert item["geometry"] is None
    assert "bbox" not in item
    assert "gsd" not in item["properties"]
    assert item["properties"]["bands"] == [{"name": name} for name in ("red", "green", "blue")]


def test_the_item_says_how_the_model_is_used(facts):
    properties = stac_item(facts)["properties"]
    (given,), (returned,) = properties["mlm:input"], properties["mlm:output"]
    assert given["name"] == "images"
    assert given["input"] == {
        "shape": [-1, 8, 8, 3],
        "dim_order": ["batch", "height", "width", "bands"],
        "data_type": "uint8",
    }
    assert given["value_scaling"] is None
    classes = facts.record.classes
    assert returned["result"]["shape"] == [-1, len(classes)]
    assert [(entry["value"], entry["name"]) for entry in returned["classification:classes"]] == list(enumerate(classes))
    assert properties["mlm:tasks"] == returned["tasks"] == ["scene-classification"]
    assert properties["mlm:framework_version"] == facts.record.versions["torch"]
    assert (properties["mlm:pretrained"], properties["mlm:pretrained_source"]) == (False, None)
    assert properties["mlm:hyperparameters"]["epochs"] == facts.record.recipe.epochs


def test_a_value_range_is_named(facts):
    image = dataclasses.replace(facts.record.image, value_range=(0.0, 2047.0))
    changed = dataclasses.replace(facts, record=dataclasses.replace(facts.record, image=image))
    assert "0 becomes 0 and 2047 becomes 255" in stac_item(changed)["properties"]["mlm:input"][0]["description"]


def test_a_version_that_mlm_does_not_take_is_left_out(facts):
    record = dataclasses.replace(facts.record, versions={"torch": "2.10.0a0+git"})
    assert "mlm:framework_version" not in stac_item(dataclasses.replace(facts, record=record))["properties"]


def test_assets_are_the_files_with_their_hashes_and_only_those_with_the_same_interface_are_models(facts):
    assets = stac_item(facts)["assets"]
    listed = {asset["href"].removeprefix("./"): asset.get("file:checksum") for asset in assets.values()}
    assert listed == {**dict.fromkeys(NAMES, "1220" + "cd" * 32), "manifest.json": None}
    assert assets["fp32-weights"]["file:size"] == NAMES.index("fp32.bin")
    models = {key for key, asset in assets.items() if "mlm:model" in asset["roles"]}
    assert models == {"model", "fp32", "int8"} == {key for key, asset in assets.items() if "mlm:artifact_type" in asset}


class TestAnExport:
    """The item in a bundle."""

    @pytest.fixture
    def chips(self, tmp_path):
        """A function that writes ``chips.gpkg`` with one footprint of a part into the data folder of `make_run`."""

        def write(part):
            footprint = shapely.to_wkb(np.array([shapely.box(5, 50, 6, 51)]))
            columns = ([np.array([part], dtype=object)], ["part"])
            path = tmp_path / "data" / "chips.gpkg"
            pyogrio.raw.write(path, footprint, *columns, layer="chips", geometry_type="Polygon", crs="EPSG:4326")

        return write

    @pytest.mark.slow
    def test_the_item_lists_the_files_of_its_bundle_and_is_the_same_twice(self, make_run, tmp_path, chips):
        run = make_run()
        chips("train")
        jobs = [
            ExportJob(run=run, out=tmp_path / name, variants=("fp32",), scene_m=78.0, deepness=True, stac=True)
            for name in ("first", "second")
        ]
        first, second = (export(job) for job in jobs)
        first.verify()
        assert first.read("stac.json") == second.read("stac.json")
        item = json.loads(first.read("stac.json"))
        assert item["bbox"] == [5.0, 50.0, 6.0, 51.0]
        for asset in item["assets"].values():
            name = asset["href"].removeprefix("./")
            assert (first.path / name).is_file()
            if name != "manifest.json":
                assert asset["file:checksum"] == "1220" + first.manifest.files[name].sha256
        assert {asset["href"] for asset in item["assets"].values()} | {"./stac.json"} == {
            f"./{path.name}" for path in first.path.iterdir()
        }

    def test_footprints_that_cant_be_used_stop_the_export_before_any_work(self, make_run, tmp_path, chips):
        run = make_run()
        chips("test")
        with pytest.raises(RasterError, match=r"chips\.gpkg"):
            export(ExportJob(run=run, out=tmp_path / "bundle", stac=True))
        assert not (tmp_path / "bundle").exists()


@pytest.mark.stac
class TestThePublishedSchemas:
    """The schemas of STAC 1.1.0 and of the extensions, in a folder."""

    @pytest.fixture
    def errors(self):
        """A function that returns the errors of an item by a published schema."""
        folder = Path(os.environ["OVERFLY_STAC_SCHEMAS"])

        def read(uri):
            content = (folder / uri.removeprefix("https://")).read_text(encoding="utf-8")
            return Resource.from_contents(json.loads(content))

        registry = Registry(retrieve=read)

        def call(item, uri):
            checker = jsonschema.Draft7Validator.FORMAT_CHECKER
            validator = jsonschema.Draft7Validator({"$ref": uri}, registry=registry, format_checker=checker)
            return [(error.json_path, error.message) for error in validator.iter_errors(json.loads(json.dumps(item)))]

        return call

    @pytest.mark.parametrize("uri", [CORE, MLM, FILE])
    @pytest.mark.parametrize("hull", [HULL, None])
    @pytest.mark.parametrize("scene", [SceneSpec(78.0, (1, 2, 3)), None])
    def test_they_accept_the_item(self, errors, facts, uri, hull, scene):
        item = stac_item(dataclasses.replace(facts, hull=hull, scene=scene))
        assert item["stac_extensions"] == [MLM, FILE]
        assert errors(item, uri) == []

    @pytest.mark.parametrize("name", ["mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output", "bands"])
    def test_they_find_what_is_missing(self, errors, facts, name):
        item = copy.deepcopy(stac_item(facts))
        del item["properties"][name]
        assert len(errors(item, MLM)) == 1
