"""A comparison of reports as one table for a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from overfly.benchmarks.comparison.compare import Comparison, Entry, Line
from overfly.benchmarks.rendering import formatting
from overfly.benchmarks.rendering.terminal import table_of_models

_FIRST = ("%", "ms", "img/s")
_OTHER = ("%", "other\nlabels", "ms", "speed", "img/s", "speed")


def comparison_table(comparison: Comparison) -> Table:
    """Return the table: a line for each row, three columns for the first report and six for each other report."""
    title = f"{comparison.n_images} images, one bundle, {len(comparison.reports)} reports"
    table = table_of_models(title, _caption_lines(comparison))
    for number in range(1, len(comparison.reports) + 1):
        for index, name in enumerate(_FIRST if number == 1 else _OTHER):
            head = f"[{number}]" if index == 0 else ""
            table.add_column(Text(f"{head}\n{name}" if "\n" not in name else name), justify="right")
    for line in comparison.lines:
        table.add_row(*map(Text, _cells(line)))
    return table


def print_comparison(comparison: Comparison) -> None:
    """Print the table to standard output."""
    Console().print(comparison_table(comparison))


def _caption_lines(comparison: Comparison) -> list[str]:
    """Return which report is which, and what the columns mean."""
    sources = [
        f"[{number}] {source.path}: {source.host}, {source.cpu}, {source.timestamp}, "
        f"{'VALID' if source.valid else 'INVALID'}"
        for number, source in enumerate(comparison.reports, start=1)
    ]
    return [
        *sources,
        "%: accuracy. ms: p50 of the model alone. img/s: many images at once.",
        "speed: relative to [1]; ~ not significant. other labels: images classified differently than in [1].",
    ]


def _cells(line: Line) -> list[str]:
    """Return the texts of a line."""
    first, *others = line.entries
    cells = [line.name, *_figures(first)]
    for entry in others:
        accuracy, latency, rate = _figures(entry)
        if entry is None:
            cells += [formatting.NONE] * len(_OTHER)
            continue
        cells += [
            accuracy,
            formatting.optional(entry.n_changed, str),
            latency,
            formatting.optional(entry.latency_speedup, formatting.speedup),
            rate,
            formatting.optional(entry.throughput_speedup, formatting.speedup),
        ]
    return cells


def _figures(entry: Entry | None) -> tuple[str, str, str]:
    """Return accuracy, median latency and throughput."""
    if entry is None:
        return (formatting.NONE,) * 3
    return (
        formatting.optional(entry.accuracy, formatting.percent),
        formatting.optional(entry.latency_p50_ms, formatting.milliseconds),
        formatting.optional(entry.throughput_ips, formatting.rate),
    )
