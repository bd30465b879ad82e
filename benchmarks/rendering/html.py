"""The report as one HTML file that loads nothing from elsewhere."""

from dataclasses import dataclass
from importlib import resources
from typing import Any

from overfly.benchmarks.rendering import charts, columns, formatting
from overfly.benchmarks.rendering.columns import COLUMNS, LARGEST, Column
from overfly.benchmarks.rendering.details import DETAILS, machine_facts, short_name
from overfly.benchmarks.rendering.legend import LEGEND
from overfly.benchmarks.results import number_format, per_class
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import Latency, Quality, Row, Speed
from overfly.runtime.evaluation.metrics import most_confused
from overfly.runtime.extras import require_extra

_N_CONFUSED = 8
# How many images that are classified differently the page shows; a click opens the rest.
_N_DISAGREEMENTS = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of the results table, or the row's name.

    Attributes
    ----------
    notes
        Small print below the figure.
    bar
        Length of its bar in percent; None for no bar.
    """

    title: str
    text: str
    notes: list[str]
    bar: float | None = None


@dataclass(frozen=True, slots=True)
class Matrix:
    """A row's confusion matrix: each true class with its counts, and the most frequent errors (true, predicted, n)."""

    name: str
    rows: list[tuple[str, list[int]]]
    confused: list[tuple[str, str, int]]


def report_html(report: Report) -> str:
    """Return the report as HTML.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``bench`` is not installed.
    """
    require_extra("bench")
    import jinja2

    source = resources.files("overfly.benchmarks.rendering").joinpath("report.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    matrices = [_matrix(report, index) for index in (report.compared_row, report.baseline)]
    return environment.from_string(source).render(
        report=report,
        charts=charts,
        columns=columns,
        formatting=formatting,
        number_format=number_format,
        per_class=per_class,
        short_name=short_name,
        accuracy_text=_accuracy_text,
        latency_text=_latency_text,
        cells=_cells(report),
        matrices=[matrix for matrix in matrices if matrix is not None],
        n_disagreements=_N_DISAGREEMENTS,
        details=DETAILS,
        legend=LEGEND,
        machine=machine_facts(report),
    )


def _cells(report: Report) -> list[list[Cell]]:
    """Return the cells of each row of the results table; the first has the row's name."""
    full_bars = {column.title: _full_bar(column, report.rows) for column in COLUMNS if column.bar_end is not None}
    table = []
    for i, row in enumerate(report.rows):
        cells = [Cell("model", row.name, [])]
        for column in COLUMNS:
            value = column.value(row)
            if column.note is None:
                full = full_bars.get(column.title)
                bar = round(100 * value / full, 2) if value is not None and full else None
                cells.append(Cell(column.title, column.text(row), [], bar))
            elif value is not None:
                cells[-1].notes.append(column.note(value))
        if i == report.baseline:
            cells[0].notes.append("baseline")
        table.append(cells)
    return table


def _full_bar(column: Column[Row, Any], rows: tuple[Row, ...]) -> float | None:
    """Return the value of a column's full bar; None if no row has a value."""
    values = [value for row in rows if (value := column.value(row)) is not None]
    return max(values, default=None) if column.bar_end == LARGEST else column.bar_end


def _latency_text(latency: Latency) -> str:
    """Return latencies in words."""
    percentiles = {"p50": latency.p50, "p90": latency.p90, "p99": latency.p99}
    texts = [f"{name} {number_format.milliseconds(ms)}" for name, ms in percentiles.items() if ms is not None]
    return f"{', '.join(texts)} ms; {latency.n:,} samples"


def _accuracy_text(quality: Quality, speed: Speed) -> str:
    """Return a row's position in the scatter plot in words."""
    accuracy = quality.accuracy
    interval = number_format.interval(accuracy.ci95, number_format.percent)
    p50 = number_format.milliseconds(speed.latency_ms.p50)
    return f"{number_format.percent(accuracy.value)}% ({interval}%) at {p50} ms"


def _matrix(report: Report, index: int | None) -> Matrix | None:
    """Return a row's confusion matrix, without the classes that are neither a label nor a prediction."""
    confusion = per_class.confusion_of(report, index)
    if index is None or confusion is None:
        return None
    names = report.classes
    seen = [i for i in range(len(names)) if confusion[i].sum() + confusion[:, i].sum() > 0]
    rows = [(names[t], confusion[t, seen].tolist()) for t in seen]
    return Matrix(report.rows[index].name, rows, most_confused(confusion, names, n_pairs=_N_CONFUSED))
