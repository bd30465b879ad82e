"""Measure latency, throughput and predictions, in rounds over all models. Tests replace the clock and the models."""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from overfly.benchmarks.models.loaders import LoadedModel
from overfly.benchmarks.results.row_records import Measurements, ThroughputSample
from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.errors import OverflyError, last_line
from overfly.runtime.evaluation.parity import NOT_FINITE
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.pipeline import ThreadPool
from overfly.runtime.machine import decoding_threads
from overfly.runtime.reporter import Progress

Indices = npt.NDArray[np.int64]
Clock = Callable[[], int]

# What a model that can't be loaded or run may raise, also because its library is not installed properly.
FAILURES = (OverflyError, RuntimeError, ValueError, MemoryError, ImportError, OSError)

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class ImageSource:
    """The images to infer.

    Attributes
    ----------
    pixels
        All images, decoded beforehand: uint8, shape ``[N, S, S, 3]``, RGB.
    load
        Decodes an image from its file, given its index; called from several threads.
    """

    pixels: ImageBatch
    load: Callable[[int], ImageBatch]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How much is measured of each model; the defaults are those of a full bench.

    Attributes
    ----------
    n_rounds
        The number of rounds.
    latency_samples, file_latency_samples
        Latency samples per round: of the model alone, and from file to label.
    latency_floor, latency_limit_s
        A slow model stops after `latency_limit_s` seconds, but not before it has `latency_floor` samples.
    stream_min_s
        Minimum duration of a throughput sample in seconds.
    file_stream_images
        Minimum number of images in a throughput sample from files. The model alone always infers all images of
        the round, because they are evaluated there.
    n_warmup
        Untimed inferences before each measurement: after another model ran, caches and thread pools are cold.
    """

    # 6 x 170 samples are the 1,000 that a p99 needs, and six rounds give a ratio of speeds a 97% range
    # (`statistics.paired_ratio`). A model that takes 80 ms gets about 500 samples.
    n_rounds: int = 6
    latency_samples: int = 170
    file_latency_samples: int = 50
    latency_floor: int = 20
    latency_limit_s: float = 6.0
    stream_min_s: float = 1.0
    file_stream_images: int = 64
    n_warmup: int = 5


FULL = Plan()
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


def measure(
    models: Sequence[LoadedModel],
    images: ImageSource,
    plan: Plan,
    *,
    clock: Clock = time.perf_counter_ns,
    progress: Progress | None = None,
) -> list[Measurements | str]:
    """Measure all models, in rounds.

    Each round measures every model in all four modes: single images and a stream of images, with the
    model alone and from files to labels. So a machine that slows down affects all models alike. The
    predictions are taken from the stream of the model alone; over the rounds, it infers each image once.

    Parameters
    ----------
    models
        What to measure.
    images
        What to infer.
    plan
        How much to measure.
    clock
        Monotonic time in nanoseconds.
    progress
        Called with (measurements done, all measurements).

    Returns
    -------
    list
        In the order of the models: the measurements, or why the model failed. A model fails if it
        raises or if its logits are not finite; the others are still measured.
    """
    results: list[Measurements | str] = [Measurements() for _ in models]
    with _frozen_heap(), ThreadPool(decoding_threads()) as decoders:
        stopwatch = _Stopwatch(images, plan, clock, decoders)
        modes = [
            mode
            for share in np.array_split(np.arange(len(images.pixels)), plan.n_rounds)
            for mode in (
                stopwatch.measure_latency,
                partial(stopwatch.measure_stream, share=share),
                stopwatch.measure_file_latency,
                partial(stopwatch.measure_file_stream, share=share),
            )
        ]
        for n_modes, mode in enumerate(modes):
            for i, model in enumerate(models):
                so_far = results[i]
                if isinstance(so_far, Measurements):
                    try:
                        results[i] = mode(model, so_far)
                    except FAILURES as error:
                        results[i] = f"failed while it was measured: {last_line(error)}"
                if progress is not None:
                    progress(n_modes * len(models) + i + 1, len(modes) * len(models))
    return results


@dataclass(frozen=True, slots=True)
class _Stopwatch:
    """Adds one round's measurements of a model to those of the rounds before."""

    images: ImageSource
    plan: Plan
    clock: Clock
    decoders: ThreadPool

    def measure_latency(self, model: LoadedModel, before: Measurements) -> Measurements:
        """Time the model alone, one image after the other."""

        def infer(index: int) -> Callable[[], object]:
            return partial(model.infer, self.images.pixels[index : index + 1])

        samples = self._time_singles(infer, before.latency_rounds_ms, self.plan.latency_samples)
        return replace(before, latency_rounds_ms=(*before.latency_rounds_ms, samples))

    def measure_file_latency(self, model: LoadedModel, before: Measurements) -> Measurements:
        """Time the way from a file to a label, one image after the other."""

        def classify(index: int) -> Callable[[], object]:
            return lambda: int(model.infer(self.images.load(index)[np.newaxis]).argmax())

        samples = self._time_singles(classify, before.file_latency_rounds_ms, self.plan.file_latency_samples)
        return replace(before, file_latency_rounds_ms=(*before.file_latency_rounds_ms, samples))

    def measure_stream(self, model: LoadedModel, before: Measurements, *, share: Indices) -> Measurements:
        """Stream the round's share of the images through the model, and keep its predictions."""
        pixels = self.images.pixels
        sample, logits = self._time_stream(model, lambda indices: (pixels[i] for i in indices), share)
        evaluated = logits[: len(share)]
        if not np.isfinite(evaluated).all():
            raise ValueError(NOT_FINITE)
        predictions = (*before.predictions, *(int(of_image.argmax()) for of_image in evaluated))
        return replace(before, predictions=predictions, throughput_rounds=(*before.throughput_rounds, sample))

    def measure_file_stream(self, model: LoadedModel, before: Measurements, *, share: Indices) -> Measurements:
        """Stream files to labels; threads decode images while the model infers, as in `runtime.classifier`."""
        decode = partial(self.decoders.map, self.images.load)
        sample, _ = self._time_stream(model, decode, share[: self.plan.file_stream_images])
        return replace(before, file_throughput_rounds=(*before.file_throughput_rounds, sample))

    def _time_singles(
        self, prepare: Callable[[int], Callable[[], object]], before: Sequence[Sequence[float]], n_wanted: int
    ) -> tuple[float, ...]:
        """Return latencies in milliseconds of the functions that `prepare` returns for an image's index.

        Each sample takes the next image, and continues where the rounds `before` ended.
        """
        plan, clock, n_images = self.plan, self.clock, len(self.images.pixels)
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

    def _time_stream(
        self, model: LoadedModel, read: Callable[[Iterable[int]], Iterable[ImageBatch]], share: Indices
    ) -> tuple[ThroughputSample, list[Logits]]:
        """Stream the images of a share repeatedly until `Plan.stream_min_s` has passed; return all logits."""
        order = (share if len(share) else np.arange(len(self.images.pixels))).tolist()
        for _ in model.stream(read(order[: self.plan.n_warmup])):
            pass
        start = 0

        def indices() -> Iterator[int]:
            # The clock starts when the model asks for the first image: setting up the stream is not throughput.
            nonlocal start
            start = self.clock()
            yield from order
            while self.clock() - start < self.plan.stream_min_s * _NS_PER_S:
                yield from order

        with _no_garbage_collection():
            logits = list(model.stream(read(indices())))
            end = self.clock()
        return ThroughputSample(len(logits), (end - start) / _NS_PER_S), logits


@contextmanager
def _frozen_heap() -> Iterator[None]:
    """Exclude all objects that exist now from garbage collection: PyTorch alone has many, and collecting is slow."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Collect now, and not again until the block ends: the collector's pauses are not the model's."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
