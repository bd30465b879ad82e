"""The geometry of the report's charts: pure functions from figures to coordinates; the template draws them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from overfly.benchmarks.results.backends import BACKENDS
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import Estimate, Row

# In units of the view box; at 348 pixels, a phone, the smallest text is still 10 pixels high.
WIDTH, HEIGHT = 440, 290
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 14, 14, 40
STRIP_WIDTH, STRIP_HEIGHT = 400, 40
_N_BINS = 80
_MAX_TICKS = 6
_STEPS = ((1, 1.2, 1.4, 1.6, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9), (1, 1.5, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,))
_LABEL_HEIGHT = 14
# Above and below the intervals, which have no width where every row has every image right.
_MIN_ROOM = 0.005
_LETTER_WIDTH = 8


@dataclass(frozen=True, slots=True)
class Tick:
    """A place on an axis, in units of the view box or in percent, and what stands there."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Point:
    """A row in the scatter plot: its place, its interval, and where its label stands."""

    row: int
    x: float
    y: float
    y_low: float
    y_high: float
    label: str
    label_x: float
    label_y: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Scatter:
    """Accuracy (up) against median latency (to the right, logarithmic)."""

    points: tuple[Point, ...]
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Strip:
    """A row's latency histogram on the common logarithmic axis: an SVG path, and two lines in view box units."""

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
        """Return a scale that holds all `values` (positive) and, on each side, the factor ``1 + margin``."""
        held = [max(value, 1e-6) for value in values]
        return cls(min(held) / (1 + margin), max(held) * (1 + margin))

    def __call__(self, value: float) -> float:
        """Return where `value` is."""
        return math.log(max(value, 1e-6) / self.low) / math.log(self.high / self.low)

    def ticks(self) -> list[float]:
        """Return round numbers in range, the densest series of them that is not too many."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in _STEPS:
            found = [s * 10.0**d for d in decades for s in steps if self.low <= s * 10.0**d <= self.high]
            if len(found) <= _MAX_TICKS:
                break
        return found


def scatter(report: Report) -> Scatter | None:
    """Return the scatter plot; None when no row has both figures."""
    rows = [
        (i, row, row.speed.latency_ms.p50, row.quality.accuracy)
        for i, row in enumerate(report.rows)
        if row.speed and row.quality
    ]
    if not rows:
        return None
    scale = LogScale.around((p50_ms for *_, p50_ms, _ in rows), margin=0.6)
    low, high = _accuracy_range([accuracy for *_, accuracy in rows])

    def x(value: float) -> float:
        return _LEFT + scale(value) * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return HEIGHT - _BOTTOM - (value - low) / (high - low) * (HEIGHT - _BOTTOM - _TOP)

    places = [(x(p50_ms), y(accuracy.value)) for *_, p50_ms, accuracy in rows]
    names = [short_name(report, row) for _, row, *_ in rows]
    labels = _place_labels([(name, *place) for name, place in zip(names, places, strict=True)])
    points = tuple(
        Point(i, px, py, y(accuracy.ci95[0]), y(accuracy.ci95[1]), *label)
        for (i, *_, accuracy), (px, py), label in zip(rows, places, labels, strict=True)
    )
    x_ticks = tuple(Tick(x(value), f"{value:g}") for value in scale.ticks())
    return Scatter(points, x_ticks, tuple(Tick(y(value), f"{100 * value:g}%") for value in _linear_ticks(low, high)))


def strips(report: Report) -> Strips | None:
    """Return the latency histograms; None when there is no sample."""
    samples = {
        i: np.array([sample for samples in row.measurements.latency_rounds_ms for sample in samples])
        for i, row in enumerate(report.rows)
        if row.measurements is not None
    }
    if not samples:
        return None
    every = np.concatenate(list(samples.values()))
    scale = LogScale.around((float(every.min()), float(every.max())), margin=0.1)
    found = tuple(
        Strip(
            i,
            _histogram_path([scale(float(v)) for v in values]),
            STRIP_WIDTH * scale(float(np.percentile(values, 50))),
            STRIP_WIDTH * scale(float(np.percentile(values, 90))),
        )
        for i, values in samples.items()
    )
    return Strips(found, tuple(Tick(100 * scale(value), f"{value:g}") for value in scale.ticks()))


def short_name(report: Report, row: Row) -> str:
    """Return the shortest name that tells the rows of a report apart."""
    facts = BACKENDS[row.spec.backend]
    same = {other.execution.device for other in report.rows if other.spec.backend == row.spec.backend}
    variant = "" if facts.short_title and row.spec.variant == "fp32" else row.spec.variant
    device = row.execution.device if facts.has_devices and len(same) > 1 else ""
    return " ".join(part for part in (facts.short_title, variant, row.spec.configuration, device) if part)


def _accuracy_range(accuracies: Sequence[Estimate]) -> tuple[float, float]:
    """Return a range of accuracy that holds all intervals with a little room."""
    low, high = min(accuracy.ci95[0] for accuracy in accuracies), max(accuracy.ci95[1] for accuracy in accuracies)
    room = max(0.08 * (high - low), _MIN_ROOM)
    return max(0.0, low - room), min(1.0, high + room)


def _linear_ticks(low: float, high: float) -> list[float]:
    """Return round fractions in a range, at most `_MAX_TICKS` of them."""
    for step in (0.005, 0.01, 0.02, 0.05, 0.1):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < _MAX_TICKS:
            break
    else:
        step, first, last = 0.2, math.ceil(low / 0.2), math.floor(high / 0.2)
    return [round(k * step, 6) for k in range(first, last + 1)]


def _place_labels(points: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float, str]]:
    """Put each label beside its point, where it hides neither another point nor another label."""
    taken = [(x - 7, y - 7, x + 7, y + 7) for _, x, y in points]
    placed = []
    for text, x, y in points:
        width = _LETTER_WIDTH * len(text)
        choices = []
        for dy in (0, -_LABEL_HEIGHT, _LABEL_HEIGHT, -2 * _LABEL_HEIGHT, 2 * _LABEL_HEIGHT, 3 * _LABEL_HEIGHT):
            choices.append((x + 11, y + dy, "start", (x + 11, y + dy - 6, x + 11 + width, y + dy + 6)))
            choices.append((x - 11, y + dy, "end", (x - 11 - width, y + dy - 6, x - 11, y + dy + 6)))
        inside = [c for c in choices if c[3][0] >= _LEFT and c[3][2] <= WIDTH and c[3][3] <= HEIGHT - _BOTTOM]
        free = [c for c in inside if not any(_overlap(c[3], box) for box in taken)]
        at_x, at_y, anchor, box = (free or inside or choices)[0]
        taken.append(box)
        placed.append((text, at_x, at_y + 4, anchor))
    return placed


def _overlap(a: tuple[float, float, float, float], b: tuple[float, float, float, float]) -> bool:
    """Whether two boxes (left, top, right, bottom) have a point in common."""
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _histogram_path(places: Sequence[float]) -> str:
    """Return a closed path over the histogram of places in [0, 1], the tallest bin as high as the strip."""
    counts, edges = np.histogram(places, bins=_N_BINS, range=(0, 1))
    heights = STRIP_HEIGHT * (1 - 0.95 * counts / counts.max())
    steps = [f"H{STRIP_WIDTH * edges[i + 1]:.1f}V{_next(heights, i):.1f}" for i in range(_N_BINS)]
    return f"M0 {STRIP_HEIGHT}V{heights[0]:.1f}{''.join(steps)}Z"


def _next(heights: Sequence[float], index: int) -> float:
    """Return the height after a bin: the next bin's, or the ground after the last."""
    return float(heights[index + 1]) if index + 1 < len(heights) else float(STRIP_HEIGHT)
