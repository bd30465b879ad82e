"""The geometry of the report's charts: functions from figures to coordinates. The template draws them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from overfly.benchmarks.results.records import Report

_N_BINS = 80
_MAX_TICKS = 6
# Steps between ticks in one decade of a logarithmic axis, the densest first.
_STEPS = ((1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,))
# The least room above and below the intervals, as a fraction; they have no width if every row has every image right.
_MIN_ROOM = 0.005


@dataclass(frozen=True, slots=True)
class Frame:
    """The size of a chart and the edges of its plot area, in units of the SVG view box."""

    width: float
    height: float
    left: float
    right: float
    top: float
    bottom: float


# On a phone, 348 pixels wide, the smallest text is still 10 pixels high.
SCATTER_FRAME = Frame(440, 290, left=46, right=426, top=14, bottom=250)
STRIP_FRAME = Frame(400, 40, left=0, right=400, top=0, bottom=40)


@dataclass(frozen=True, slots=True)
class Tick:
    """A position on an axis, in view box units or in percent, and its label."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """A row in the scatter plot: its index, its position, and the interval of its accuracy."""

    row: int
    x: float
    y: float
    y_low: float
    y_high: float


@dataclass(frozen=True, slots=True)
class Scatter:
    """Accuracy (up) against median latency (to the right, logarithmic)."""

    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Strip:
    """A row's latency histogram on the common logarithmic axis: an SVG path, and the x of p50 and p90."""

    row: int
    path: str
    p50_x: float
    p90_x: float


@dataclass(frozen=True, slots=True)
class Strips:
    """The histograms and their axis, whose ticks are in percent of the width."""

    strips: tuple[Strip, ...]
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class LogScale:
    """Maps milliseconds to [0, 1] by their logarithm."""

    low: float
    high: float

    @classmethod
    def around(cls, values: Iterable[float], *, margin: float) -> "LogScale":
        """Return a scale over all `values`, wider on each side by the factor ``1 + margin``."""
        positive = [max(value, 1e-6) for value in values]
        return cls(min(positive) / (1 + margin), max(positive) * (1 + margin))

    def __call__(self, value: float) -> float:
        """Return the position of `value`."""
        return math.log(max(value, 1e-6) / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Return the densest series of round numbers in the range that has at most `_MAX_TICKS`."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in _STEPS:
            found = [s * 10.0**d for d in decades for s in steps if self.low <= s * 10.0**d <= self.high]
            if len(found) <= _MAX_TICKS:
                break
        return found


def scatter(report: Report) -> Scatter | None:
    """Return the scatter plot; None if every row failed."""
    rows = [
        (i, row.speed.latency_ms.p50, row.quality.accuracy)
        for i, row in enumerate(report.rows)
        if row.speed and row.quality
    ]
    if not rows:
        return None
    frame = SCATTER_FRAME
    scale = LogScale.around((p50_ms for _, p50_ms, _ in rows), margin=0.6)
    low, high = _accuracy_range([accuracy.ci95 for *_, accuracy in rows])

    def x(value: float) -> float:
        return frame.left + scale(value) * (frame.right - frame.left)

    def y(value: float) -> float:
        return frame.bottom - (value - low) / (high - low) * (frame.bottom - frame.top)

    return Scatter(
        tuple(
            Point(i, x(p50_ms), y(accuracy.value), y(accuracy.ci95[0]), y(accuracy.ci95[1]))
            for i, p50_ms, accuracy in rows
        ),
        tuple(Tick(x(value), f"{value:g}") for value in scale.ticks()),
        tuple(Tick(y(value), f"{100 * value:g}%") for value in _linear_ticks(low, high)),
    )


def strips(report: Report) -> Strips | None:
    """Return the latency histograms; None if every row failed."""
    samples = {
        i: np.concatenate([np.array(samples) for samples in row.measurements.latency_rounds_ms])
        for i, row in enumerate(report.rows)
        if row.measurements is not None
    }
    if not samples:
        return None
    pooled = np.concatenate(list(samples.values()))
    scale = LogScale.around((float(pooled.min()), float(pooled.max())), margin=0.1)
    found = []
    for i, values in samples.items():
        p50_x, p90_x = (STRIP_FRAME.width * scale(float(p)) for p in np.percentile(values, (50, 90)))
        found.append(Strip(i, _histogram_path([scale(float(value)) for value in values]), p50_x, p90_x))
    return Strips(tuple(found), tuple(Tick(100 * scale(value), f"{value:g}") for value in scale.ticks()))


def _accuracy_range(intervals: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return a range of accuracy that contains all intervals, with a little room."""
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    room = max(0.08 * (high - low), _MIN_ROOM)
    return max(0.0, low - room), min(1.0, high + room)


def _linear_ticks(low: float, high: float) -> list[float]:
    """Return round fractions in a range, at most `_MAX_TICKS` of them."""
    for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < _MAX_TICKS:
            break
    return [round(k * step, 6) for k in range(first, last + 1)]


def _histogram_path(positions: Sequence[float]) -> str:
    """Return a closed path around the histogram of positions in [0, 1]; the tallest bin is as high as the strip."""
    counts, edges = np.histogram(positions, bins=_N_BINS, range=(0, 1))
    tops = [*STRIP_FRAME.height * (1 - 0.95 * counts / counts.max()), STRIP_FRAME.height]
    steps = [f"H{STRIP_FRAME.width * edges[i + 1]:.1f}V{tops[i + 1]:.1f}" for i in range(_N_BINS)]
    return f"M0 {STRIP_FRAME.height}V{tops[0]:.1f}{''.join(steps)}Z"
