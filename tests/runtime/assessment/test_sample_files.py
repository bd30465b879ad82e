import json
import sys

import numpy as np
import pyogrio
import pytest
import shapely
from PIL import Image

from overfly.runtime.assessment.class_map import read_class_map
from overfly.runtime.assessment.sample import allocate
from overfly.runtime.assessment.sample_files import SampleRecord, Stratum, write_sample
from overfly.runtime.errors import OutputError, RasterError


def read(path):
    meta, _, shapes, values = pyogrio.raw.read(path / "sample.gpkg")
    return meta, shapely.from_wkb(shapes), dict(zip(meta["fields"], values, strict=True))


def test_what_is_written(class_map, tmp_path):
    out = tmp_path / "sample"
    done = []
    record = write_sample(class_map.folder, 40, out=out, seed=5, progress=lambda *state: done.append(state))
    drawn = allocate(class_map.cells, class_map.areas_m2, 40).tolist()
    strata = tuple(
        Stratum(name=name, cells=n, sampled=k)
        for name, n, k in zip(class_map.classes, (436, 140, 18), drawn, strict=True)
    )
    assert record == SampleRecord(map_sha256=class_map.sha256, seed=5, strata=strata)
    assert json.loads((out / "sample.json").read_text())["schema"] == "overfly.sample/1"
    assert (out / "classes.txt").read_text() == "field\nforest\nwater\n"
    meta, cells, columns = read(out)
    # Not the class on the map: it would influence the person who labels.
    assert list(columns) == ["id", "image", "reference"]
    assert meta["crs"] == "EPSG:32617"
    assert set(columns["reference"]) == {""}
    assert {path.name for path in (out / "images").iterdir()} == {f"{cell}.png" for cell in columns["id"]}
    assert done[-1] == (40, 40)
    for cell, shape, image in zip(columns["id"], cells, columns["image"], strict=True):
        _, row, column = cell.split("-")
        left, top = 404_000 + 10 * int(column), 3_285_000 - 10 * int(row)
        assert shape.equals(shapely.box(left, top - 10, left + 10, top))
        with Image.open(out / image) as opened:
            assert opened.format == "PNG"


def test_the_same_seed_gives_the_same_bytes(class_map_folder, tmp_path):
    for name in ("a", "b"):
        write_sample(class_map_folder, 8, out=tmp_path / name, seed=1)
    files = [path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file()]
    assert len(files) == 8 + 3
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    content = (tmp_path / "a" / "sample.gpkg").read_bytes()
    assert b"2000-01-01T00:00:00" in content
    assert pyogrio.get_gdal_config_option("OGR_CURRENT_DATE") is None


def test_a_map_without_a_crs(write_class_map, tmp_path):
    folder = write_class_map(tmp_path / "map", np.zeros((4, 4), np.uint8), crs=None)
    write_sample(folder, 16, out=tmp_path / "sample")
    meta, cells, _ = read(tmp_path / "sample")
    assert meta["crs"] is None or "Undefined" in meta["crs"]
    assert shapely.union_all(cells).equals(shapely.box(0, 0, 40, 40))


def test_nothing_is_left_if_the_raster_is_gone(class_map_folder, tmp_path):
    (tmp_path / "map-raster.tif").unlink()
    with pytest.raises(RasterError):
        write_sample(class_map_folder, 8, out=tmp_path / "sample")
    assert {path.name for path in tmp_path.iterdir()} == {"map"}


def test_an_existing_sample_is_replaced_only_if_that_is_wanted(class_map_folder, tmp_path):
    out = tmp_path / "sample"
    write_sample(class_map_folder, 8, out=out)
    with pytest.raises(OutputError, match="exists already"):
        write_sample(class_map_folder, 9, out=out)
    write_sample(class_map_folder, 9, out=out, overwrite=True)
    assert len(read(out)[1]) == 9


def test_labels_are_never_overwritten(class_map_folder, tmp_path):
    out = tmp_path / "sample"
    write_sample(class_map_folder, 8, out=out)
    meta, _, shapes, (ids, images, labels) = pyogrio.raw.read(out / "sample.gpkg")
    labels[3] = "water"
    pyogrio.raw.write(
        out / "sample.gpkg", shapes, [ids, images, labels], meta["fields"], crs=meta["crs"], geometry_type="Polygon"
    )
    with pytest.raises(OutputError, match=r"sample\.gpkg has 1 labels"):
        write_sample(class_map_folder, 8, out=out, overwrite=True)


@pytest.mark.parametrize("name", ["map", "."])
def test_the_map_is_not_replaced_by_its_sample(class_map_folder, tmp_path, name):
    with pytest.raises(OutputError):
        write_sample(class_map_folder, 8, out=tmp_path / name, overwrite=True)
    assert read_class_map(class_map_folder).cells.sum() == 594


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
def test_a_full_disk_is_named_and_leaves_nothing(class_map, tmp_path):
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))  # a GeoPackage takes 100 kB, an image less
    try:
        with pytest.raises(OutputError, match=r"sample: .*free disk space"):
            write_sample(class_map.folder, 10, out=tmp_path / "sample")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {path.name for path in tmp_path.iterdir()} == {"map", "map-raster.tif"}
