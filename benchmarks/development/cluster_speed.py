"""What it costs to let workers classify the blocks of a map, and how many blocks per second a client can take.

    python -m overfly.benchmarks.development.cluster_speed BUNDLE --images FOLDER
    python -m overfly.benchmarks.development.cluster_speed BUNDLE

With images, a raster of them side by side is classified in turns by this process, and by workers on this machine with
the same number of threads in total: one worker, and two. Two workers that take all cores each show why they must not. A
block counts from when it is sent to its result; the start of the workers does not count. A small raster has few blocks,
and one of the workers then has none left at the end.

Without images, 200 workers are simulated in one process, whose model is a pause of known length, and a scheduler in
another one. That shows how fast the client sends out blocks, receives their results, writes the journal and adds up
probabilities. Close all other programs first. On a shared machine, only the ratios and the CPU times are meaningful.
"""

import asyncio
import gc
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np
import rasterio
from rasterio import Affine

from overfly.benchmarks.development.ab_test import ABResult, measure_alternately
from overfly.benchmarks.development.harness import Result, make_parser, positive, show
from overfly.benchmarks.development.map_speed import MapTest, write_raster
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.cluster.access import LOOPBACK
from overfly.runtime.cluster.dask_setup import silence_dask
from overfly.runtime.cluster.job import ClusterJob
from overfly.runtime.cluster.request import Answer
from overfly.runtime.cluster.service import BlockService
from overfly.runtime.images.discovery import find_images
from overfly.runtime.machine import usable_cores
from overfly.runtime.mapping.classification import BlockResult
from overfly.runtime.mapping.engine import BlockEngine, OpenEngine, open_local_engine
from overfly.runtime.mapping.job import MapJob, map_options
from overfly.runtime.mapping.plan import plan_maps
from overfly.runtime.mapping.raster_map import RasterMap
from overfly.runtime.reporter import SILENT

# Of a window, in pixels, and of a pixel, in meters.
_WINDOW = 256
_PIXEL_M = 0.3048
# The simulated raster: windows of 8 pixels, without overlap.
_SMALL_WINDOW = 8
_SMALL_PIXEL_M = 2.0
# Per block of 16 x 32 windows.
_BLOCK_ROWS, _BLOCK_COLUMNS = 16, 32
_MS = 1000
# Each simulated worker would observe its whole process, with all the others.
_DASK_CHOICES = {
    "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "False",
    "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "1 hour",
}


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """How many blocks per second came from simulated workers.

    Attributes
    ----------
    n_workers, pause_s, n_blocks
        What was simulated; the pause is the time that a worker takes for a block.
    blocks_per_s
        What the client received.
    client_ms
        CPU time of the client per block, in ms.
    """

    columns: ClassVar[tuple[str, ...]] = ("workers", "offered", "blocks/s", "client, ms per block", "limit")

    n_workers: int
    pause_s: float
    n_blocks: int
    blocks_per_s: float
    client_ms: float

    @property
    def cells(self) -> tuple[str, ...]:
        """The figures as text."""
        offered = self.n_workers / self.pause_s
        return (
            str(self.n_workers),
            f"{offered:.0f}",
            f"{self.blocks_per_s:.0f}",
            f"{self.client_ms:.2f}",
            "at least 200",
        )

    @property
    def is_met(self) -> bool:
        """Whether the client takes 200 blocks per second."""
        return self.blocks_per_s >= 200  # noqa: PLR2004 - the limit

    def as_record(self) -> dict[str, object]:
        """Return all figures by name, for JSON."""
        return {**asdict(self), "is_met": self.is_met}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print a table or, with ``--json``, an array."""
    parser = make_parser("cluster_speed", n_rounds=3)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--images", type=Path, help="a folder of images, of which a raster is made")
    parser.add_argument("--variant", default="int8", help="default: %(default)s")
    parser.add_argument("--side", type=positive, default=15360, help="of the raster in pixels; default: %(default)s")
    parser.add_argument("--workers", type=positive, default=200, help="simulated workers; default: %(default)s")
    parser.add_argument("--pause", type=float, default=0.6, help="of a simulated worker in s; default: %(default)s")
    parser.add_argument("--blocks", type=positive, default=3000, help="simulated blocks; default: %(default)s")
    options = parser.parse_args(arguments)
    results: Sequence[Result]
    if options.images:
        paths = tuple(find_images([options.images]))
        results = compare(MapTest(options.bundle, paths, options.variant, "CPU", options.side, options.rounds))
    else:
        results = [simulate(options.bundle, options.workers, options.pause, options.blocks)]
    show(results, as_json=options.json)


def compare(test: MapTest) -> list[ABResult]:
    """Compare the blocks per second of workers with those of one process."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        raster = write_raster(folder / "raster.tif", test, {"compress": "deflate"})
        job = MapJob(
            bundle=test.bundle,
            rasters=(raster,),
            out=folder / "map",
            scene_m=_WINDOW * _PIXEL_M,
            device="CPU",
            variant=test.variant,
        )
        crowded = replace(job, properties={"INFERENCE_NUM_THREADS": str(usable_cores())})
        sides = (
            ("1 worker, of one process", job, 1, 0.95),
            ("2 workers, of one process", job, 2, 0.95),
            ("2 workers with all cores each, of one process", crowded, 2, 0.0),
        )
        return [_compare(test.n_rounds, *side) for side in sides]


def _compare(n_rounds: int, name: str, job: MapJob, n_workers: int, at_least: float) -> ABResult:
    """Compare workers with this process."""
    with ExitStack() as stack:
        plan = _plan(job)
        ours = _open(stack, job, ClusterJob(n_workers=n_workers).open_engine)
        theirs = _open(stack, job, open_local_engine)
        for engine in (ours, theirs):  # all have compiled then
            _rate(engine, plan)
        figures = measure_alternately(n_rounds, partial(_rate, ours, plan), partial(_rate, theirs, plan))
    return ABResult(name, "blocks/s", *figures, at_least=at_least)


def _plan(job: MapJob) -> RasterMap:
    """Return the plan of a job with one raster."""
    bundle = Bundle.open(job.bundle)
    (plan,), _ = plan_maps(job, map_options(job, bundle), bundle.manifest, SILENT)
    return plan


def _open(stack: ExitStack, job: MapJob, open_engine: OpenEngine) -> BlockEngine:
    """Open an engine until the end of a stack."""
    return stack.enter_context(open_engine(job, Bundle.open(job.bundle), SILENT))


def _rate(engine: BlockEngine, plan: RasterMap) -> float:
    """Return how many blocks per second an engine classifies."""
    start = time.perf_counter()
    n_blocks = sum(1 for _ in engine.results(plan.work(), enumerate(plan.grid.blocks())))
    return n_blocks / (time.perf_counter() - start)


def simulate(bundle: Path, n_workers: int, pause_s: float, n_blocks: int) -> SimulationResult:
    """Take blocks from workers whose model is a pause."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        raster = _write_empty_raster(folder / "raster.tif", n_blocks)
        scene_m = _SMALL_WINDOW * _SMALL_PIXEL_M / 0.9996
        job = MapJob(bundle=bundle, rasters=(raster,), out=folder / "map", scene_m=scene_m, overlap=0.0, device="CPU")
        plan = _plan(job)
        setup = folder / "setup.json"
        setup.write_text(json.dumps([n_workers, pause_s, _canned(plan).hex()]))
        address = stack.enter_context(_start("schedule"))
        stack.enter_context(_start("work", address, str(setup)))
        engine = _open(stack, job, ClusterJob(scheduler=address).open_engine)
        done: list[tuple[float, float]] = []
        plan.classify(folder, engine, lambda *_: done.append((time.perf_counter(), time.process_time())))
    # From when every worker has begun until the first of them finds no block any more.
    first, last = done[len(done) // 5], done[len(done) * 4 // 5]
    n_counted = len(done) * 4 // 5 - len(done) // 5
    return SimulationResult(
        n_workers, pause_s, n_blocks, n_counted / (last[0] - first[0]), (last[1] - first[1]) / n_counted * _MS
    )


def _canned(plan: RasterMap) -> bytes:
    """Return the result of a block, as large as a real one."""
    spec = plan.work().spec
    everything = np.ones((_BLOCK_ROWS, _BLOCK_COLUMNS), np.bool_)
    shape = _BLOCK_ROWS * spec.cell_pixels, _BLOCK_COLUMNS * spec.cell_pixels, 3
    probabilities = np.full((everything.size, spec.n_classes), 65534 // spec.n_classes, np.uint16)
    return BlockResult(everything, everything, probabilities, np.zeros(shape, np.uint8)).to_bytes()


def _write_empty_raster(path: Path, n_blocks: int) -> Path:
    """Write a raster that is cut into a number of whole blocks, and takes no space."""
    n_columns = max(1, round((n_blocks / 2) ** 0.5))
    height = -(-n_blocks // n_columns) * _BLOCK_ROWS * _SMALL_WINDOW
    shape = {"count": 3, "dtype": "uint8", "height": height, "width": n_columns * _BLOCK_COLUMNS * _SMALL_WINDOW}
    place = {"crs": "EPSG:32632", "transform": Affine(_SMALL_PIXEL_M, 0, 500_000, 0, -_SMALL_PIXEL_M, 5_000_000)}
    with rasterio.open(path, "w", driver="GTiff", sparse_ok=True, tiled=True, **shape, **place):
        return path


@contextmanager
def _start(function: str, *arguments: str) -> Iterator[str]:
    """Start a process that calls a function of this module; yield the first line that it writes."""
    code = f"from overfly.benchmarks.development.cluster_speed import {function} as f; f(*{arguments!r})"
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, **_DASK_CHOICES}
    ) as process:
        try:
            yield process.stdout.readline().strip() if process.stdout else ""
        finally:
            process.kill()


class _Pause(BlockService):
    """Answers with the same result for each block, after a pause."""

    def __init__(self, pause_s: float, data: bytes) -> None:
        self._pause_s = pause_s
        self._data = data

    def answer(self, *_arguments: object) -> Answer:
        """Wait, and return the result."""
        # Two tasks of a worker wait at once, where one infers in a real one.
        time.sleep(2 * self._pause_s)
        return Answer(data=self._data)


def schedule() -> None:
    """Be a scheduler; write its address to standard output."""
    from distributed import Scheduler

    async def run() -> None:
        async with Scheduler(host=LOOPBACK, port=0, dashboard_address=f"{LOOPBACK}:0") as scheduler:
            _write_line(scheduler.address)
            await scheduler.finished()

    silence_dask()
    asyncio.run(run())


def work(address: str, setup: str) -> None:
    """Be the simulated workers that a file describes; write a line to standard output when they have begun."""
    from overfly.runtime.cluster.worker import MapWorker

    n_workers, pause_s, data = json.loads(Path(setup).read_text())
    service = _Pause(pause_s, bytes.fromhex(data))

    async def run() -> None:
        workers = [MapWorker(address, service=service, host=LOOPBACK, name=f"{n}") for n in range(n_workers)]
        await asyncio.gather(*workers)
        # Otherwise Python looks through the parts of all these workers again and again.
        gc.freeze()
        _write_line("ready")
        await asyncio.gather(*(worker.finished() for worker in workers))

    silence_dask()
    asyncio.run(run())


def _write_line(text: str) -> None:
    """Write a line to standard output at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
