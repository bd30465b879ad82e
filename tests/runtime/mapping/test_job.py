"""A map equals one that is computed window by window, survives every interruption, and names what it can't do."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from rasterio import Affine

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import SceneSpec, write_manifest
from overfly.runtime.errors import BundleError, OutputError, RasterError
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.mapping.engine import BlockClassifier
from overfly.runtime.mapping.job import MapJob, make_maps
from overfly.runtime.mapping.record import read_map_record
from overfly.runtime.mapping.sums import NO_DATA, ONE
from overfly.runtime.raster.mosaic import write_mosaic
from overfly.runtime.reporter import Reporter

SIZE = 8
SCENE_M = SIZE * 2 / 0.9996
FILES = {
    "areas.csv",
    "class.qml",
    "class.tif",
    "class.tif.aux.xml",
    "confidence.tif",
    "map.gpkg",
    "preview.png",
    "probabilities.tif",
}


def probabilities_of(folder):
    """Return the probabilities of a map, [rows, columns, n_classes], NaN in empty cells."""
    with rasterio.open(folder / "probabilities.tif") as dataset:
        values = dataset.read().transpose(1, 2, 0)
    return np.where(values == NO_DATA, np.nan, values / ONE)


def hashes(folder):
    return {path.relative_to(folder).as_posix(): sha256_file(path) for path in folder.rglob("*") if path.is_file()}


# Makes a map with small blocks, and kills itself after a number of seconds.
CHILD = """
import os, sys, threading
from pathlib import Path
from overfly.runtime.mapping import grid
from overfly.runtime.mapping.job import MapJob, make_maps

grid._BLOCK_ROWS = grid._BLOCK_COLUMNS = 2
bundle, raster, out, scene_m, delay, max_bytes = sys.argv[1:]
if float(max_bytes):
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(max_bytes), int(max_bytes)))
job = MapJob(bundle=Path(bundle), rasters=(Path(raster),), out=Path(out), scene_m=float(scene_m), device="CPU")
timer = threading.Timer(float(delay), os.kill, (os.getpid(), 9))
timer.daemon = True
timer.start()
make_maps(job, resume=True)
os._exit(0)
"""


def run_child(*arguments, delay=1000.0, max_bytes=0):
    command = [sys.executable, "-c", CHILD, *map(str, arguments), str(delay), str(max_bytes)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of 3 x 3 windows, so that a small raster has several."""
    monkeypatch.setattr("overfly.runtime.mapping.grid._BLOCK_ROWS", 3)
    monkeypatch.setattr("overfly.runtime.mapping.grid._BLOCK_COLUMNS", 3)


@pytest.mark.parametrize(("overlap", "per_side"), [(0.0, 1), (0.5, 2), (0.75, 4)])
@pytest.mark.usefixtures("small_blocks")
def test_each_cell_has_the_mean_over_its_windows(
    raster, make_map, pixels, expected_probabilities, tmp_path, overlap, per_side
):
    result = make_map(raster, overlap=overlap)
    n_rows, n_columns = 7 * per_side, 10 * per_side
    # Of the last windows, the raster has a part only.
    parts = (np.minimum(1, (n - np.arange(n)) / per_side) for n in (n_rows, n_columns))
    classified = np.outer(*parts) >= 0.5
    # Mirrored at the last pixel, which is not repeated.
    mirrored = np.pad(pixels(7 * SIZE, 10 * SIZE), ((0, SIZE), (0, SIZE), (0, 0)), mode="reflect")
    expected = expected_probabilities(mirrored, per_side, classified)
    found = probabilities_of(tmp_path / "map")
    assert found.shape == (n_rows, n_columns, 4)
    np.testing.assert_allclose(found, expected, atol=2e-4)
    (record,) = result.records.values()
    assert (record.n_rows, record.n_columns) == (n_rows, n_columns)
    assert record.n_windows == classified.sum()
    assert not result.problems


def test_every_file_is_in_the_record(raster, make_map, tmp_path):
    make_map(raster)
    record = read_map_record(tmp_path / "map")
    assert set(record.files) == FILES
    assert {path.name for path in (tmp_path / "map").iterdir()} == FILES | {"map.json"}
    for name, file in record.files.items():
        assert file.sha256 == sha256_file(tmp_path / "map" / name)
    assert record.raster.sha256 == sha256_file(raster)
    assert record.options.scene_m == pytest.approx(SCENE_M)
    assert sum(figures.cells for figures in record.figures) == 20 * 14
    assert sum(figures.area_m2 for figures in record.figures) == pytest.approx(80 * 56 * (2 / 0.9996) ** 2, rel=1e-3)


def test_the_machine_stays_awake_during_a_map(raster, make_map, kept_awake):
    awake = kept_awake("overfly.runtime.mapping.job")

    class Interrupted(Reporter):
        def progress(self, stage, *_):
            if stage == "mapping":
                assert awake
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_map(raster, reporter=Interrupted())
    assert not awake


def two_halves():
    """Pixels of 7 x 10 windows, noise: of the first five columns of windows dark, and of the others bright."""
    pixels = np.random.default_rng(0).integers(0, 60, (7 * SIZE, 10 * SIZE, 3), dtype=np.uint8)
    pixels[:, 5 * SIZE :] += 190
    return pixels


def test_unknown_cells_have_a_class_of_their_own(write_raster, make_map, known_bundle, tmp_path):
    raster = write_raster(two_halves())
    make_map(raster, bundle_path=known_bundle, unknown=True)
    make_map(raster, out=tmp_path / "plain")
    record = read_map_record(tmp_path / "map")
    assert record.options.unknown
    assert record.classes == ("beach", "forest", "harbor", "river", "unknown")
    found, plain = probabilities_of(tmp_path / "map"), probabilities_of(tmp_path / "plain")
    with rasterio.open(tmp_path / "map" / "probabilities.tif") as dataset:
        assert dataset.descriptions == (*record.classes[:4], "known windows")
    np.testing.assert_array_equal(found[..., :4], plain)
    # Windows half a side apart: the one at the border of the halves has a mean of about 125, above 102.
    known = found[..., 4]
    assert known.shape == (14, 20)
    assert (known[:, :9] == 0).all()
    assert (known[1:, 9] == 0.5).all()
    assert (known[:, 10:] == 1).all()
    with rasterio.open(tmp_path / "map" / "class.tif") as dataset:
        indices = dataset.read(1)
    assert (indices[:, :9] == 4).all()
    np.testing.assert_array_equal(indices[:, 9:], plain[:, 9:].argmax(axis=2))
    unknown = record.figures[-1]
    assert (unknown.name, unknown.cells, unknown.mean_probability) == ("unknown", 14 * 9, 1.0)
    table = (tmp_path / "map" / "areas.csv").read_text(encoding="utf-8")
    assert table.splitlines()[-1].startswith("unknown,126,")
    assert 'label="unknown"' in (tmp_path / "map" / "class.qml").read_text(encoding="utf-8")


@pytest.mark.usefixtures("small_blocks")
def test_unknown_cells_survive_an_interruption(write_raster, make_map, known_bundle, tmp_path):
    raster = write_raster(two_halves())
    make_map(raster, bundle_path=known_bundle, unknown=True)
    other = tmp_path / "other"
    with pytest.raises(KeyboardInterrupt):
        make_map(raster, out=other, unknown=True, reporter=_Stop(50))
    with pytest.raises(OutputError, match="another map"):
        make_map(raster, out=other, resume=True)
    make_map(raster, out=other, unknown=True, resume=True)
    assert hashes(other) == hashes(tmp_path / "map")


@pytest.mark.parametrize("classes", [None, ("beach", "forest", "harbor", "unknown")])
def test_a_bundle_that_cannot_tell_unknown_cells_is_refused(raster, make_map, make_bundle, known_bundle, classes):
    path = known_bundle if classes else make_bundle("old")
    if classes:
        write_manifest(path, replace(Bundle.open(path).manifest, classes=classes))
    with pytest.raises(BundleError, match="--unknown"):
        make_map(raster, bundle_path=path, unknown=True)


class _Stop(Reporter):
    """Interrupts the map after a number of windows."""

    def __init__(self, after):
        self._after = after

    def progress(self, stage, done, _total):
        if stage == "mapping" and done >= self._after:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("small_blocks")
def test_resumed_it_ends_with_the_same_bytes(raster, make_map, tmp_path, monkeypatch):
    make_map(raster)
    whole = hashes(tmp_path / "map")
    other = tmp_path / "other"
    work = tmp_path / "other.unfinished"
    for after in (1, 100):
        with pytest.raises(KeyboardInterrupt):
            make_map(raster, out=other, resume=True, reporter=_Stop(after))
        assert not other.exists()
    n_read = []
    results = BlockClassifier.results
    monkeypatch.setattr(
        BlockClassifier, "results", lambda self, blocks: results(self, n_read.append(len(blocks)) or blocks)
    )
    with pytest.raises(OutputError, match="--resume"):
        make_map(raster, out=other)
    make_map(raster, out=other, resume=True)
    assert 0 < n_read[0] < 35 - 10
    assert hashes(other) == whole
    assert not work.exists()


@pytest.mark.slow
def test_killed_at_any_moment_it_ends_with_the_same_bytes(raster, bundle, tmp_path):
    arguments = bundle.path, raster, tmp_path / "map", SCENE_M
    begin = time.monotonic()
    assert run_child(*arguments).returncode == 0
    seconds = time.monotonic() - begin
    whole = hashes(tmp_path / "map")
    rng = np.random.default_rng(0)
    n_killed = 0
    while n_killed < 20:
        killed = run_child(*arguments[:2], tmp_path / "other", SCENE_M, delay=rng.uniform(0, seconds)).returncode != 0
        n_killed += killed
        if not killed:
            assert hashes(tmp_path / "other") == whole
            shutil.rmtree(tmp_path / "other")
    assert run_child(*arguments[:2], tmp_path / "other", SCENE_M).returncode == 0
    assert hashes(tmp_path / "other") == whole


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit for the size of files")
@pytest.mark.parametrize("max_bytes", [2_000, 30_000])
def test_on_a_full_disk_what_is_done_is_kept(raster, bundle, tmp_path, max_bytes):
    arguments = bundle.path, raster, tmp_path / "map", SCENE_M
    found = run_child(*arguments, max_bytes=max_bytes)
    assert "OutputError" in found.stderr
    assert "--resume" in found.stderr
    assert run_child(*arguments).returncode == 0
    (tmp_path / "map").rename(tmp_path / "first")
    assert run_child(*arguments).returncode == 0
    assert hashes(tmp_path / "map") == hashes(tmp_path / "first")


@pytest.mark.usefixtures("small_blocks")
def test_a_journal_of_another_map_is_refused(raster, make_map, write_raster, pixels):
    with pytest.raises(KeyboardInterrupt):
        make_map(raster, reporter=_Stop(1))
    with pytest.raises(OutputError, match="another map"):
        make_map(raster, resume=True, overlap=0.75)
    write_raster(pixels(7 * SIZE, 10 * SIZE, seed=1))  # over the first one
    with pytest.raises(OutputError, match="another map"):
        make_map(raster, resume=True)
    make_map(raster, overwrite=True)


def test_what_is_there_stays_without_overwrite(raster, make_map, tmp_path):
    make_map(raster)
    before = hashes(tmp_path / "map")
    with pytest.raises(OutputError, match="--overwrite"):
        make_map(raster, min_probability=0.9)
    assert hashes(tmp_path / "map") == before
    make_map(raster, min_probability=0.9, overwrite=True)
    assert hashes(tmp_path / "map") != before
    with pytest.raises(OutputError, match="input"):
        make_map(tmp_path / "map" / "class.tif", overwrite=True)


def test_missing_pixels_are_mirrored_and_empty_windows_left_out(write_raster, make_map, pixels, tmp_path):
    mask = np.full((4 * SIZE, 6 * SIZE), 255, np.uint8)
    mask[:, 3 * SIZE + 2 :] = 0  # the fourth column of windows has a quarter of its pixels
    path = write_raster(pixels(4 * SIZE, 6 * SIZE), mask=mask)
    result = make_map(path, overlap=0.0)
    found = probabilities_of(tmp_path / "map")
    assert np.isfinite(found[:, :3]).all()
    assert np.isnan(found[:, 3:]).all()
    (record,) = result.records.values()
    assert (record.n_windows, record.empty_cells) == (12, 12)


def test_a_failing_raster_does_not_stop_the_others(raster, write_raster, make_map, pixels, tmp_path):
    broken = tmp_path / "broken.tif"
    broken.write_bytes(b"no raster")
    same_name = write_raster(pixels(2 * SIZE, seed=3), "other/Field.tif")
    result = make_map(raster, broken, same_name)
    assert [problem.args[0].partition(" ")[0] for problem in result.problems] == [str(broken)]
    assert [folder.name for folder in result.records] == ["field", "Field-2"]
    assert {path.name for path in (tmp_path / "map").iterdir()} == {"field", "Field-2"}
    with pytest.raises(RasterError, match="broken"):
        make_map(broken, overwrite=True)


@pytest.mark.usefixtures("small_blocks")
def test_a_block_that_cannot_be_read_is_named_and_the_rest_is_mapped(write_raster, make_map, pixels):
    path = write_raster(pixels(8 * SIZE, 8 * SIZE), compress="deflate", blockysize=SIZE)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 2000])
    result = make_map(path, overlap=0.0)
    assert result.problems
    assert all(str(path) in str(problem) for problem in result.problems)
    (record,) = result.records.values()
    assert 0 < record.n_windows < 64
    assert len(result.problems) == 1
    assert len(record.unreadable) > 1


def test_merged_rasters_give_the_map_of_the_whole(write_raster, make_map, pixels, tmp_path):
    whole = pixels(6 * SIZE, 10 * SIZE)
    make_map(write_raster(whole), out=tmp_path / "one")
    left = write_raster(whole[:, : 5 * SIZE + 3], "left.tif")
    place = Affine(2, 0, 500_000 + 2 * (4 * SIZE + 1), 0, -2, 5_000_000)
    right = write_raster(whole[:, 4 * SIZE + 1 :], "right.tif", transform=place)
    make_map(left, right, out=tmp_path / "merged", merge=True)
    for name in ("probabilities.tif", "class.tif", "areas.csv"):
        assert sha256_file(tmp_path / "merged" / name) == sha256_file(tmp_path / "one" / name)
    record = read_map_record(tmp_path / "merged")
    assert record.raster.path == str(tmp_path / "merged" / "mosaic.vrt")
    with rasterio.open(record.raster.path) as mosaic:
        np.testing.assert_array_equal(mosaic.read().transpose(1, 2, 0), whole)


def test_an_area_limits_the_map(raster, make_map, tmp_path):
    # The first three columns and two rows of cells without overlap.
    side = 2 * SIZE
    corners = [(500_000, 5_000_000), (500_000 + 3 * side, 5_000_000)]
    corners += [(x, 5_000_000 - 2 * side) for x, _ in reversed(corners)]
    area = tmp_path / "area.geojson"
    crs = {"type": "name", "properties": {"name": "urn:ogc:def:crs:EPSG::32632"}}
    geometry = {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}
    feature = {"type": "Feature", "properties": {}, "geometry": geometry}
    area.write_text(json.dumps({"type": "FeatureCollection", "crs": crs, "features": [feature]}), encoding="utf-8")
    result = make_map(raster, overlap=0.0, area=area)
    (record,) = result.records.values()
    assert (record.n_windows, record.empty_cells) == (6, 70 - 6)
    with rasterio.open(tmp_path / "map" / "class.tif") as dataset:
        filled = dataset.read_masks(1) > 0
    assert filled[:2, :3].all()
    assert filled.sum() == 6


def test_cells_below_the_probability_are_empty(raster, make_map, tmp_path):
    make_map(raster, overlap=0.0, min_probability=0.9)
    highest = probabilities_of(tmp_path / "map").max(axis=2)
    with rasterio.open(tmp_path / "map" / "class.tif") as dataset:
        filled = dataset.read_masks(1) > 0
    assert 0 < filled.sum() < filled.size
    np.testing.assert_array_equal(filled, highest >= 0.9 - 0.5 / ONE)


def test_a_bundle_without_a_scene_size_asks_for_it(raster, make_map):
    with pytest.raises(RasterError, match="--scene-m"):
        make_map(raster, scene_m=None)


def test_the_scene_of_the_bundle_is_taken(raster, bundle, tmp_path):
    manifest = replace(bundle.manifest, scene=SceneSpec(SCENE_M, (3, 2, 1)))
    write_manifest(bundle.path, manifest)
    job = MapJob(bundle=bundle.path, rasters=(raster,), out=tmp_path / "map", device="CPU")
    (record,) = make_maps(job).records.values()
    assert record.options.scene_m == SCENE_M
    assert record.options.bands == (3, 2, 1)


@pytest.mark.parametrize(
    ("crs", "transform", "width", "height"),
    [
        # Web Mercator at 60 degrees north, where a meter of the projection is half a meter on the ground.
        ("EPSG:3857", Affine(4, 0, 1_000_000, 0, -4, 8_399_737), 8, 8),
        ("EPSG:2926", Affine(5, 0, 1_200_000, 0, -10, 200_000), 16 / (5 * 0.3048006), 16 / (10 * 0.3048006)),
    ],
    ids=["Web Mercator", "feet, not square"],
)
def test_a_window_has_the_same_size_on_the_ground(write_raster, make_map, pixels, crs, transform, width, height):
    path = write_raster(pixels(6 * SIZE, 6 * SIZE), crs=crs, transform=transform)
    result = make_map(path, scene_m=16.0)
    (record,) = result.records.values()
    assert record.window_pixels == pytest.approx((width, height), rel=4e-3)


def test_a_raster_without_a_crs_needs_the_size_of_its_pixels(write_raster, make_map, pixels):
    path = write_raster(pixels(4 * SIZE), crs=None)
    with pytest.raises(RasterError, match="--gsd"):
        make_map(path)
    result = make_map(path, gsd=2.0, scene_m=16.0, overlap=0.0)
    (record,) = result.records.values()
    assert record.window_pixels == (8.0, 8.0)
    assert sum(figures.area_m2 for figures in record.figures) == pytest.approx(64 * 64.0)


def test_windows_that_are_too_small_or_too_large_are_refused(raster, make_map):
    with pytest.raises(RasterError, match="pixels larger than a window of 1 m"):
        make_map(raster, scene_m=1.0)
    with pytest.raises(RasterError, match="4096"):
        make_map(raster, scene_m=20_000.0)


def test_a_job_needs_a_known_overlap(raster, tmp_path, bundle):
    job = MapJob(bundle=bundle.path, rasters=(raster,), out=tmp_path / "map", scene_m=16.0, overlap=0.3)
    with pytest.raises(RasterError, match=r"0\.3"):
        make_maps(job)


@pytest.mark.parametrize(("overlap", "expected"), [(0.0, 36), (0.5, 36), (0.75, 36)])
def test_areas_are_those_of_ground_with_pixels(write_raster, make_map, pixels, overlap, expected):
    mask = np.zeros((12 * SIZE, 12 * SIZE), np.uint8)
    mask[3 * SIZE : 9 * SIZE, 3 * SIZE : 9 * SIZE] = 255
    result = make_map(write_raster(pixels(12 * SIZE), mask=mask), overlap=overlap)
    (record,) = result.records.values()
    area = sum(figures.area_m2 for figures in record.figures)
    assert area == pytest.approx(expected * SCENE_M**2, rel=1e-3)


def test_the_cells_at_the_edge_count_as_far_as_the_raster_goes(write_raster, make_map, pixels):
    result = make_map(write_raster(pixels(60, 50)), overlap=0.0)
    (record,) = result.records.values()
    assert (record.n_rows, record.n_columns) == (8, 7)
    classified = [figures.area_m2 for figures in record.figures]
    # Of the last column, the windows have a quarter of their pixels and stay empty.
    assert sum(classified) == pytest.approx(60 * 48 * (2 / 0.9996) ** 2, rel=1e-3)


def test_an_output_that_holds_a_file_of_a_mosaic_is_refused(write_raster, make_map, pixels, tmp_path):
    tile = write_raster(pixels(4 * SIZE), "tiles/a.tif")
    write_mosaic(tmp_path / "inner.vrt", [tile], ignore_nodata=False)
    write_mosaic(tmp_path / "outer.vrt", [tmp_path / "inner.vrt"], ignore_nodata=False)
    with pytest.raises(OutputError, match=r"a\.tif"):
        make_map(tmp_path / "outer.vrt", out=tmp_path / "tiles", overwrite=True)
    assert tile.exists()


class _Change(Reporter):
    """Changes a file when the first windows are done."""

    def __init__(self, path, content):
        self._path, self._content = path, content

    def progress(self, stage, *_):
        if stage == "mapping":
            self._path.write_bytes(self._content)


@pytest.mark.usefixtures("small_blocks")
def test_a_raster_that_changes_meanwhile_is_named(raster, make_map, tmp_path):
    content = raster.read_bytes()
    with pytest.raises(RasterError, match=r"field\.tif has changed"):
        make_map(raster, reporter=_Change(raster, content[:-1] + b"0"))
    assert not (tmp_path / "map").exists()
    assert not (tmp_path / "map.unfinished").exists()


@pytest.mark.usefixtures("small_blocks")
def test_statistics_next_to_a_raster_change_nothing_but_its_nodata_value_does(raster, make_map, tmp_path):
    make_map(raster)
    whole = hashes(tmp_path / "map")
    out, side = tmp_path / "other", raster.with_name("field.tif.aux.xml")
    band = '<PAMDataset><PAMRasterBand band="1">{}</PAMRasterBand></PAMDataset>'
    statistics = band.format('<Metadata><MDI key="STATISTICS_MEAN">7</MDI></Metadata>').encode()
    with pytest.raises(KeyboardInterrupt):
        make_map(raster, out=out, reporter=_Stop(1))
    side.write_text(band.format("<NoDataValue>7</NoDataValue>"), encoding="utf-8")
    with pytest.raises(OutputError, match="another map"):
        make_map(raster, out=out, resume=True)
    side.write_bytes(statistics)
    make_map(raster, out=out, resume=True, reporter=_Change(side, statistics + b"\n"))
    assert hashes(out) == whole


@pytest.mark.usefixtures("small_blocks")
def test_unfinished_maps_of_other_rasters_are_not_mixed(raster, write_raster, make_map, pixels, tmp_path):
    other = write_raster(pixels(3 * SIZE, seed=4), "other.tif")
    with pytest.raises(KeyboardInterrupt):
        make_map(raster, other, reporter=_Stop(1))
    with pytest.raises(OutputError, match="field"):
        make_map(other, resume=True)
    make_map(raster, other, resume=True)
    assert not list(tmp_path.rglob("journal"))
    assert not list(tmp_path.rglob("lock"))


def test_what_cannot_be_merged_leaves_nothing(raster, write_raster, make_map, pixels, tmp_path):
    other = write_raster(pixels(3 * SIZE), "other.tif", crs="EPSG:32633")
    with pytest.raises(RasterError, match="CRS"):
        make_map(raster, other, merge=True)
    assert not (tmp_path / "map.unfinished").exists()


def test_a_raster_without_a_whole_window_is_named(write_raster, make_map, pixels):
    with pytest.raises(RasterError, match=r"small\.tif has no window"):
        make_map(write_raster(pixels(3), "small.tif"))


def test_every_raster_that_fails_is_named(make_map, tmp_path):
    result = make_map(tmp_path / "a.tif", tmp_path / "b.tif")
    assert [str(problem).partition(" ")[0] for problem in result.problems] == [
        str(tmp_path / "a.tif"),
        str(tmp_path / "b.tif"),
    ]
    assert not result.records
    assert not (tmp_path / "map.unfinished").exists()
