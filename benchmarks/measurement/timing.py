"""The measuring itself: rounds over all rows, with a clock and backends that a test can replace."""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product

import numpy as np
import numpy.typing as npt

from overfly.benchmarks.models.backends import Backend, Logits
from overfly.benchmarks.results.records import Measurements, ThroughputSample
from overfly.runtime.errors import OverflyError
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.pipeline import ordered_results
from overfly.runtime.inference.runner import summarize_openvino_error
from overfly.runtime.machine import decoding_threads

Indices = npt.NDArray[np.int64]
Clock = Callable[[], int]
Progress = Callable[[int, int], None]

# What a model raises that can't be loaded or run, a broken installation of its library included.
FAILURES = (OverflyError, RuntimeError, ValueError, MemoryError, ImportError, OSError)

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000

_N_DECODERS = decoding_threads()


@dataclass(frozen=True, slots=True)
class Pictures:
    """What is judged.

    Attributes
    ----------
    pixels
        Decoded beforehand: uint8, shape ``[N, S, S, 3]``, RGB.
    load
        Decodes a picture again, from its file, by its index; called from several threads.
    """

    pixels: ImageBatch
    load: Callable[[int], ImageBatch]


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured of each row.

    Attributes
    ----------
    n_rounds
        How often every row has its turn.
    latency_samples, file_latency_samples
        Latencies wanted in a round: of the model alone, and from file to label.
    latency_floor, latency_limit_s
        A row that has at least `latency_floor` samples stops after `latency_limit_s` seconds all the same.
    stream_min_s
        How long a round's stretch of throughput lasts at least.
    file_stream_images
        How many of the round's images a stretch from files takes at least; all of them go through the
        model alone, as they are judged there.
    n_warmup
        Inferences at the start of each turn that are not timed: after another row's turn the caches
        and the thread pools are cold.
    """

    n_rounds: int
    latency_samples: int
    file_latency_samples: int
    latency_floor: int
    latency_limit_s: float
    stream_min_s: float
    file_stream_images: int
    n_warmup: int


# 6 x 170 samples are the 1,000 that a p99 needs, and six rounds give a ratio of speeds a 97% range
# (`statistics.paired_ratio`). A row at 80 ms an inference gets some 500 samples.
FULL = Plan(
    n_rounds=6,
    latency_samples=170,
    file_latency_samples=50,
    latency_floor=20,
    latency_limit_s=6.0,
    stream_min_s=1.0,
    file_stream_images=64,
    n_warmup=5,
)
QUICK = Plan(
    n_rounds=3,
    latency_samples=20,
    file_latency_samples=5,
    latency_floor=5,
    latency_limit_s=0.3,
    stream_min_s=0.1,
    file_stream_images=16,
    n_warmup=2,
)


@dataclass(slots=True)
class Measured:
    """What is known of a row so far.

    Attributes
    ----------
    predictions
        A class index for each image; -1 where it was not yet judged.
    problem
        Why the row failed; it gets no further turn.
    """

    predictions: npt.NDArray[np.int64]
    latency_rounds_ms: list[tuple[float, ...]] = field(default_factory=list)
    throughput_rounds: list[ThroughputSample] = field(default_factory=list)
    file_latency_rounds_ms: list[tuple[float, ...]] = field(default_factory=list)
    file_throughput_rounds: list[ThroughputSample] = field(default_factory=list)
    problem: str | None = None

    def raw(self) -> Measurements:
        """Return the measurements as they are written to the report; those of a failed row are not."""
        if self.problem is not None:
            return Measurements()
        return Measurements(
            tuple(self.predictions.tolist()),
            tuple(self.latency_rounds_ms),
            tuple(self.throughput_rounds),
            tuple(self.file_latency_rounds_ms),
            tuple(self.file_throughput_rounds),
        )


def measure(
    backends: Sequence[Backend],
    pictures: Pictures,
    plan: Plan,
    *,
    clock: Clock = time.perf_counter_ns,
    progress: Progress | None = None,
) -> list[Measured]:
    """Judge every image and time every backend, in rounds.

    In each round every backend has four turns: single images and a stream of them, by the model
    alone, and both again from files to labels. The predictions come from the model's stream. So a
    machine that slows down hurts all rows alike, and over the rounds each image is judged once.

    Parameters
    ----------
    backends
        What to measure.
    pictures
        On what.
    plan
        How much.
    clock
        Monotonic time in nanoseconds.
    progress
        Called with (turns done, all turns).

    Returns
    -------
    list
        In the order of the backends. One that raises, or whose logits are not finite, has a problem
        instead of figures; the others go on.
    """
    n_images = len(pictures.pixels)
    measured = [Measured(np.full(n_images, -1, dtype=np.int64)) for _ in backends]
    shares = np.array_split(np.arange(n_images), plan.n_rounds)
    n_turns, done = len(_TURNS) * plan.n_rounds * len(backends), 0
    with _settled_heap(), ThreadPoolExecutor(_N_DECODERS, thread_name_prefix="overfly-decode") as pool:
        watch = _Stopwatch(pictures, plan, clock, pool)
        for share, turn in product(shares, _TURNS):
            for backend, row in zip(backends, measured, strict=True):
                if row.problem is None:
                    try:
                        turn(watch, backend, row, share)
                    except FAILURES as error:
                        row.problem = f"failed while it was measured: {summarize_openvino_error(error)}"
                done += 1
                if progress is not None:
                    progress(done, n_turns)
    return measured


@dataclass(frozen=True, slots=True)
class _Stopwatch:
    """Takes the turns of a round."""

    pictures: Pictures
    plan: Plan
    clock: Clock
    decoders: Executor

    def latency(self, backend: Backend, row: Measured, _share: Indices) -> None:
        """Time the model alone, a different image each time, one after the other."""

        def prepare(index: int) -> Callable[[], object]:
            image = self.pictures.pixels[index : index + 1]
            return lambda: backend.infer(image)

        row.latency_rounds_ms.append(self._singles(prepare, row.latency_rounds_ms, self.plan.latency_samples))

    def file_latency(self, backend: Backend, row: Measured, _share: Indices) -> None:
        """Time the way from a file to a label, likewise."""

        def prepare(index: int) -> Callable[[], object]:
            return lambda: int(backend.infer(self.pictures.load(index)[np.newaxis]).argmax())

        samples = self._singles(prepare, row.file_latency_rounds_ms, self.plan.file_latency_samples)
        row.file_latency_rounds_ms.append(samples)

    def stream(self, backend: Backend, row: Measured, share: Indices) -> None:
        """Stream the round's share of the images through the model, and judge them."""
        pixels = self.pictures.pixels
        stretch, logits = self._stretch(backend, lambda indices: (pixels[i] for i in indices), share)
        row.throughput_rounds.append(stretch)
        if len(share):
            row.predictions[share] = _classes(np.stack(logits[: len(share)]))

    def file_stream(self, backend: Backend, row: Measured, share: Indices) -> None:
        """Stream files to labels, decoding beside the inference as `runtime.classifier` does."""

        def decoded(indices: Iterable[int]) -> Iterator[ImageBatch]:
            started = (self.decoders.submit(self.pictures.load, i) for i in indices)
            return ordered_results(started, 2 * _N_DECODERS)

        stretch, _ = self._stretch(backend, decoded, share[: self.plan.file_stream_images])
        row.file_throughput_rounds.append(stretch)

    def _singles(
        self, prepare: Callable[[int], Callable[[], object]], before: Sequence[tuple[float, ...]], n_wanted: int
    ) -> tuple[float, ...]:
        """Return a round's latencies in milliseconds, of what `prepare` returns for the index of an image."""
        plan, clock, n_images = self.plan, self.clock, len(self.pictures.pixels)
        first = sum(map(len, before))
        for index in range(plan.n_warmup):
            prepare((first + index) % n_images)()
        samples: list[int] = []
        limit_ns = round(plan.latency_limit_s * _NS_PER_S)
        with _no_garbage_collection():
            begin = clock()
            while len(samples) < n_wanted:
                work = prepare((first + len(samples)) % n_images)
                start = clock()
                work()
                end = clock()
                samples.append(end - start)
                if end - begin >= limit_ns and len(samples) >= plan.latency_floor:
                    break
        return tuple(ns / _NS_PER_MS for ns in samples)

    def _stretch(
        self, backend: Backend, source: Callable[[Iterable[int]], Iterable[ImageBatch]], share: Indices
    ) -> tuple[ThroughputSample, list[Logits]]:
        """Stream the share, again and again until it took long enough; return all logits."""
        order = (share if len(share) else np.arange(len(self.pictures.pixels))).tolist()
        for _ in backend.stream(source(order[: self.plan.n_warmup])):
            pass
        # The clock starts with the first image asked for: what a backend sets up before it is not throughput.
        began: list[int] = []

        def indices() -> Iterator[int]:
            began.append(self.clock())
            yield from order
            while self.clock() - began[0] < self.plan.stream_min_s * _NS_PER_S:
                yield from order

        with _no_garbage_collection():
            logits = list(backend.stream(source(indices())))
            end = self.clock()
        return ThroughputSample(len(logits), (end - began[0]) / _NS_PER_S), logits


_TURNS = (_Stopwatch.latency, _Stopwatch.stream, _Stopwatch.file_latency, _Stopwatch.file_stream)


def _classes(logits: Logits) -> npt.NDArray[np.int64]:
    """Return the class of each row of logits."""
    if not np.isfinite(logits).all():
        raise ValueError("some logits are not finite numbers")
    classes: npt.NDArray[np.int64] = logits.argmax(axis=1).astype(np.int64)
    return classes


@contextmanager
def _settled_heap() -> Iterator[None]:
    """Collect once, and let the collections before each turn pass over what is there now: PyTorch alone is a lot."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect now, and then not until the block ends: a pause of the collector is not the model's."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
