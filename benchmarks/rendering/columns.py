"""The columns of the results table. Every view of a report shows these, under the same names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from overfly.benchmarks.rendering import formatting
from overfly.benchmarks.results import number_format
from overfly.benchmarks.results.row_records import Difference, Quality, Ratio, Row, Speed
from overfly.runtime.evaluation.metrics import TITLES

S = TypeVar("S")
T = TypeVar("T")

LARGEST = float("inf")


@dataclass(frozen=True, slots=True)
class Column(Generic[S, T]):
    """A figure or a fact of every row (`S`: a row of a report, or an entry of a comparison).

    Attributes
    ----------
    title
        Its name, with the unit.
    value
        Returns it for a row; None if the row does not have it.
    format
        Turns it into text, without the unit.
    narrow_title
        The heading on a terminal, in two lines so that the table fits 80 columns; empty: `title`.
    is_number
        Whether it is aligned to the right.
    note
        If there is one, HTML shows the value in this form below the column before it, not as a column.
    bar_end
        HTML draws a bar for a number: the value of a full bar. None for no bar, `LARGEST` for the largest of all rows.
    """

    title: str
    value: Callable[[S], T | None]
    format: Callable[[T], str]
    narrow_title: str = ""
    is_number: bool = True
    note: Callable[[T], str] | None = None
    bar_end: float | None = None

    def text(self, row: S) -> str:
        """Return the text of a row, a dash if it has no value."""
        return number_format.optional(self.value(row), self.format)


def of_quality(get: Callable[[Quality], T]) -> Callable[[Row], T | None]:
    """Return a function that gets something from a row's quality, None if the row failed."""
    return lambda row: None if row.quality is None else get(row.quality)


def of_speed(get: Callable[[Speed], T]) -> Callable[[Row], T | None]:
    """Return a function that gets something from a row's speed, None if the row failed."""
    return lambda row: None if row.speed is None else get(row.speed)


def of_difference(get: Callable[[Difference], T]) -> Callable[[Row], T | None]:
    """Return a function that gets something from a row's difference to the baseline, None if there is none."""
    return lambda row: None if row.difference is None else get(row.difference)


def _metric(name: str, *arguments: Any, **options: Any) -> Column[Row, float]:  # noqa: ANN401 - as `Column` takes them
    """Return the column of a metric of `Quality`."""
    return Column(arguments[0], of_quality(lambda quality: getattr(quality, name).value), *arguments[1:], **options)


# By the names of `runtime.evaluation.metrics.METRICS`. The details show the interval of each in the same format.
METRIC_COLUMNS: dict[str, Column[Row, float]] = {
    "accuracy": _metric("accuracy", f"{TITLES['accuracy']} %", number_format.percent, "top-1\n%", bar_end=1.0),
    "f1_macro": _metric("f1_macro", TITLES["f1_macro"], number_format.decimal, "F1"),
    "kappa": _metric("kappa", TITLES["kappa"], number_format.decimal),
}

# Also the columns of a comparison.
LATENCY: Column[Row, float] = Column(
    "p50 ms", lambda row: row.p50_ms, number_format.milliseconds, "p50\nms", bar_end=LARGEST
)
SPEED: Column[Row, Ratio] = Column(
    "speed", of_difference(lambda d: d.latency_speedup), formatting.speedup, note=formatting.speedup_note
)
THROUGHPUT: Column[Row, float] = Column(
    "images/s", of_speed(lambda speed: speed.throughput_ips), number_format.rate, "img/s", bar_end=LARGEST
)

# After the row's name, with which every view begins.
COLUMNS: tuple[Column[Row, Any], ...] = (
    Column(
        "computed in",
        lambda row: row.execution.execution_precision,
        str,
        "runs\nin",
        is_number=False,
        note="computed in {}".format,
    ),
    METRIC_COLUMNS["accuracy"],
    Column(
        "images vs baseline",
        lambda row: row.difference,
        formatting.image_difference,
        "vs\nbase",
        note=formatting.image_difference_note,
    ),
    *(column for name, column in METRIC_COLUMNS.items() if name != "accuracy"),
    LATENCY,
    SPEED,
    Column(
        "file to label ms",
        of_speed(lambda speed: speed.file_latency_ms.p50),
        number_format.milliseconds,
        "file\nms",
        bar_end=LARGEST,
    ),
    THROUGHPUT,
    Column("size MiB", lambda row: row.spec.size_bytes, number_format.mebibytes, "MiB", bar_end=LARGEST),
)
