"""Real GeoTIFFs become a data folder that `scan` and `choose_split` take, and whose parts are apart on the ground."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyogrio
import pytest
import rasterio
import shapely
from rasterio import Affine
from rasterio.crs import CRS

from overfly.runtime.errors import DataError, OutputError, RasterError
from overfly.runtime.raster.scale import project
from overfly.runtime.reporter import Reporter
from overfly.training.data.chips.job import ChipsJob, cut_chips
from overfly.training.data.dataset import scan
from overfly.training.data.split import choose_split

LEFT, TOP, SIDE = 500_000, 5_000_000, 400.0


class Notes(Reporter):
    def __init__(self):
        self.notes = []

    def note(self, message):
        self.notes.append(message)


def _scenes(path):
    """Return the footprints, in UTM, and the parts of the scenes in a data folder."""
    split = json.loads((path / "split.json").read_text())
    outlines, parts = [], []
    for file in split["files"]:
        with rasterio.open(path / file["name"]) as chip:
            columns, rows = np.array([0, chip.width, chip.width, 0]), np.array([0, 0, chip.height, chip.height])
            xs, ys = chip.transform @ (columns, rows)
            outlines.append(np.stack(project(chip.crs, CRS.from_epsg(32632), xs, ys), axis=1))
        parts.append(file["part"])
    return shapely.polygons(np.array(outlines)), np.array(parts)


@pytest.fixture
def halves(draw_labels):
    """Labels in longitude and latitude: field in the west, water in the east of a square."""
    middle = LEFT + SIDE / 2
    boxes = [shapely.box(LEFT, TOP - SIDE, middle, TOP), shapely.box(middle, TOP - SIDE, LEFT + SIDE, TOP)]

    def move(points):
        return np.stack(project(CRS.from_epsg(32632), CRS.from_epsg(4326), *points.T), axis=1)

    moved = [shapely.transform(shapely.segmentize(box, 50), move) for box in boxes]
    return draw_labels(moved, "halves.geojson", crs="EPSG:4326", kind=["field", "water"])


@pytest.fixture
def job(draw_raster, noise, halves, tmp_path):
    raster = draw_raster(noise(height=100, width=200))
    return ChipsJob(rasters=(raster,), labels=halves, out=tmp_path / "scenes", scene_m=20, block=4)


def test_scenes_hold_the_native_pixels_of_their_windows(job, noise):
    record = cut_chips(job)
    values = noise(height=100, width=200)
    for path in job.out.rglob("*.tif"):
        row, column = map(int, path.stem.split("_")[1:])
        with rasterio.open(path) as chip:
            np.testing.assert_array_equal(chip.read(), values[:, row : row + 10, column : column + 10])
            assert chip.transform == Affine(2, 0, LEFT + 2 * column, 0, -2, TOP - 2 * row)
            assert chip.tags()["window"] == f"{column},{row},10,10"
        assert path.parent.name == ("field" if column < 100 else "water")
    assert record.rasters[0].window_pixels == (10, 10)
    assert record.n_scenes + record.dropped["near_other_part"] == 200


def test_the_folder_is_one_that_train_takes_with_its_split(job):
    job = replace(job, val_fraction=0.2)
    record = cut_chips(job)
    dataset = scan(job.out)
    assert dataset.classes == ("field", "water")
    notes = Notes()
    split = choose_split(dataset, test_fraction=0.5, val_fraction=0.0, seed=9, reporter=notes)
    assert "split.json" in notes.notes[0]
    assert dataset.ignored == dataset.outside == ()
    for name, parts in record.counts.items():
        assert set(parts) == {"train", "val", "test"}
        assert sum(parts.values()) == sum(file.name.startswith(f"{name}/") for file in split.files)
    footprints, parts = _scenes(job.out)
    for one, other in (("train", "test"), ("train", "val"), ("val", "test")):
        gap = shapely.distance(footprints[parts == one], shapely.multipolygons(footprints[parts == other]))
        assert gap.min() >= 20 * 0.999


@pytest.mark.slow
def test_overlapping_rasters_in_different_crs_share_one_split(job, draw_raster, noise):
    def moved(crs, x, y):
        return [float(v[0]) for v in project(CRS.from_epsg(32632), CRS.from_epsg(crs), np.array([x]), np.array([y]))]

    x, y = moved(3857, LEFT + 7.0, TOP - 3.0)
    mercator = draw_raster(noise(height=150, width=150), "b.tif", crs="EPSG:3857", transform=Affine(3, 0, x, 0, -3, y))
    x, y = moved(4326, LEFT + 90.0, TOP - 50.0)
    degrees = Affine(2e-5, 0, x, 0, -1.5e-5, y)
    degrees = draw_raster(noise(height=150, width=150), "c.tif", crs="EPSG:4326", transform=degrees)
    job = replace(job, rasters=(*job.rasters, mercator, degrees))
    record = cut_chips(job)
    assert all(source.n_windows > 80 for source in record.rasters)
    footprints, parts = _scenes(job.out)
    gap = shapely.distance(footprints[parts == "train"], shapely.multipolygons(footprints[parts == "test"]))
    assert gap.min() >= 20 * 0.995
    assert {"train", "test"} == set(parts)
    meta, *_ = pyogrio.raw.read(job.out / "chips.gpkg")
    assert meta["crs"] == "EPSG:4326"


@pytest.mark.slow
def test_windows_that_are_half_missing_are_dropped_and_others_mirrored(job, draw_raster, noise):
    values = noise(height=200, width=200)
    values[:, :, :6] = 0  # 60% of the first column of windows
    values[:, :, 194:198] = 0  # 40% of the last one
    job = replace(job, rasters=(draw_raster(values, "holes.tif", nodata=0),))
    record = cut_chips(job)
    assert record.dropped["missing_pixels"] == 20
    assert not list(job.out.rglob("holes_*_00000.tif"))
    last = sorted(job.out.rglob("holes_*_00190.tif"))
    assert last
    for path in last:
        with rasterio.open(path) as chip:
            pixels = chip.read()
        assert pixels.min() > 0
        # Mirrored at the columns 3 and 8: the nearest valid ones.
        np.testing.assert_array_equal(pixels[:, :, 4], pixels[:, :, 2])
        np.testing.assert_array_equal(pixels[:, :, 7], pixels[:, :, 9])


def test_windows_without_a_label_are_dropped_or_get_a_class(job, draw_labels):
    boxes = [shapely.box(LEFT, TOP - SIDE, LEFT + 200, TOP)]
    job = replace(job, labels=draw_labels(boxes, kind=["field"]))
    assert cut_chips(job).dropped["unlabeled"] == 100
    record = cut_chips(replace(job, outside="other"), overwrite=True)
    assert set(record.counts) == {"field", "other"}
    assert "unlabeled" not in record.dropped
    assert record.labels.outside == "other"


@pytest.mark.slow
def test_a_range_is_applied_and_recorded(job, draw_raster, noise):
    values = noise(height=200, width=200, dtype=np.uint16, high=2000)
    job = replace(job, rasters=(draw_raster(values, "deep.tif"),))
    with pytest.raises(RasterError, match=r"deep\.tif.*--range"):
        cut_chips(job)
    assert not job.out.exists()
    assert cut_chips(replace(job, value_range=(0.0, 2000.0))).value_range == (0.0, 2000.0)
    path = next(job.out.rglob("*_00000.tif"))
    row = int(path.stem.split("_")[1])
    with rasterio.open(path) as chip:
        np.testing.assert_array_equal(chip.read(), np.rint(values[:, row : row + 10, :10] * (255 / 2000)))
    notes = Notes()
    record = cut_chips(replace(job, auto_range=True), overwrite=True, reporter=notes)
    assert record.value_range == (pytest.approx(40, abs=5), pytest.approx(1960, abs=5))
    assert f"{record.value_range[0]:g},{record.value_range[1]:g}" in notes.notes[0]


def test_a_grid_needs_neither_labels_nor_a_crs(job, draw_raster, noise):
    path = draw_raster(noise(height=40, width=60), "plain.tif", crs=None)
    record = cut_chips(replace(job, rasters=(path,), labels=None, gsd=2.0))
    assert record.counts == {"unlabeled": {"": 24}}
    names = {path.name for path in job.out.iterdir()}
    assert names == {"unlabeled", "chips.json"}
    cut_chips(replace(job, labels=None), overwrite=True)
    assert (job.out / "chips.gpkg").is_file()


@pytest.mark.slow
def test_the_same_job_gives_the_same_bytes(job, tmp_path):
    jobs = [replace(job, out=tmp_path / name) for name in ("one", "two")]
    for each in jobs:
        cut_chips(each)
    one, two = ({p.relative_to(j.out): p.read_bytes() for p in j.out.rglob("*") if p.is_file()} for j in jobs)
    assert one == two


def test_a_class_that_can_not_be_divided_is_named_and_nothing_is_written(job, draw_labels):
    boxes = [shapely.box(LEFT, TOP - SIDE, LEFT + 380, TOP), shapely.box(LEFT + 380, TOP - 20, LEFT + SIDE, TOP)]
    labels = draw_labels(boxes, kind=["field", "pond"])
    with pytest.raises(DataError, match=r"the class pond .* 1 block .*at least 2"):
        cut_chips(replace(job, labels=labels))
    assert not job.out.exists()
    assert not [path for path in job.out.parent.iterdir() if path.name.endswith(".part")]


def test_an_interruption_leaves_nothing(job):
    class Interrupted(Reporter):
        def progress(self, stage, done, total):
            if stage == "cutting scenes" and done == total // 8:
                raise KeyboardInterrupt

    before = {*job.out.parent.iterdir()}
    with pytest.raises(KeyboardInterrupt):
        cut_chips(job, reporter=Interrupted())
    assert {*job.out.parent.iterdir()} == before


def test_the_machine_stays_awake_while_scenes_are_cut(job, kept_awake):
    awake = kept_awake("overfly.training.data.chips.job")

    class Interrupted(Reporter):
        def progress(self, stage, *_):
            if stage == "cutting scenes":
                assert awake
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cut_chips(job, reporter=Interrupted())
    assert not awake


def test_a_scene_near_another_part_that_a_scanner_has_open_is_deleted_when_it_is_free(job, monkeypatch):
    unlink, failed = Path.unlink, []

    def unlink_the_second_time(path, **options):
        if path.suffix == ".tif" and path not in failed:
            failed.append(path)
            error = PermissionError(13, "The file is in use by another program")
            error.winerror = 32
            raise error
        unlink(path, **options)

    monkeypatch.setattr(Path, "unlink", unlink_the_second_time)
    record = cut_chips(job)
    assert len(failed) == record.dropped["near_other_part"] > 0
    assert record.n_scenes == len([*job.out.rglob("*.tif")])


def test_labels_elsewhere_give_no_scene(job, draw_labels):
    far = draw_labels([shapely.box(0, 0, 10, 10)], kind=["a"])
    with pytest.raises(RasterError, match=r"200 windows.*200 unlabeled.*labels\.gpkg"):
        cut_chips(replace(job, labels=far))


def test_rasters_that_are_all_too_small_are_named(job):
    with pytest.raises(RasterError, match=r"scene of 1000 m.*a\.tif"):
        cut_chips(replace(job, scene_m=1000))


def test_rasters_with_other_bands_are_named(job, draw_raster, noise):
    gray = draw_raster(noise(bands=1, height=50, width=50), "gray.tif")
    with pytest.raises(RasterError, match=r"gray\.tif.*\(1, 1, 1\).*--bands"):
        cut_chips(replace(job, rasters=(*job.rasters, gray)))


def test_an_output_is_neither_an_input_nor_replaced(job):
    with pytest.raises(OutputError):
        cut_chips(replace(job, out=job.rasters[0].parent), overwrite=True)
    job.out.mkdir()
    (job.out / "mine").touch()
    with pytest.raises(OutputError, match="--overwrite"):
        cut_chips(job)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"scene_m": 0}, "scene_m"),
        ({"bands": (1, 2)}, "bands"),
        ({"min_cover": 0}, "min_cover"),
        ({"test_fraction": 1}, "test_fraction"),
        ({"nodata": "x"}, "'x'"),
        ({"value_range": (2, 1)}, "2,1"),
        ({"value_range": (1, 2), "auto_range": True}, "auto_range"),
    ],
)
def test_wrong_choices_are_errors(job, wrong, named):
    with pytest.raises(ValueError, match=named):
        replace(job, **wrong)


@pytest.mark.real
def test_real_rasters_become_scenes(real_data, tmp_path):
    folder = real_data.parents[1] / "rasters"
    if not folder.is_dir():
        pytest.skip("the folder of real rasters is not next to the data")
    rasters = [folder / name for name in ("OSBS_029.tif", "dummy_fotomap_small.tif", "RGB.byte.tif")]
    record = cut_chips(ChipsJob(rasters=(*rasters[:2],), out=tmp_path / "scenes", scene_m=4))
    # 400 pixels of 0.1 m, and 1243 x 841 of 0.02 m.
    assert [source.window_pixels for source in record.rasters] == [(40, 40), (200, 200)]
    assert [source.n_windows for source in record.rasters] == [100, 24]
    with (
        rasterio.open(rasters[0]) as raster,
        rasterio.open(tmp_path / "scenes/unlabeled/OSBS_029_00040_00080.tif") as c,
    ):
        np.testing.assert_array_equal(c.read(), raster.read(window=((40, 80), (80, 120))))
    record = cut_chips(ChipsJob(rasters=(rasters[2],), out=tmp_path / "landsat", scene_m=15_000))
    # A third of its 14 x 15 windows of 50 pixels is outside of the slanted image.
    assert record.rasters[0].window_pixels == (50, 50)
    assert record.dropped["missing_pixels"] == pytest.approx(70, abs=15)
