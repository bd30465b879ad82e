"""How close `map` comes to what is possible, and to the loop that people write; measured in turns.

    python -m overfly.benchmarks.development.map_speed BUNDLE --images FOLDER

A raster of images of the folder side by side is written without compression, with deflate and as JPEG. For each of
them and each overlap of the windows, there are two comparisons of windows per second:

- with what is possible: inference of all windows, decoding every pixel once, and resizing every pixel once, each alone
  and one after the other on the same cores;
- with a loop: for each window, rasterio reads it, Pillow resizes it, and one synchronous request of the same compiled
  model classifies it. Of many windows, the loop does the first rows.

A map counts from its first window to its last file. Close all other programs first. On a shared machine, only the
ratios are meaningful.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import rasterio
from PIL import Image
from rasterio import Affine
from rasterio.windows import Window

from overfly.benchmarks.development.ab_test import ABResult, measure_alternately
from overfly.benchmarks.development.harness import make_parser, positive, show
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import Classifier
from overfly.runtime.images.discovery import find_images
from overfly.runtime.images.reading import ImageReader, resize
from overfly.runtime.mapping.engine import LocalEngine, model_record
from overfly.runtime.mapping.job import MapJob, map_options
from overfly.runtime.mapping.plan import plan_maps
from overfly.runtime.mapping.raster_map import RasterMap
from overfly.runtime.mapping.record import OVERLAPS
from overfly.runtime.reporter import SILENT

# GDAL's creation options for each way to store a raster.
_STORAGE: dict[str, dict[str, object]] = {
    "raw": {},
    "deflate": {"compress": "deflate"},
    "JPEG": {"compress": "jpeg", "photometric": "ycbcr", "jpeg_quality": 90},
}
_TILE = 256  # of the rasters, in pixels
_WINDOW = 256  # in pixels
_PIXEL_M = 0.3048
# As many windows show how fast the loop is.
_LOOP_WINDOWS = 400


@dataclass(frozen=True, slots=True)
class MapTest:
    """What to measure.

    Attributes
    ----------
    bundle
        The bundle.
    paths
        Images for the raster.
    side
        Of the raster, in pixels.
    n_rounds
        How often each side is measured.
    """

    bundle: Path
    paths: tuple[Path, ...]
    variant: str
    device: str
    side: int
    n_rounds: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table or, with ``--json``, an array."""
    parser = make_parser("map_speed", n_rounds=5)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=Path, required=True, help="a folder of images, for the raster")
    parser.add_argument("--variant", default="int8", help="default: %(default)s")
    parser.add_argument("--device", default="CPU", help="default: %(default)s")
    parser.add_argument(
        "--side", type=positive, default=7680, help="side of the raster in pixels; default: %(default)s"
    )
    parser.add_argument("--storage", choices=[*_STORAGE], action="append", help="default: all of them")
    parser.add_argument("--overlap", type=float, choices=[*OVERLAPS], action="append", help="default: all of them")
    options = parser.parse_args(arguments)
    paths = tuple(find_images([options.images]))
    test = MapTest(options.bundle, paths, options.variant, options.device, options.side, options.rounds)
    results = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        for storage in options.storage or _STORAGE:
            raster = write_raster(Path(folder, f"{storage}.tif"), test, _STORAGE[storage])
            for overlap in options.overlap or OVERLAPS:
                results += compare(test, raster, overlap, f"{storage}, overlap {overlap:g}")
    show(results, as_json=options.json)


def compare(test: MapTest, raster: Path, overlap: float, name: str) -> list[ABResult]:
    """Compare the windows per second of a map with those of the bound and of the loop."""
    with _planned(test, raster, overlap) as (plan, write, classifier):
        ours, bound = measure_alternately(
            test.n_rounds, partial(_rate, write, plan.n_windows), partial(_bound, plan, raster, classifier)
        )
        again, loop = measure_alternately(
            test.n_rounds, partial(_rate, write, plan.n_windows), partial(_loop, plan, raster, classifier)
        )
    at_least = {0.5: 2.5}.get(overlap, 1.0)
    return [
        ABResult(f"{name}, of what is possible", "windows/s", ours, bound, at_least=0.85),
        ABResult(f"{name}, of a loop", "windows/s", again, loop, at_least=at_least),
    ]


@contextmanager
def _planned(test: MapTest, raster: Path, overlap: float) -> Iterator[tuple[RasterMap, Callable[[], None], Classifier]]:
    """Yield the plan of a map, a function that makes the map, and the model."""
    bundle = Bundle.open(test.bundle)
    with ExitStack() as stack:
        out = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        scene_m = _WINDOW * _PIXEL_M
        job = MapJob(bundle=test.bundle, rasters=(raster,), out=out / "map", scene_m=scene_m, overlap=overlap)
        (plan,), _ = plan_maps(job, map_options(job, bundle), bundle.manifest, SILENT)
        classifier = stack.enter_context(
            Classifier.from_bundle(test.bundle, device=test.device, variant=test.variant, hint="throughput")
        )
        engine = LocalEngine(classifier, model_record(bundle, classifier))
        numbers = iter(range(1_000_000))

        def write() -> None:
            # A new folder each time, or the journal would be continued.
            plan.write(out / str(next(numbers)), engine, lambda *_: None)

        yield plan, write, classifier


def _rate(work: Callable[[], None], n_windows: int) -> float:
    """Return how many windows per second `work` does, which does `n_windows`."""
    start = time.perf_counter()
    work()
    return n_windows / (time.perf_counter() - start)


def _bound(plan: RasterMap, raster: Path, classifier: Classifier) -> float:
    """Return the windows per second that inference, decoding and resizing allow."""
    size = classifier.reader.size
    stack = np.random.default_rng(0).integers(0, 256, (64, size, size, 3), np.uint8)
    images = cycle(stack)
    start = time.perf_counter()
    for _ in classifier.runner.stream(next(images) for _ in range(plan.n_windows)):
        pass
    inference = time.perf_counter() - start
    strip = _TILE * 16
    decoding = resizing = 0.0
    with rasterio.open(raster) as dataset:
        for row in range(0, dataset.height, strip):
            for column in range(0, dataset.width, strip):
                part = Window(column, row, min(strip, dataset.width - column), min(strip, dataset.height - row))
                pixels = np.empty((part.height, part.width, 3), np.uint8)
                start = time.perf_counter()
                dataset.read(out=pixels.transpose(2, 0, 1), window=part)
                decoding += time.perf_counter() - start
                image = Image.fromarray(pixels)
                target = max(1, part.width * size // _WINDOW), max(1, part.height * size // _WINDOW)
                start = time.perf_counter()
                resize(image, target, reduce_first=classifier.reader.reduce_first)
                resizing += time.perf_counter() - start
    return plan.n_windows / (inference + decoding + resizing)


def _loop(plan: RasterMap, raster: Path, classifier: Classifier) -> float:
    """Return the windows per second of the loop that people write."""
    size, stride = classifier.reader.size, _WINDOW // plan.grid.per_side
    windows = [
        (row * stride, column * stride) for row in range(plan.grid.n_rows) for column in range(plan.grid.n_columns)
    ]
    windows = [(y, x) for y, x in windows if y + _WINDOW <= plan.grid.height and x + _WINDOW <= plan.grid.width]
    some = windows[:_LOOP_WINDOWS]
    classes = []
    start = time.perf_counter()
    with rasterio.open(raster) as dataset:
        for y, x in some:
            pixels = dataset.read(window=Window(x, y, _WINDOW, _WINDOW))
            image = Image.fromarray(pixels.transpose(1, 2, 0)).resize((size, size), Image.Resampling.BILINEAR)
            classes.append(classifier.runner.infer(np.asarray(image)[np.newaxis])[0].argmax())
    return len(some) / (time.perf_counter() - start)


def write_raster(path: Path, test: MapTest, choices: dict[str, object]) -> Path:
    """Write a raster of images side by side with some of GDAL's creation options, and return its path."""
    reader = ImageReader(_TILE)
    tiles = [reader.read(each).transpose(2, 0, 1) for each in test.paths[: (test.side // _TILE) ** 2]]
    images = cycle(tiles)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "width": test.side, "height": test.side}
    # At the central meridian of the projection, its scale is 0.9996.
    step = _PIXEL_M * 0.9996
    place = {"crs": "EPSG:32611", "transform": Affine(step, 0, 500_000, 0, -step, 4_000_000)}
    tiled = {"tiled": True, "blockxsize": _TILE, "blockysize": _TILE}
    with rasterio.open(path, "w", **profile, **place, **tiled, **choices) as dataset:
        for row in range(0, test.side, _TILE):
            for column in range(0, test.side, _TILE):
                width, height = min(_TILE, test.side - column), min(_TILE, test.side - row)
                part = Window(column, row, width, height)
                dataset.write(next(images)[:, :height, :width], window=part)
    return path


if __name__ == "__main__":
    main()
