"""The measuring itself: rounds over all rows, with a clock and backends that a test can replace."""

import gc
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from overfly.benchmarks.report import Raw, Stretch
from overfly.runtime.errors import OverflyError
from overfly.runtime.images import ImageBatch
from overfly.runtime.runner import last_line

Logits = npt.NDArray[np.float32]
Clock = Callable[[], int]
Progress = Callable[[int, int], None]

_NS_PER_MS = 1_000_000
_NS_PER_S = 1_000_000_000


class Backend(Protocol):
    """A loaded model."""

    def infer(self, image: ImageBatch) -> Logits:
        """Take one uint8 ``[1, S, S, 3]`` image and return its float32 ``[1, n_classes]`` logits, latency first."""

    def stream(self, images: Iterable[ImageBatch]) -> Iterator[Logits]:
        """Take uint8 ``[S, S, 3]`` images and yield float32 ``[n_classes]`` logits in order, throughput first."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured of each row.

    Attributes
    ----------
    n_rounds
        How often every row has its turn.
    latency_samples
        Latencies wanted in a round.
    latency_floor, latency_limit_s
        A row that has at least `latency_floor` samples stops after `latency_limit_s` seconds all the same.
    stream_min_s
        How long a round's stretch of throughput lasts at least.
    n_warmup
        Inferences at the start of each turn that are not timed: after another row's turn the caches
        and the thread pools are cold.
    """

    n_rounds: int
    latency_samples: int
    latency_floor: int
    latency_limit_s: float
    stream_min_s: float
    n_warmup: int


# 5 x 200 samples are the 1,000 that a p99 needs; a row at 80 ms an inference gets some 500.
FULL = Plan(
    n_rounds=5, latency_samples=200, latency_floor=20, latency_limit_s=8.0, stream_min_s=1.0, n_warmup=5
)  # fmt: skip
QUICK = Plan(
    n_rounds=3, latency_samples=30, latency_floor=5, latency_limit_s=0.6, stream_min_s=0.2, n_warmup=2
)  # fmt: skip


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
    throughput_rounds: list[Stretch] = field(default_factory=list)
    problem: str | None = None

    def raw(self) -> Raw:
        """Return the measurements as they are written to the report; those of a failed row are not."""
        if self.problem is not None:
            return Raw((), (), ())
        return Raw(tuple(self.predictions.tolist()), tuple(self.latency_rounds_ms), tuple(self.throughput_rounds))


def measure(
    backends: Sequence[Backend],
    images: ImageBatch,
    plan: Plan,
    *,
    clock: Clock = time.perf_counter_ns,
    progress: Progress | None = None,
) -> list[Measured]:
    """Judge every image and time every backend, in rounds.

    In each round every backend has two turns: a slice of the latency samples, and its share of the
    images as a stream, from which the predictions come too. So a machine that slows down hurts all
    rows alike, and over the rounds each image is judged once.

    Parameters
    ----------
    backends
        What to measure.
    images
        uint8, shape ``[N, S, S, 3]``, RGB.
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
    measured = [Measured(np.full(len(images), -1, dtype=np.int64)) for _ in backends]
    shares = np.array_split(np.arange(len(images)), plan.n_rounds)
    n_turns, done = 2 * plan.n_rounds * len(backends), 0
    for share in shares:
        for turn in (_time_latency, _time_stream):
            for backend, row in zip(backends, measured, strict=True):
                if row.problem is None:
                    try:
                        turn(backend, row, images, share, plan, clock)
                    except (OverflyError, RuntimeError, ValueError, MemoryError) as error:
                        row.problem = f"failed while it was measured: {last_line(error)}"
                done += 1
                if progress is not None:
                    progress(done, n_turns)
    return measured


def _time_latency(
    backend: Backend, row: Measured, images: ImageBatch, _share: npt.NDArray[np.int64], plan: Plan, clock: Clock
) -> None:
    """Take a round's latency samples, a different image each time, one inference after the other."""
    first = sum(map(len, row.latency_rounds_ms))
    for index in range(plan.n_warmup):
        backend.infer(_single(images, first + index))
    samples: list[int] = []
    limit_ns = round(plan.latency_limit_s * _NS_PER_S)
    with _no_garbage_collection():
        begin = clock()
        while len(samples) < plan.latency_samples:
            image = _single(images, first + len(samples))
            start = clock()
            backend.infer(image)
            end = clock()
            samples.append(end - start)
            if end - begin >= limit_ns and len(samples) >= plan.latency_floor:
                break
    row.latency_rounds_ms.append(tuple(ns / _NS_PER_MS for ns in samples))


def _time_stream(
    backend: Backend, row: Measured, images: ImageBatch, share: npt.NDArray[np.int64], plan: Plan, clock: Clock
) -> None:
    """Stream a round's share of the images, again and again until the stretch is long enough."""
    order = share if len(share) else np.arange(len(images))
    for _ in backend.stream(images[i] for i in order[: plan.n_warmup]):
        pass
    # The clock starts with the first image asked for: what a backend sets up before it is not throughput.
    began: list[int] = []

    def feed() -> Iterator[ImageBatch]:
        began.append(clock())
        yield from (images[i] for i in order)
        while clock() - began[0] < plan.stream_min_s * _NS_PER_S:
            yield from (images[i] for i in order)

    n_images = 0
    kept: list[Logits] = []
    with _no_garbage_collection():
        for logits in backend.stream(feed()):
            n_images += 1
            if n_images <= len(share):
                kept.append(logits)
        end = clock()
    row.throughput_rounds.append(Stretch(n_images, (end - began[0]) / _NS_PER_S))
    if kept:
        row.predictions[share] = _classes(np.stack(kept))


def _classes(logits: Logits) -> npt.NDArray[np.int64]:
    """Return the class of each row of logits."""
    if not np.isfinite(logits).all():
        raise ValueError("some logits are not finite numbers")
    classes: npt.NDArray[np.int64] = logits.argmax(axis=1).astype(np.int64)
    return classes


def _single(images: ImageBatch, index: int) -> ImageBatch:
    """Return one image as a batch of one, going round when the index is past the end."""
    at = index % len(images)
    return images[at : at + 1]


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
