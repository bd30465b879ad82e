"""The columns of the results table. Every view of a report shows these, under the same names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from overfly.benchmarks.rendering import formatting
from overfly.benchmarks.results.row_records import Difference, Quality, Row, Speed

T = TypeVar("T")

LARGEST = float("inf")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """A figure or a fact of every row.

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
    value: Callable[[Row], T | None]
    format: Callable[[T], str]
    narrow_title: str = ""
    is_number: bool = True
    note: Callable[[T], str] | None = None
    bar_end: float | None = None

    def text(self, row: Row) -> str:
        """Return the text of a row, a dash if it has no value."""
        return formatting.optional(self.value(row), self.format)


def of_quality(get: Callable[[Quality], T]) -> Callable[[Row], T | None]:
    """Return a function that gets something from a row's quality, None if the row failed."""
    return lambda row: None if row.quality is None else get(row.quality)


def of_speed(get: Callable[[Speed], T]) -> Callable[[Row], T | None]:
    """Return a function that gets something from a row's speed, None if the row failed."""
    return lambda row: None if row.speed is None else get(row.speed)


def of_difference(get: Callable[[Difference], T]) -> Callable[[Row], T | None]:
    """Return a function that gets something from a row's difference to the baseline, None if there is none."""
    return lambda row: None if row.difference is None else get(row.difference)


# After the row's name, with which every view begins.
COLUMNS: tuple[Column[Any], ...] = (
    Column(
        "computed in",
        lambda row: row.execution.execution_precision,
        str,
        "runs\nin",
        is_number=False,
        note="computed in {}".format,
    ),
    Column(
        "accuracy %", of_quality(lambda quality: quality.accuracy.value), formatting.percent, "top-1\n%", bar_end=1.0
    ),
    Column(
        "images vs baseline",
        lambda row: row.difference,
        formatting.image_difference,
        "vs\nbase",
        note=formatting.image_difference_note,
    ),
    Column("macro F1", of_quality(lambda quality: quality.f1_macro.value), formatting.decimal, "F1"),
    Column("kappa", of_quality(lambda quality: quality.kappa.value), formatting.decimal),
    Column("p50 ms", lambda row: row.p50_ms, formatting.milliseconds, "p50\nms", bar_end=LARGEST),
    Column(
        "speed",
        of_difference(lambda difference: difference.latency_speedup),
        formatting.speedup,
        note=formatting.speedup_note,
    ),
    Column(
        "file to label ms",
        of_speed(lambda speed: speed.file_latency_ms.p50),
        formatting.milliseconds,
        "file\nms",
        bar_end=LARGEST,
    ),
    Column("images/s", of_speed(lambda speed: speed.throughput_ips), formatting.rate, "img/s", bar_end=LARGEST),
    Column("size MiB", lambda row: row.spec.size_bytes, formatting.mebibytes, "MiB", bar_end=LARGEST),
)
