"""The report as one table on the screen."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from overfly.benchmarks.rendering import formatting as wording
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import OK, Row

# Two lines, so that the table fits 80 columns.
_COLUMNS = (
    "model", "runs\nin", "top-1\n%", "vs\nbase", "F1", "kappa", "p50\nms", "speed", "file\nms", "img/s", "MiB"
)  # fmt: skip


def report_table(report: Report) -> Table:
    """Return the table; its caption opens with the verdict.

    A row that failed shows dashes, and its reason in the caption.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=Text(f"{report.bundle.model} on {', '.join(_machines(report))}", style="bold"),
        title_justify="left",
        caption=Text("\n".join(caption_lines(report))),
        caption_justify="left",
    )
    for name in _COLUMNS:
        table.add_column(name, justify="left" if name in _COLUMNS[:2] else "right", overflow="fold")
    for row in report.rows:
        table.add_row(*map(Text, _cells(report, row)), style=None if row.status == OK else "dim")
    return table


def print_report(report: Report, console: Console | None = None) -> None:
    """Print the table, to standard output unless another console is given."""
    (console or Console()).print(report_table(report))


def verdict_lines(report: Report) -> list[str]:
    """Return the verdict, and a line for each reason with its remedy."""
    reasons = [f"  - {reason.what}; {reason.remedy}" for reason in report.validity.reasons]
    return [wording.verdict_sentence(report), *reasons]


def caption_lines(report: Report) -> list[str]:
    """Return what stands below the table: verdict, answer, failed rows, legend."""
    return [
        *verdict_lines(report),
        wording.answer_sentence(report),
        *(f"{name} failed: {status}" for name, status in wording.failures(report)),
        *legend_lines(report),
    ]


def legend_lines(report: Report) -> list[str]:
    """Return what the columns mean."""
    base = "none" if report.baseline is None else report.rows[report.baseline].name
    return [
        f"{wording.judged_sentence(report)} vs base: images right, more or fewer than {base}; ~ not significant.",
        "runs in: precision computed in. p50, speed: the model alone, one image at a time. file: from file to label.",
        "img/s: the model alone, many in flight or in batches.",
    ]


def _machines(report: Report) -> list[str]:
    """Return each device with its full name, once."""
    return list(dict.fromkeys(f"{row.execution.device} ({row.execution.device_name})" for row in report.rows))


def _cells(report: Report, row: Row) -> list[str]:
    """Return a row's texts, one for each column."""
    quality, speed, difference = row.quality, row.speed, row.difference
    several = len({other.execution.device for other in report.rows}) > 1
    name = row.name if several else row.name.removesuffix(f" {row.execution.device}")
    return [
        name,
        row.execution.execution_precision or wording.NONE,
        wording.percent(quality.accuracy.value if quality else None).removesuffix("%"),
        wording.delta(difference),
        wording.ratio(quality.f1_macro.value if quality else None),
        wording.ratio(quality.kappa.value if quality else None),
        wording.p50(speed.latency_ms if speed else None),
        wording.times(difference.latency_speedup if difference else None),
        wording.p50(speed.file_latency_ms if speed else None),
        wording.count(speed.throughput_ips if speed else None),
        wording.megabytes(row.spec.size_bytes),
    ]
