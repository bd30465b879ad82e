"""The geometry of the report's charts: axes, points and paths. The template places the rows on them."""

import bisect
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from overfly.benchmarks.rendering.details import shown_rows
from overfly.benchmarks.results.per_class import scores_of
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import Measurements, Row
from overfly.runtime.evaluation.calibration import ReliabilityBin, Scores, reliability, risk_coverage

_N_BINS = 80
_MAX_TICKS = 6
# Steps between ticks in one decade of a logarithmic axis, the densest first.
_STEPS = ((1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,))
# The least room above and below the intervals, as a fraction; they have no width if every row has every image right.
_MIN_ROOM = 0.005
_SMALLEST_MS = 1e-6
# The marks of the variants: a square, a diamond and a triangle, as distances from the point to the right and down.
_SHAPES = {
    "fp32": ((-6, -6), (6, -6), (6, 6), (-6, 6)),
    "fp16": ((0, -8), (8, 0), (0, 8), (-8, 0)),
    "int8": ((0, -8), (8, 6), (-8, 6)),
}
# The largest share of the images that the chart leaves to a person, and the shares that the table below it has.
_MOST_LEFT = 0.3
SHARES_LEFT = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2)


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
CALIBRATION_FRAME = Frame(440, 290, left=46, right=416, top=14, bottom=250)
STRIP_FRAME = Frame(400, 40, left=0, right=400, top=0, bottom=40)


@dataclass(frozen=True, slots=True)
class Axis(ABC):
    """Maps the values from `low` to `high` to the coordinates from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the coordinate of a value."""
        return self.start + self.fraction(value) * (self.end - self.start)

    @abstractmethod
    def fraction(self, value: float) -> float:
        """Return the position of a value: 0 for `low`, 1 for `high`."""

    @abstractmethod
    def ticks(self) -> list[float]:
        """Return round numbers in the range, at most `_MAX_TICKS` of them."""


class LinearAxis(Axis):
    """An axis for fractions."""

    def fraction(self, value: float) -> float:
        """Return the position of a value."""
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Return round fractions."""
        for step in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2):
            first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
            if last - first < _MAX_TICKS:
                break
        return [round(k * step, 6) for k in range(first, last + 1)]


class LogAxis(Axis):
    """A logarithmic axis for milliseconds."""

    def fraction(self, value: float) -> float:
        """Return the position of a value."""
        return math.log(max(value, _SMALLEST_MS) / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Return the densest series of round numbers."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in _STEPS:
            found = [s * 10.0**d for d in decades for s in steps if self.low <= s * 10.0**d <= self.high]
            if len(found) <= _MAX_TICKS:
                break
        return found


def scatter_axes(report: Report) -> tuple[LogAxis, LinearAxis] | None:
    """Return the axes of median latency (to the right) and accuracy (up); None if every row failed."""
    rows = [report.rows[i] for i in shown_rows(report)]
    latencies = [row.speed.latency_ms.p50 for row in rows if row.speed]
    intervals = [row.quality.accuracy.ci95 for row in rows if row.quality]
    if not latencies or not intervals:
        return None
    low, high = min(low for low, _ in intervals), max(high for _, high in intervals)
    room = max(0.08 * (high - low), _MIN_ROOM)
    x = _latency_axis(latencies, SCATTER_FRAME, margin=0.6)
    y = LinearAxis(max(0.0, low - room), min(1.0, high + room), SCATTER_FRAME.bottom, SCATTER_FRAME.top)
    return x, y


def frontier(report: Report) -> list[int]:
    """Return the rows that can be deployed and that no other such row beats, from the fastest to the most accurate.

    A row is beaten by one that is as fast and more accurate, or faster and as accurate.
    """
    found: list[int] = []
    for _, lost, index in sorted(
        (row.speed.latency_ms.p50, -row.quality.accuracy.value, i)
        for i, row in enumerate(report.rows)
        if row.is_deployable and row.speed and row.quality
    ):
        best = report.rows[found[-1]].quality if found else None
        if best is None or -lost > best.accuracy.value:
            found.append(index)
    return found


def mark_path(row: Row, x: float, y: float) -> str:
    """Return the SVG path of a row's mark: a shape for each variant, so that a color can stand for the bundle."""
    corners = _SHAPES[row.spec.variant]
    points = [f"{x + right:.1f} {y + down:.1f}" for right, down in corners]
    return f"M{'L'.join(points)}Z"


def strip_axis(report: Report) -> LogAxis | None:
    """Return the common axis of the latency histograms; None if every row failed."""
    rows = [report.rows[i] for i in shown_rows(report)]
    rounds = [samples for row in rows if row.measurements for samples in row.measurements.latency_rounds_ms]
    if not rounds:
        return None
    return _latency_axis([sample for samples in rounds for sample in samples], STRIP_FRAME, margin=0.1)


def histogram_path(measurements: Measurements, axis: LogAxis) -> str:
    """Return a closed SVG path around the histogram of a row's latencies; the tallest bin is as high as the strip."""
    positions = [axis.fraction(sample) for samples in measurements.latency_rounds_ms for sample in samples]
    counts, edges = np.histogram(positions, bins=_N_BINS, range=(0, 1))
    tops = [*STRIP_FRAME.height * (1 - 0.95 * counts / counts.max()), STRIP_FRAME.height]
    steps = [f"H{STRIP_FRAME.width * edges[i + 1]:.1f}V{tops[i + 1]:.1f}" for i in range(_N_BINS)]
    return f"M0 {STRIP_FRAME.height}V{tops[0]:.1f}{''.join(steps)}Z"


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the charts of probabilities show of a row.

    Attributes
    ----------
    index
        Index of the row.
    bins
        The points of the reliability diagram.
    left, accuracy
        The share of the images that are left to a person, and the accuracy of the others, see `risk_coverage`.
    """

    index: int
    bins: list[ReliabilityBin]
    left: list[float]
    accuracy: list[float]

    @classmethod
    def of(cls, index: int, scores: Scores) -> "Calibration":
        """Return what the scores of a row say."""
        left, accuracy = risk_coverage(scores)
        return cls(index, reliability(scores), left.tolist(), accuracy.tolist())

    def accuracy_without(self, share: float) -> float:
        """Return the accuracy if the least sure images, at most this share of all, are left to a person."""
        return self.accuracy[bisect.bisect_right(self.left, share) - 1]

    def path(self, x: Axis, y: Axis) -> str:
        """Return the SVG path of the risk-coverage curve, in steps, as far as the axis reaches."""
        points = [(x(left), y(a)) for left, a in zip(self.left, self.accuracy, strict=True) if left <= x.high]
        steps = "".join(f"H{right:.1f}V{up:.1f}" for right, up in points[1:])
        return f"M{points[0][0]:.1f} {points[0][1]:.1f}{steps}H{x.end:.1f}"


def calibrations(report: Report) -> list[Calibration]:
    """Return those of the baseline and of the row that is shown next to it, as far as there are such rows."""
    indices = [i for i in (report.baseline, report.compared_row) if i is not None]
    return [Calibration.of(i, scores) for i in indices if (scores := scores_of(report, i)) is not None]


def reliability_axes(rows: Sequence[Calibration]) -> tuple[LinearAxis, LinearAxis]:
    """Return the axes of mean confidence (to the right) and accuracy (up), both from the same value to 1."""
    lowest = min(min(point.confidence, point.accuracy) for row in rows for point in row.bins)
    low = min(0.9, math.floor(10 * lowest) / 10)
    frame = CALIBRATION_FRAME
    return LinearAxis(low, 1.0, frame.left, frame.right), LinearAxis(low, 1.0, frame.bottom, frame.top)


def coverage_axes(rows: Sequence[Calibration]) -> tuple[LinearAxis, LinearAxis]:
    """Return the axes of the share that is left to a person (to the right) and the accuracy of the others (up)."""
    frame = CALIBRATION_FRAME
    x = LinearAxis(0.0, _MOST_LEFT, frame.left, frame.right)
    lowest = min(a for row in rows for left, a in zip(row.left, row.accuracy, strict=True) if left <= x.high)
    return x, LinearAxis(lowest - max(0.1 * (1 - lowest), _MIN_ROOM), 1.0, frame.bottom, frame.top)


def _latency_axis(latencies_ms: Sequence[float], frame: Frame, *, margin: float) -> LogAxis:
    """Return an axis for all latencies, wider at each end by the factor ``1 + margin``."""
    low, high = (max(of(latencies_ms), _SMALLEST_MS) for of in (min, max))
    return LogAxis(low / (1 + margin), high * (1 + margin), frame.left, frame.right)
