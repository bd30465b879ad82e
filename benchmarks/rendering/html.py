"""The report as one HTML file that loads nothing from elsewhere."""

from dataclasses import dataclass
from importlib import resources
from typing import Any

from overfly.benchmarks.rendering import charts, formatting
from overfly.benchmarks.rendering.columns import COLUMNS, LARGEST, LATENCY, THROUGHPUT, Column
from overfly.benchmarks.rendering.details import DETAILS, machine_facts, short_name
from overfly.benchmarks.rendering.legend import LEGEND
from overfly.benchmarks.results import number_format
from overfly.benchmarks.results.per_class import class_scores, confusion_of, disagreements
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import OK, Ratio, Row
from overfly.runtime.evaluation.metrics import most_confused
from overfly.runtime.extras import require_extra

_N_CONFUSED = 8
# How many images that are classified differently the page shows; a click opens the rest.
_N_DISAGREEMENTS = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of the results table.

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
    bar: float | None


@dataclass(frozen=True, slots=True)
class RowView:
    """A row of the results table; `problem` says why it failed."""

    name: str
    short_name: str
    notes: list[str]
    cells: list[Cell]
    problem: str | None
    accuracy: str
    latency: str


@dataclass(frozen=True, slots=True)
class Highlight:
    """A recommended row in large figures."""

    title: str
    place: str
    figure: str
    unit: str
    gain: str


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
    return environment.from_string(source).render(_context(report))


def _context(report: Report) -> dict[str, object]:
    """Return what the template fills in: all texts ready, all lengths computed."""
    baseline, compared = (None if i is None else report.rows[i].name for i in (report.baseline, report.compared_row))
    matrices = [_matrix(report, i) for i in (report.compared_row, report.baseline) if i is not None]
    return {
        "report": report,
        "validity": formatting.validity_sentence(report),
        "recommendation": formatting.recommendation_sentence(report),
        "images": formatting.images_sentence(report),
        "highlights": _highlights(report),
        "rows": _row_views(report),
        "scatter": charts.scatter(report),
        "scatter_frame": charts.SCATTER_FRAME,
        "strips": charts.strips(report),
        "strip_frame": charts.STRIP_FRAME,
        "scores": class_scores(report),
        "matrices": [matrix for matrix in matrices if matrix is not None],
        "disagreements": disagreements(report),
        "n_disagreements": _N_DISAGREEMENTS,
        "baseline_name": baseline,
        "compared_name": compared,
        "details": [(detail.title, [detail.text(row) for row in report.rows]) for detail in DETAILS],
        "machine": machine_facts(report),
        "legend": LEGEND,
        "decimal": number_format.decimal,
    }


def _row_views(report: Report) -> list[RowView]:
    """Return the rows of the results table."""
    full_bars = {column.title: _full_bar(column, report.rows) for column in COLUMNS if column.bar_end is not None}
    views = []
    for i, row in enumerate(report.rows):
        cells: list[Cell] = []
        name_notes: list[str] = []
        for column in COLUMNS:
            value = column.value(row)
            if column.note is None:
                full = full_bars.get(column.title)
                bar = round(100 * value / full, 2) if value is not None and full else None
                cells.append(Cell(column.title, column.text(row), [], bar))
            elif value is not None:
                (cells[-1].notes if cells else name_notes).append(column.note(value))
        if i == report.baseline:
            name_notes.append("baseline")
        problem = None if row.status == OK else row.status
        accuracy, latency = _accuracy_text(row), _latency_text(row)
        views.append(RowView(row.name, short_name(report, row), name_notes, cells, problem, accuracy, latency))
    return views


def _full_bar(column: Column[Row, Any], rows: tuple[Row, ...]) -> float | None:
    """Return the value of a column's full bar; None if no row has a value."""
    values = [value for row in rows if (value := column.value(row)) is not None]
    return max(values, default=None) if column.bar_end == LARGEST else column.bar_end


def _highlights(report: Report) -> list[Highlight]:
    """Return the recommended rows, the one for latency first."""
    best, found = report.recommendation, []
    for title, deployment, column, unit, name in (
        ("Lowest latency", best.latency, LATENCY, "ms p50", "latency_speedup"),
        ("Highest throughput", best.throughput, THROUGHPUT, "images/s", "throughput_speedup"),
    ):
        row = next((row for row in report.rows if row.is_deployable and row.deployment == deployment), None)
        if row is not None:
            gain = _gain(report, getattr(row.difference, name) if row.difference else None)
            found.append(Highlight(title, row.place, column.text(row), unit, gain))
    return found


def _gain(report: Report, speedup: Ratio | None) -> str:
    """Say how many times as fast as the baseline a row is; empty without a baseline."""
    if speedup is None or report.baseline is None:
        return ""
    return f"{formatting.speedup_range(speedup)} against {report.rows[report.baseline].name}"


def _latency_text(row: Row) -> str:
    """Return a row's latencies in words."""
    if row.speed is None:
        return "not measured"
    latency = row.speed.latency_ms
    percentiles = {"p50": latency.p50, "p90": latency.p90, "p99": latency.p99}
    texts = [f"{name} {number_format.milliseconds(ms)}" for name, ms in percentiles.items() if ms is not None]
    return f"{', '.join(texts)} ms; {latency.n:,} samples"


def _accuracy_text(row: Row) -> str:
    """Return a row's position in the scatter plot in words."""
    if row.quality is None or row.speed is None:
        return "not measured"
    accuracy = row.quality.accuracy
    interval = number_format.interval(accuracy.ci95, number_format.percent)
    p50 = number_format.milliseconds(row.speed.latency_ms.p50)
    return f"{number_format.percent(accuracy.value)}% ({interval}%) at {p50} ms"


def _matrix(report: Report, index: int) -> Matrix | None:
    """Return a row's confusion matrix, without the classes that are neither a label nor a prediction."""
    confusion = confusion_of(report, index)
    if confusion is None:
        return None
    names = report.classes
    seen = [i for i in range(len(names)) if confusion[i].sum() + confusion[:, i].sum() > 0]
    rows = [(names[t], confusion[t, seen].tolist()) for t in seen]
    return Matrix(report.rows[index].name, rows, most_confused(confusion, names, n_pairs=_N_CONFUSED))
