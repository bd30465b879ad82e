"""The columns of the results table. Every view of a report shows these, under the same names."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from overfly.benchmarks.rendering import formatting
from overfly.benchmarks.results import number_format
from overfly.runtime.evaluation.calibration import PROBABILITY_TITLES
from overfly.runtime.evaluation.metrics import TITLES

LARGEST = float("inf")


@dataclass(frozen=True, slots=True)
class Column:
    """A figure or a fact of every row: a row of a report, or an entry of a comparison.

    Attributes
    ----------
    title
        Its name, with the unit.
    path
        Where the row has it: attributes of attributes, such as ``speed.throughput_ips``.
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
    on_terminal
        Whether a terminal has the column: it is too narrow for all of them.
    """

    title: str
    path: str
    format: Callable[[Any], str]
    narrow_title: str = ""
    is_number: bool = True
    note: Callable[[Any], str] | None = None
    bar_end: float | None = None
    on_terminal: bool = True

    def value(self, row: object) -> Any:  # noqa: ANN401 - whatever the row has there
        """Return its value for a row; None if the row lacks it, or lacks what contains it because it failed."""
        found: Any = row
        for name in self.path.split("."):
            found = None if found is None else getattr(found, name)
        return found

    def text(self, row: object) -> str:
        """Return the text of a row, a dash if it has no value."""
        return number_format.optional(self.value(row), self.format)


# By the names of `METRICS` and `PROBABILITY_METRICS` of `runtime.evaluation`. The details show the interval of each in
# the same format.
METRIC_COLUMNS = {
    "accuracy": Column(
        f"{TITLES['accuracy']} %", "quality.accuracy.value", number_format.percent, "top-1\n%", bar_end=1.0
    ),
    "f1_macro": Column(TITLES["f1_macro"], "quality.f1_macro.value", number_format.decimal, "F1"),
    "kappa": Column(TITLES["kappa"], "quality.kappa.value", number_format.decimal),
    **{
        name: Column(title, f"quality.{name}.value", number_format.decimal, on_terminal=False)
        for name, title in PROBABILITY_TITLES.items()
    },
}

# Also the columns of a comparison.
LATENCY = Column("p50 ms", "speed.latency_ms.p50", number_format.milliseconds, "p50\nms", bar_end=LARGEST)
SPEED = Column("speed", "difference.latency_speedup", formatting.speedup, note=formatting.speedup_note)
THROUGHPUT = Column("images/s", "speed.throughput_ips", number_format.rate, "img/s", bar_end=LARGEST)

# After the row's name, with which every view begins.
COLUMNS = (
    Column(
        "computed in",
        "execution.execution_precision",
        str,
        "runs\nin",
        is_number=False,
        note="computed in {}".format,
    ),
    METRIC_COLUMNS["accuracy"],
    Column(
        "images vs baseline",
        "difference",
        formatting.image_difference,
        "vs\nbase",
        note=formatting.image_difference_note,
    ),
    *(column for name, column in METRIC_COLUMNS.items() if name != "accuracy"),
    LATENCY,
    SPEED,
    Column("file to label ms", "speed.file_latency_ms.p50", number_format.milliseconds, "file\nms", bar_end=LARGEST),
    THROUGHPUT,
    Column("size MiB", "spec.size_bytes", number_format.mebibytes, "MiB", bar_end=LARGEST),
)
