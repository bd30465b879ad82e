"""Measure latency, throughput and predictions, in rounds over all models. Tests replace the clock and the models."""

import gc
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

import numpy as np
import numpy.typing as npt

from overfly.benchmarks.models.loaders import LoadedModel
from overfly.benchmarks.results.packed import pack
from overfly.benchmarks.results.rounds import disturbed_rounds
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
# Measures a model, and returns its measurements with those from before.
_Mode = Callable[[LoadedModel, Measurements], Measurements]

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
        The number of rounds that a full bench needs at least. It goes on until the ratios of speeds are known well
        enough.
    rounds_per_block
        After this many rounds of the model alone, the way from file to label is measured once.
    limit_s
        A full bench begins no block that would end later than this many seconds after the first one began.
    latency_samples, file_latency_samples
        Latency samples of the model alone per round, and from file to label per block.
    latency_floor, latency_limit_s
        A slow model stops after `latency_limit_s` seconds, but not before it has `latency_floor` samples.
    stream_min_s, file_stream_min_s
        Minimum duration of a throughput sample in seconds: of the model alone, and from file to label.
    n_warmup
        Untimed inferences before each measurement: after another model ran, caches and thread pools are cold.
    """

    # On a shared machine, the speed was seen to change within a second. So a round is short, and there are many.
    # 70 x 15 samples are the 1,000 that a p99 needs. A model that takes 80 ms gets about 300 samples.
    n_rounds: int = 70
    rounds_per_block: int = 10
    limit_s: float = 340.0
    latency_samples: int = 15
    file_latency_samples: int = 20
    latency_floor: int = 2
    latency_limit_s: float = 0.3
    stream_min_s: float = 0.2
    file_stream_min_s: float = 0.4
    n_warmup: int = 2

    @property
    def n_blocks(self) -> int:
        """The number of blocks that a full bench has at least."""
        return math.ceil(self.n_rounds / self.rounds_per_block)


FULL = Plan()
QUICK = Plan(
    n_rounds=3,
    rounds_per_block=3,
    limit_s=0.0,
    latency_samples=20,
    file_latency_samples=15,
    latency_floor=5,
    stream_min_s=0.1,
)


def measure(
    models: Sequence[LoadedModel],
    images: Sequence[ImageSource],
    plan: Plan,
    *,
    is_settled: Callable[[Sequence[Measurements | str]], bool] | None = None,
    clock: Clock = time.perf_counter_ns,
    progress: Progress | None = None,
) -> list[Measurements | str]:
    """Measure all models, in rounds.

    Each round measures every model alone: single images, and a stream of images. So a machine that slows down
    affects all models alike. Every second round measures the models in the reverse order, so that none is always
    later than another. After each block of rounds, the same is measured from files to labels. The predictions are
    taken from the streams of the first block, which infer each image.

    Rounds in which a model was disturbed are set aside (`results.rounds`), and other rounds replace them.

    Parameters
    ----------
    models
        What to measure.
    images
        What each model infers: the same images in the same order, at the size that it takes.
    plan
        How much to measure.
    is_settled
        Whether what was measured so far is enough. It is asked after each block if there are `Plan.n_rounds` rounds
        that count; the measurement ends if it is, or at `Plan.limit_s`. None measures one block.
    clock
        Monotonic time in nanoseconds.
    progress
        Called with (measurements done, all measurements); the second grows with each further block.

    Returns
    -------
    list
        In the order of the models: the measurements, or why the model failed. A model fails if it
        raises or if its logits are not finite; the others are still measured.
    """
    results: list[Measurements | str] = [Measurements() for _ in models]
    with _frozen_heap(), ThreadPool(decoding_threads()) as decoders:
        stopwatches = [_Stopwatch(of_model, plan, clock, decoders) for of_model in images]
        begin, n_done = clock(), 0
        for n_blocks in itertools.count(1):
            modes = (stopwatch.modes(evaluate=n_blocks == 1) for stopwatch in stopwatches)
            turns = list(zip(*modes, strict=True))
            n_all = max(n_blocks, plan.n_blocks) * len(turns) * len(models)
            for number, turn in enumerate(turns):
                # Two turns make a round.
                for i in range(len(models))[:: -1 if number % 4 > 1 else 1]:
                    results[i] = _try_to_measure(turn[i], models[i], results[i])
                    n_done += 1
                    if progress is not None:
                        progress(n_done, n_all)
            if is_settled is None:
                break
            n_counted = n_blocks * plan.rounds_per_block - _set_rounds_aside(results)
            next_ends = (clock() - begin) * (n_blocks + 1) / n_blocks
            if (n_counted >= plan.n_rounds and is_settled(results)) or next_ends > plan.limit_s * _NS_PER_S:
                break
    return results


def _try_to_measure(mode: _Mode, model: LoadedModel, so_far: Measurements | str) -> Measurements | str:
    """Measure a model in one mode unless it has failed; return its measurements or why it failed."""
    if isinstance(so_far, str):
        return so_far
    try:
        return mode(model, so_far)
    except FAILURES as error:
        return f"failed while it was measured: {last_line(error)}"


def _set_rounds_aside(results: list[Measurements | str]) -> int:
    """Mark the disturbed rounds in all measurements, and return their number."""
    aside = disturbed_rounds([result for result in results if isinstance(result, Measurements)])
    results[:] = [
        replace(result, rounds_set_aside=aside) if isinstance(result, Measurements) else result for result in results
    ]
    return len(aside)


@dataclass(frozen=True, slots=True)
class _Stopwatch:
    """Adds one round's measurements of a model to those of the rounds before."""

    images: ImageSource
    plan: Plan
    clock: Clock
    decoders: ThreadPool

    def modes(self, *, evaluate: bool) -> list[_Mode]:
        """Return what a block measures: for each round the model alone, single images and a stream; then from files.

        With `evaluate`, the streams of the model alone infer all images, and the predictions are kept.
        """
        rounds = np.array_split(np.arange(len(self.images.pixels)) if evaluate else (), self.plan.rounds_per_block)
        of_model = (
            mode for share in rounds for mode in (self.measure_latency, partial(self.measure_stream, share=share))
        )
        return [*of_model, self.measure_file_latency, self.measure_file_stream]

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
        """Stream images through the model: first those of `share`, whose predictions are kept."""
        pixels = self.images.pixels
        sample, logits = self._time_stream(
            model,
            lambda indices: (pixels[i] for i in indices),
            before.throughput_rounds,
            share=share,
            min_s=self.plan.stream_min_s,
        )
        if not np.isfinite(logits).all():
            raise ValueError(NOT_FINITE)
        evaluated = logits[: len(share)]
        return replace(
            before,
            predictions=(*before.predictions, *(int(of_image.argmax()) for of_image in evaluated)),
            logits=(*before.logits, *map(pack, evaluated)),
            throughput_rounds=(*before.throughput_rounds, sample),
        )

    def measure_file_stream(self, model: LoadedModel, before: Measurements) -> Measurements:
        """Stream files to labels; threads decode images while the model infers, as in `runtime.classifier`."""
        decode = partial(self.decoders.map, self.images.load)
        rounds = before.file_throughput_rounds
        sample, _ = self._time_stream(model, decode, rounds, share=(), min_s=self.plan.file_stream_min_s)
        return replace(before, file_throughput_rounds=(*rounds, sample))

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
        self,
        model: LoadedModel,
        read: Callable[[Iterable[int]], Iterable[ImageBatch]],
        before: Sequence[ThroughputSample],
        *,
        share: Iterable[int],
        min_s: float,
    ) -> tuple[ThroughputSample, list[Logits]]:
        """Stream the images of `share`, and others until `min_s` seconds have passed; return all logits.

        The others continue where the rounds `before` ended.
        """
        n_images = len(self.images.pixels)
        first = sum(sample.n_images for sample in before) % n_images
        for _ in model.stream(read(itertools.islice(range(n_images), self.plan.n_warmup))):
            pass
        start = 0

        def indices() -> Iterator[int]:
            # The clock starts when the model asks for the first image: setting up the stream is not throughput.
            nonlocal start
            start = self.clock()
            yield from share
            for index in itertools.cycle(chain(range(first, n_images), range(first))):
                if self.clock() - start >= min_s * _NS_PER_S:
                    return
                yield index

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
    """Collect now, and not again until the block ends: the collector's pauses are not the model's.

    What is left is frozen too, so that the next collection is quick: torch.compile makes many objects as it runs.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
