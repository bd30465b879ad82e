"""The report as one HTML file that needs nothing from outside."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np

from overfly.benchmarks.rendering import charts
from overfly.benchmarks.rendering import formatting as wording
from overfly.benchmarks.rendering.legend import METHOD
from overfly.benchmarks.rendering.markdown import detail_cells, machine_facts
from overfly.benchmarks.results.per_class import class_scores, confusion_of, disagreements
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import OK, Ratio, Row
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
        "differences": disagreements(report),
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
        [row.p50_ms for row in report.rows],
        [row.speed.file_latency_ms.p50 if row.speed else None for row in report.rows],
        [row.speed.throughput_ips if row.speed else None for row in report.rows],
        [None if row.spec.size_bytes is None else float(row.spec.size_bytes) for row in report.rows],
    ]
    bars = zip(*map(_relative, columns), strict=True)
    return [_row_view(report, i, of_row) for i, of_row in enumerate(bars)]


def _row_view(report: Report, index: int, bars: Sequence[float | None]) -> RowView:
    """Return one row of the main table; `bars` are those of latency, file latency, throughput and size."""
    row = report.rows[index]
    is_baseline = index == report.baseline
    quality, speed, difference = row.quality, row.speed, row.difference
    accuracy_bar = None if quality is None else 100 * quality.accuracy.value
    images_note = _images_note(row, is_baseline=is_baseline)
    cells = (
        Cell("accuracy", wording.percent(quality.accuracy.value if quality else None), images_note, accuracy_bar),
        Cell("macro F1", wording.ratio(quality.f1_macro.value if quality else None), "", None),
        Cell("kappa", wording.ratio(quality.kappa.value if quality else None), "", None),
        Cell(
            "p50 latency, ms",
            wording.p50(speed.latency_ms if speed else None),
            _speed(difference.latency_speedup if difference else None),
            bars[0],
        ),
        Cell("file to label, ms", wording.p50(speed.file_latency_ms if speed else None), "", bars[1]),
        Cell("images/s", wording.count(speed.throughput_ips if speed else None), "", bars[2]),
        Cell("size, MiB", wording.megabytes(row.spec.size_bytes), "", bars[3]),
    )
    problem = None if row.status == OK else row.status
    short = charts.short_name(report, row)
    return RowView(row.name, short, row.execution.execution_precision or wording.NONE, cells, problem, is_baseline)


def _images_note(row: Row, *, is_baseline: bool) -> str:
    """Say what the accuracy costs in images, or that this is what the others are compared with."""
    if is_baseline:
        return "baseline"
    if row.difference is None:
        return ""
    images = row.difference.images
    if images == 0:
        return "same count"
    noun = "image" if abs(images) == 1 else "images"
    return f"{images:+d} {noun}{'' if row.difference.is_significant else ' ~'}"


def _relative(values: Sequence[float | None]) -> list[float | None]:
    """Return each value in percent of the largest."""
    largest = max((value for value in values if value is not None), default=0.0)
    return [None if value is None or largest <= 0 else round(100 * value / largest, 2) for value in values]


def _heroes(report: Report) -> list[Highlight]:
    """Return the recommended rows, the one for latency first."""
    heroes = []
    for title, choice in (
        ("Fastest answer", report.recommendation.latency),
        ("Most images", report.recommendation.throughput),
    ):
        row = next((r for r in report.rows if r.is_deployable and r.deployment == choice), None)
        if row is None or row.speed is None:
            continue
        place = f"{row.spec.variant} on {row.execution.device}"
        if title == "Fastest answer":
            gain = _gain(report, row.difference.latency_speedup if row.difference else None)
            heroes.append(Highlight(title, place, wording.milliseconds(row.p50_ms), "ms p50", gain))
        else:
            gain = _gain(report, row.difference.throughput_speedup if row.difference else None)
            heroes.append(Highlight(title, place, wording.count(row.speed.throughput_ips), "images/s", gain))
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
    if row.speed is None:
        return "not measured"
    latency = row.speed.latency_ms
    tail = "" if latency.p99 is None else f", p99 {wording.milliseconds(latency.p99)}"
    middle = f"p50 {wording.milliseconds(latency.p50)}, p90 {wording.milliseconds(latency.p90)}{tail} ms"
    return f"{middle}; {latency.n:,} samples"


def _accuracy_text(row: Row) -> str:
    """Return a row's place in the scatter plot in words."""
    if row.quality is None:
        return "not measured"
    accuracy, p50 = row.quality.accuracy, wording.milliseconds(row.p50_ms)
    return f"{wording.percent(accuracy.value)} ({wording.interval(accuracy.ci95)}) at {p50} ms"


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
