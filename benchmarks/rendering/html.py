"""The report as one HTML file that needs nothing from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from overfly.benchmarks.rendering import charts
from overfly.benchmarks.rendering import formatting as wording
from overfly.benchmarks.rendering.legend import METHOD
from overfly.benchmarks.rendering.markdown import detail_cells, machine_facts
from overfly.benchmarks.results.per_class import class_scores, confusion_of, differences
from overfly.benchmarks.results.records import OK, Choice, Ratio, Report, Row
from overfly.runtime.evaluation.metrics import most_confused
from overfly.runtime.extras import require_extra

_TEMPLATE = "report.html.j2"
_N_CONFUSED = 8
# More than a person reads; the rest opens with a click.
_N_DIFFERENCES = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of the main table.

    Attributes
    ----------
    note
        Small print below the figure; may be empty.
    bar
        Length of its bar in percent of the longest; None for no bar.
    """

    label: str
    text: str
    note: str
    bar: float | None


@dataclass(frozen=True, slots=True)
class RowView:
    """A row of the main table."""

    name: str
    short: str
    computes_in: str
    cells: tuple[Cell, ...]
    problem: str | None
    is_baseline: bool


@dataclass(frozen=True, slots=True)
class Highlight:
    """A recommended row in large figures."""

    title: str
    place: str
    figure: str
    unit: str
    gain: str


@dataclass(frozen=True, slots=True)
class MatrixCell:
    """A count of the confusion matrix, and its share of the true class in [0, 1]."""

    n_images: int
    share: float
    is_right: bool
    title: str


@dataclass(frozen=True, slots=True)
class Matrix:
    """A row's confusion matrix with its most frequent errors (truth, taken for, images)."""

    name: str
    rows: tuple[tuple[str, tuple[MatrixCell, ...]], ...]
    confused: tuple[tuple[str, str, int], ...]


def report_html(report: Report) -> str:
    """Return the report as HTML.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``bench`` is not installed.
    """
    require_extra("bench")
    import jinja2

    source = resources.files("overfly.benchmarks.rendering").joinpath(_TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(source).render(_context(report))


def _context(report: Report) -> dict[str, object]:
    """Return what the template fills in: all texts ready, all lengths computed."""
    names = {i: report.rows[i].name for i in (report.baseline, report.compared_row) if i is not None}
    return {
        "report": report,
        "verdict": wording.verdict_sentence(report),
        "answer": wording.answer_sentence(report),
        "judged": wording.judged_sentence(report),
        "heroes": _heroes(report),
        "rows": _row_views(report),
        "scatter": charts.scatter(report),
        "strips": charts.strips(report),
        "canvas": {"width": charts.WIDTH, "height": charts.HEIGHT},
        "strip_size": {"width": charts.STRIP_WIDTH, "height": charts.STRIP_HEIGHT},
        "latency_texts": [_latency_text(row) for row in report.rows],
        "accuracy_texts": [_accuracy_text(row) for row in report.rows],
        "scores": class_scores(report),
        "matrices": [m for i in reversed(list(names)) if (m := _matrix(report, i)) is not None],
        "differences": differences(report),
        "n_differences": _N_DIFFERENCES,
        "baseline_name": names.get(-1 if report.baseline is None else report.baseline),
        "contender_name": names.get(-1 if report.compared_row is None else report.compared_row),
        "details": _details(report),
        "machine": machine_facts(report),
        "method": METHOD,
        "ratio": wording.ratio,
    }


def _row_views(report: Report) -> list[RowView]:
    """Return the rows of the main table with bars that are relative to the largest figure of their column."""
    columns: list[list[float | None]] = [
        [row.latency_ms.p50 if row.latency_ms else None for row in report.rows],
        [row.file_latency_ms.p50 if row.file_latency_ms else None for row in report.rows],
        [row.throughput_ips for row in report.rows],
        [None if row.size_bytes is None else float(row.size_bytes) for row in report.rows],
    ]
    bars = zip(*map(_relative, columns), strict=True)
    return [_row_view(report, i, of_row) for i, of_row in enumerate(bars)]


def _row_view(report: Report, index: int, bars: Sequence[float | None]) -> RowView:
    """Return one row of the main table; `bars` are those of latency, file latency, throughput and size."""
    row = report.rows[index]
    is_baseline = index == report.baseline
    accuracy_bar = None if row.accuracy is None else 100 * row.accuracy
    cells = (
        Cell("accuracy", wording.percent(row.accuracy), _images_note(row, is_baseline=is_baseline), accuracy_bar),
        Cell("macro F1", wording.ratio(row.f1_macro), "", None),
        Cell("kappa", wording.ratio(row.kappa), "", None),
        Cell(
            "p50 latency, ms",
            wording.p50(row.latency_ms),
            _speed(row.latency_speedup),
            bars[0],
        ),
        Cell("file to label, ms", wording.p50(row.file_latency_ms), "", bars[1]),
        Cell("images/s", wording.count(row.throughput_ips), "", bars[2]),
        Cell("size, MiB", wording.megabytes(row.size_bytes), "", bars[3]),
    )
    problem = None if row.status == OK else row.status
    short = charts.short_name(report, row)
    return RowView(row.name, short, row.execution_precision or wording.NONE, cells, problem, is_baseline)


def _images_note(row: Row, *, is_baseline: bool) -> str:
    """Say what the accuracy costs in images, or that this is what the others are compared with."""
    if is_baseline:
        return "baseline"
    if row.delta_images is None:
        return ""
    if row.delta_images == 0:
        return "same count"
    noun = "image" if abs(row.delta_images) == 1 else "images"
    mark = " ~" if wording.delta(row).endswith("~") else ""
    return f"{row.delta_images:+d} {noun}{mark}"


def _relative(values: Sequence[float | None]) -> list[float | None]:
    """Return each value in percent of the largest."""
    largest = max((value for value in values if value is not None), default=0.0)
    return [None if value is None or largest <= 0 else round(100 * value / largest, 2) for value in values]


def _heroes(report: Report) -> list[Highlight]:
    """Return the recommended rows, the one for latency first."""
    heroes = []
    for title, choice in (("Fastest answer", report.answer.latency), ("Most images", report.answer.throughput)):
        row = next((r for r in report.rows if r.is_deployable and Choice(r.variant, r.device) == choice), None)
        if row is None or row.latency_ms is None:
            continue
        place = f"{row.variant} on {row.device}"
        if title == "Fastest answer":
            gain = _gain(report, row.latency_speedup)
            heroes.append(Highlight(title, place, wording.milliseconds(row.latency_ms.p50), "ms p50", gain))
        else:
            gain = _gain(report, row.throughput_speedup)
            heroes.append(Highlight(title, place, wording.count(row.throughput_ips), "images/s", gain))
    return heroes


def _gain(report: Report, ratio: Ratio | None) -> str:
    """Say how much faster than the baseline something is, with the range of the rounds."""
    if ratio is None or report.baseline is None:
        return ""
    low, high = wording.ends(ratio)
    return f"{_speed(ratio)} of {report.rows[report.baseline].name} ({low} to {high})"


def _speed(ratio: Ratio | None) -> str:
    """Say how many times as fast as the baseline something is."""
    return "" if ratio is None else f"{wording.times(ratio).replace(' ~', '')} the speed{_doubt(ratio)}"


def _doubt(ratio: Ratio) -> str:
    """Return the mark of what is not significant."""
    return "" if ratio.is_significant else "\N{NO-BREAK SPACE}~"


def _latency_text(row: Row) -> str:
    """Return a row's latency distribution in words."""
    if row.latency_ms is None:
        return "not measured"
    latency = row.latency_ms
    tail = "" if latency.p99 is None else f", p99 {wording.milliseconds(latency.p99)}"
    middle = f"p50 {wording.milliseconds(latency.p50)}, p90 {wording.milliseconds(latency.p90)}{tail} ms"
    return f"{middle}; {latency.n:,} samples"


def _accuracy_text(row: Row) -> str:
    """Return a row's place in the scatter plot in words."""
    if row.accuracy is None or row.latency_ms is None:
        return "not measured"
    accuracy = f"{wording.percent(row.accuracy)} ({wording.interval(row.accuracy_ci95)})"
    return f"{accuracy} at {wording.p50(row.latency_ms)} ms"


def _matrix(report: Report, index: int) -> Matrix | None:
    """Return a row's confusion matrix, over the classes that are judged or answered."""
    confusion = confusion_of(report, index)
    if confusion is None:
        return None
    seen = [i for i in range(len(report.classes)) if confusion[i].sum() + confusion[:, i].sum() > 0]
    shares = confusion / np.maximum(confusion.sum(axis=1, keepdims=True), 1)
    rows = tuple(
        (
            report.classes[t],
            tuple(
                MatrixCell(
                    int(confusion[t, p]),
                    round(float(shares[t, p]), 3),
                    t == p,
                    f"{report.classes[t]} taken for {report.classes[p]}: {confusion[t, p]}",
                )
                for p in seen
            ),
        )
        for t in seen
    )
    confused = tuple(most_confused(confusion, report.classes, n_pairs=_N_CONFUSED))
    return Matrix(report.rows[index].name, rows, confused)


def _details(report: Report) -> list[tuple[str, list[str]]]:
    """Return the details, a line for each figure with a text for each row."""
    columns = [detail_cells(row) for row in report.rows]
    return [(line[0][0], [text for _, text in line]) for line in zip(*columns, strict=True)]
