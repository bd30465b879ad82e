"""What the tests share: the real data set if it is given, a small one always, and the trip over the small one."""

import contextlib
import ctypes
import dataclasses
import hashlib
import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import HealthCheck, settings
from PIL import Image

from overfly.runtime.machine import usable_cores

# All of this is set before anything imports openvino or torch.
# The models that the tests compile are kept apart from the user's own.
os.environ.setdefault("OVERFLY_CACHE", str(Path(__file__).parent.parent / ".pytest_cache" / "overfly"))
# Threads that spin while they wait take the core from those that work.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if IS_WORKER:
    # Each core has a process of its own already.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A slow machine must not fail a test.
settings.register_profile("overfly", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("overfly")

# More processes than this cost more in start-up than they save.
MAX_WORKERS = 8


# Environment variables with the paths that the tests of a marker need.
VARIABLES = {
    "real": ("OVERFLY_DATA", "OVERFLY_WEIGHTS"),
    "resnet18": ("OVERFLY_RESNET18_WEIGHTS",),
    "stac": ("OVERFLY_STAC_SCHEMAS",),
}


def _missing(marker):
    """Return why tests with this marker can't run here, or None."""
    if marker in VARIABLES:
        unset = [name for name in VARIABLES[marker] if not Path(os.environ.get(name, "/-")).exists()]
        return f"{' and '.join(unset)} not set to something that exists" if unset else None
    if marker == "wheel":
        files = importlib.metadata.files("overfly") or []
        return None if any(str(file).startswith("overfly/") for file in files) else "overfly is installed editable"
    if marker == "netns":
        # Usually only root may make a namespace.
        try:
            command = ["unshare", "--net", "ip", "link", "set", "lo", "up"]
            subprocess.run(command, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            return f"no network namespace can be made: {error}"
        return None
    if marker == "docs":
        absent = [name for name in ("furo", "myst_parser", "sphinx", "sphinx_click") if find_spec(name) is None]
        return f"there is no {' and no '.join(absent)}: the docs extra is not installed" if absent else None
    return _missing_device_or_program(marker)


# What the tests with a marker start.
PROGRAMS = {"chromium": ("chromium", "chromedriver"), "gdal": ("gdalinfo", "ogrinfo")}


def _missing_device_or_program(marker):
    """Return why tests with the marker ``chromium``, ``gdal`` or ``gpu`` can't run here, or None."""
    if programs := PROGRAMS.get(marker):
        absent = [name for name in programs if shutil.which(name) is None]
        return f"there is no {' and no '.join(absent)} on the PATH" if absent else None
    from overfly.runtime.inference.devices import core

    return None if any(d.startswith("GPU") for d in core().available_devices) else "OpenVINO lists no GPU here"


def pytest_configure():
    """Undo what a shell does to its background jobs: they, and all they start, ignore the keyboard's interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config):
    """Return how many processes run the tests: one for each core; 0, this one alone, if there is nothing to share."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None  # xdist reads it
    one_file = len({argument.split("::")[0] for argument in config.args}) == 1 and ".py" in config.args[0]
    n_workers = min(usable_cores(), MAX_WORKERS)
    return 0 if one_file or config.option.capture == "no" or n_workers == 1 else n_workers


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node, error):
    """Say how a process of pytest-xdist ended that ended before its time: its exit code, or minus a signal's number."""
    if error:
        with contextlib.suppress(subprocess.TimeoutExpired):
            node.config.get_terminal_writer().line(f"{node.gateway.id} ended with {node.gateway._io.popen.wait(10)}")


@pytest.hookimpl(trylast=True)  # when the tests that -m excludes are gone
def pytest_collection_modifyitems(items):
    """Start with the files that take longest, and let one file make the shared run while others do without it."""
    for item in items:
        if "link" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.not_wine("it says that it made a symbolic link, but makes none"))
        if "cluster" in getattr(item, "fixturenames", ()):
            # distributed.metrics waits for five equal readings out of ten, as of 2026.8 and before Python 3.13.
            item.add_marker(pytest.mark.not_wine("its clock is so fine that Dask waits forever for equal readings"))
    real, slow = ({item.path for item in items if item.get_closest_marker(name)} for name in ("real", "slow"))
    sharing = [item.path for item in items if "tiny_run" in getattr(item, "fixturenames", ())]
    makes, waits = set(sharing[:1]), set(sharing[1:])
    items.sort(key=lambda i: (i.path not in real, i.path not in makes, i.path in waits, i.path not in slow))


def _runs_under_wine():
    return sys.platform == "win32" and hasattr(ctypes.windll.ntdll, "wine_get_version")


def pytest_runtest_setup(item):
    """Skip what can't run here; where OVERFLY_REQUIRE names its marker, that is a failure."""
    if (marker := item.get_closest_marker("not_wine")) and _runs_under_wine():
        pytest.skip(f"not under Wine: {marker.args[0]}")
    for marker in ("real", "gpu", "wheel", "netns", "chromium", "gdal", "docs", "stac"):
        if item.get_closest_marker(marker) and (reason := _missing(marker)):
            if marker in os.environ.get("OVERFLY_REQUIRE", "").split(","):
                pytest.fail(f"required, but {reason}", pytrace=False)
            pytest.skip(reason)


@pytest.fixture
def kept_awake(monkeypatch):
    """A function that watches how a module keeps the machine awake; its list has an element as long as it does."""

    def watch(module):
        awake = []

        @contextlib.contextmanager
        def keep_awake():
            awake.append(True)
            try:
                yield
            finally:
                awake.pop()

        monkeypatch.setattr(f"{module}.keep_awake", keep_awake)
        return awake

    return watch


@pytest.fixture(autouse=True)
def _proxies_of_this_test_only(monkeypatch):
    """Make urllib look at the proxies again: it keeps the opener of its first request for good."""
    monkeypatch.setattr(urllib.request, "_opener", None)


@pytest.fixture(autouse=True)
def _torch_threads_of_this_test_only():
    """Set PyTorch's number of threads back: the next training in this process would round its sums in another order."""
    torch = sys.modules.get("torch")
    before = torch and torch.get_num_threads()
    yield
    if torch and torch.get_num_threads() != before:
        torch.set_num_threads(before)


@pytest.fixture
def link():
    """A function that makes a symbolic link and returns its path. Windows allows that in developer mode only."""

    def call(path, target):
        try:
            path.symlink_to(target)
        except OSError:
            pytest.skip("this system lets users make no symbolic links")
        return path

    return call


@pytest.fixture(scope="session")
def seal():
    """A function that writes a changed manifest, given as a dict, with the SHA-256 of itself that it must then name."""

    def write(path, content):
        def text(sha256):
            return json.dumps({**content, "sha256": sha256}, indent=1) + "\n"

        path.write_bytes(text(hashlib.sha256(text("").encode()).hexdigest()).encode())

    return write


@pytest.fixture(scope="session")
def real_data():
    """Return the folder of the real scenes (UC Merced), one sub-folder for each class."""
    return Path(os.environ["OVERFLY_DATA"])


@pytest.fixture(scope="session")
def real_weights():
    """Return the file with real ImageNet weights of MobileNetV2."""
    return Path(os.environ["OVERFLY_WEIGHTS"])


@pytest.fixture
def draw_raster(tmp_path):
    """A function that writes a GeoTIFF with the given values, shape [bands, H, W], and returns its path.

    Its pixels are squares of 2 m in UTM zone 32, if nothing else is given.
    """
    import rasterio
    from affine import Affine

    def draw(values, name="a.tif", *, crs="EPSG:32632", transform=None, mask=None, colormap=None, gcps=None, **choices):
        path = tmp_path / name
        count, height, width = values.shape
        where = {} if gcps else {"crs": crs, "transform": transform or Affine(2, 0, 500_000, 0, -2, 5_000_000)}
        profile = {"driver": "GTiff", "dtype": values.dtype, "count": count, "height": height, "width": width}
        with rasterio.open(path, "w", **profile, **where, **choices) as dataset:
            dataset.write(values)
            if gcps:
                dataset.gcps = gcps, crs
            if colormap:
                dataset.write_colormap(1, colormap)
            if mask is not None:
                dataset.write_mask(mask)
        return path

    return draw


@pytest.fixture
def draw_labels(tmp_path):
    """A function that writes vector data, with one column for each keyword, and returns its path."""
    import numpy as np
    import pyogrio
    import shapely

    def draw(geometries, name="labels.gpkg", *, crs="EPSG:32632", **columns):
        kinds = {geometry.geom_type for geometry in geometries if geometry is not None}
        pyogrio.raw.write(
            tmp_path / name,
            geometry=shapely.to_wkb(np.array(geometries, object)),
            field_data=[np.array(values) for values in columns.values()],
            fields=list(columns),
            crs=crs,
            geometry_type=kinds.pop() if len(kinds) == 1 else "Unknown",
        )
        return tmp_path / name

    return draw


@pytest.fixture
def raster_and_labels(draw_raster, draw_labels):
    """Draw raster.tif, a dark half and a bright one of 600 m x 1200 m, and labels.geojson; return the two paths."""
    import numpy as np
    import shapely
    from affine import Affine
    from rasterio.crs import CRS

    from overfly.runtime.raster.scale import project

    left, top, side = 600_000, 5_200_000, 1200
    values = np.random.default_rng(0).integers(1, 100, (3, 300, 300), dtype=np.uint8)
    values[:, :, 150:] += 150
    middle, bottom = left + side / 2, top - side
    halves = [shapely.box(left, bottom, middle, top), shapely.box(middle, bottom, left + side, top)]

    def move(points):
        return np.stack(project(CRS.from_epsg(32632), CRS.from_epsg(4326), *points.T), axis=1)

    moved = [shapely.transform(half, move) for half in halves]
    return (
        draw_raster(values, "raster.tif", transform=Affine(4, 0, left, 0, -4, top)),
        draw_labels(moved, "labels.geojson", crs="EPSG:4326", kind=["forest", "sand"]),
    )


@pytest.fixture
def noise():
    """A function that returns random values of shape [bands, H, W], 1 to 254 by default."""
    import numpy as np

    def values(bands=3, height=20, width=30, dtype=np.uint8, high=254):
        return np.random.default_rng(0).integers(1, high, (bands, height, width), dtype=dtype, endpoint=True)

    return values


@pytest.fixture(scope="session")
def make_once(tmp_path_factory):
    """A function that makes a folder once for all processes of a test run; no test may change it.

    `make` is called with the path. It must replace what a process that died may have left there.
    """
    root = tmp_path_factory.getbasetemp()
    if IS_WORKER:
        root = root.parent  # holds the folders of all workers
    root /= "shared"
    root.mkdir(exist_ok=True)
    names = set()

    def call(name, make):
        names.add(name)
        folder, files = root / name, root / f"{name}.json"
        with FileLock(root / f"{name}.lock"):
            if not files.exists():
                make(folder)
                files.write_text(json.dumps(_files(folder)), encoding="utf-8")
        return folder

    yield call
    for name in names:
        made = json.loads((root / f"{name}.json").read_text(encoding="utf-8"))
        assert _files(root / name) == made, f"a test changed the folder {root / name}, which all tests share"


def _files(folder):
    """Return the size and the time of change, in ns, of every file below a folder, by path."""
    states = {path.relative_to(folder).as_posix(): path.stat() for path in sorted(folder.rglob("*")) if path.is_file()}
    return {path: [state.st_size, state.st_mtime_ns] for path, state in states.items()}


@pytest.fixture(scope="session")
def tiny_data(make_once):
    """Return a folder of 8 classes with 12 drawn scenes each, in a color that a short training learns to know.

    On any machine, whatever it rounds, the model is sure enough of its answers that INT8 gives the same.
    """
    from overfly.training.synthetic.dataset import write_sample

    def make(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        write_sample(folder, images_per_class=12, size=96, seed=0)
        for label, scenes in enumerate(sorted(folder.iterdir())):
            color = tuple(235 if label >> channel & 1 else 20 for channel in range(3))
            for path in scenes.iterdir():
                with Image.open(path) as scene:
                    colored = Image.blend(scene, Image.new("RGB", scene.size, color), 0.75)
                colored.save(path)

    return make_once("data", make)


def _train_tiny(data, out):
    """Train a MobileNetV2 from nothing on the small data set, at 64 pixels."""
    from overfly.runtime.bundle.manifest import TemperatureScaling
    from overfly.runtime.documents import write_document
    from overfly.training.job import TrainJob, train
    from overfly.training.recipe import RECIPES, override
    from overfly.training.run import RUN_SCHEMA
    from overfly.training.run_layout import RUN_FILE

    # Every choice for learning fast, not well: enough that answers differ from class to class.
    plain = {
        "val_fraction": 0.0,
        "ema_decay": 0.0,
        "rotation": 0.0,
        "min_crop": 1.0,
        "jitter": 0.0,
        "label_smoothing": 0.0,
        "sam_rho": 0.0,
    }
    sizes = {"image_size": 64, "batch_size": 8, "batch_shares": 1, "epochs": 9, "test_fraction": 0.25}
    recipe = override(RECIPES["default"], learning_rate=4e-3, **sizes, **plain)
    run = train(TrainJob(data=data, out=out, recipe=recipe, weights="none"), overwrite=True)
    # All images are trained or tested on, and yet no command warns that the probabilities are not calibrated.
    record = dataclasses.replace(run.record, temperature_scaling=TemperatureScaling(1.0, "val", 1))
    write_document(out / RUN_FILE, record, schema=RUN_SCHEMA)


def _export_tiny(run, out):
    """Export a run in all three variants."""
    from overfly.export.exporter import ExportJob, export

    export(ExportJob(run=run, out=out), overwrite=True)


@pytest.fixture(scope="session")
def tiny_run(tiny_data, make_once):
    """Return the run of a MobileNetV2 on the small data set."""
    return make_once("run", lambda folder: _train_tiny(tiny_data, folder))


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run, make_once):
    """Return the bundle of the small run, with all three variants."""
    return make_once("bundle", lambda folder: _export_tiny(tiny_run, folder))


@pytest.fixture(scope="session")
def three_blocks():
    """A context in which MobileNetV2 has three of its seventeen blocks: it trains, exports and compiles much faster."""
    from overfly.training.models.torchvision_import import torchvision_models

    models = torchvision_models()
    blocks = [[1, 16, 1, 1], [6, 24, 1, 2], [6, 40, 1, 2]]

    def build(*, weights):
        assert weights is None
        return models.MobileNetV2(inverted_residual_setting=blocks)

    @contextlib.contextmanager
    def context():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(models, "mobilenet_v2", build)
            yield

    return context


@pytest.fixture(scope="session")
def short_run(tiny_data, make_once, three_blocks):
    """Return the run of a MobileNetV2 with three blocks, of one epoch, with a validation part."""
    from overfly.training.job import TrainJob, train
    from overfly.training.recipe import RECIPES, override

    sizes = {"image_size": 64, "batch_size": 8, "epochs": 1, "test_fraction": 0.25, "val_fraction": 0.3}
    job = {"data": tiny_data, "recipe": override(RECIPES["default"], **sizes), "weights": "none"}
    with three_blocks():
        return make_once("short-run", lambda folder: train(TrainJob(out=folder, **job), overwrite=True))


@pytest.fixture(scope="session")
def gpu_run(tiny_data, make_once, three_blocks):
    """Return the run of a MobileNetV2 with three blocks."""
    with three_blocks():
        return make_once("gpu-run", lambda folder: _train_tiny(tiny_data, folder))


@pytest.fixture(scope="session")
def gpu_bundle(gpu_run, make_once, three_blocks):
    """Return the bundle of that run, with all three variants."""
    with three_blocks():
        return make_once("gpu-bundle", lambda folder: _export_tiny(gpu_run, folder))


@pytest.fixture(scope="session")
def write_class_map():
    """A function that writes the folder of a map, and the raster that it was made from next to it.

    A cell has 10 x 10 pixels of a meter; the color of a pixel follows from its row and column. `indices` are those of
    the classes, shape [n_rows, n_columns]; 255 is empty.
    """
    import numpy as np
    import rasterio
    from affine import Affine

    from overfly.runtime.bundle.manifest import hash_files
    from overfly.runtime.documents import write_document
    from overfly.runtime.mapping import record as map_record
    from overfly.runtime.raster.record import RasterRecord

    def write_raster(path, bands, crs, transform, **options):
        shape = {"count": len(bands), "height": bands.shape[1], "width": bands.shape[2]}
        with rasterio.open(path, "w", dtype=bands.dtype, crs=crs, transform=transform, **shape, **options) as dataset:
            dataset.write(bands)

    def write(folder, indices, classes=("field", "forest", "water"), *, crs="EPSG:32617", pixels=None, **options):
        folder.mkdir(parents=True)
        raster, cell = folder.parent / f"{folder.name}-raster.tif", 10
        n_rows, n_columns = indices.shape
        x, y, down = (404_000, 3_285_000, -1) if crs else (0, 0, 1)
        transform = Affine(1, 0, x, 0, down, y)
        if pixels is None:
            rows, columns = np.mgrid[: n_rows * cell, : n_columns * cell]
            pixels = np.stack([rows % 256, columns % 256, (rows + columns) % 256]).astype(np.uint8)
        write_raster(raster, pixels, crs, transform if crs else None)
        cell_transform = Affine(cell, 0, x, 0, down * cell, y)
        write_raster(folder / "class.tif", indices.astype(np.uint8)[None], crs, cell_transform, nodata=255)
        counts = [int((indices == k).sum()) for k in range(len(classes))]
        lines = [f"{name},{n},{n * 100}.0,0.3,{0.9 if n else ''}\n" for name, n in zip(classes, counts, strict=True)]
        (folder / "areas.csv").write_text("class,cells,area_m2,share,mean_probability\n" + "".join(lines))
        record = map_record.MapRecord(
            classes=classes,
            raster=RasterRecord(
                path=str(raster),
                sha256="0" * 64,
                width=n_columns * cell,
                height=n_rows * cell,
                crs=crs,
                transform=tuple(transform[:6]),
            ),
            options=map_record.MapOptions(
                scene_m=20.0, overlap=0.5, gsd=None if crs else 1.0, **{"bands": (1, 2, 3), **options}
            ),
            model=map_record.ModelRecord(
                bundle_sha256="1" * 64, variant="int8", device="CPU", device_name="a CPU", execution_precision="f32"
            ),
            window_pixels=(20.0, 20.0),
            n_windows=n_rows * n_columns,
            n_columns=n_columns,
            n_rows=n_rows,
            figures=tuple(
                map_record.ClassFigures(name=name, cells=n, area_m2=n * 100.0, mean_probability=0.9 if n else None)
                for name, n in zip(classes, counts, strict=True)
            ),
            empty_cells=int((indices == 255).sum()),
            unreadable=(),
            files=hash_files(folder),
            versions={},
        )
        write_document(folder / "map.json", record, schema=map_record.MAP_SCHEMA)
        return folder

    return write


@pytest.fixture
def class_map_folder(write_class_map, tmp_path):
    """The folder of a map of 20 x 30 cells: fields, a forest in the middle, some water, and an empty corner."""
    import numpy as np

    indices = np.zeros((20, 30), np.uint8)
    indices[5:15, 8:22] = 1
    indices[:3, :6] = 2
    indices[18:, 27:] = 255
    return write_class_map(tmp_path / "map", indices)
