"""A comparison of reports as one table for a terminal."""

from rich.console import Console
from rich.table import Table
from rich.text import Text

from overfly.benchmarks.comparison.compare import Comparison
from overfly.benchmarks.rendering.columns import LATENCY, METRIC_COLUMNS, SPEED, THROUGHPUT, Column
from overfly.benchmarks.rendering.terminal import table_of_models


def _like(column: Column, path: str) -> Column:
    """Return a column with the unit and the format of a column of the report, for an `Entry`."""
    return Column((column.narrow_title or column.title).splitlines()[-1], path, column.format)


_ACCURACY = _like(METRIC_COLUMNS["accuracy"], "accuracy")
_LATENCY = _like(LATENCY, "latency_p50_ms")
_RATE = _like(THROUGHPUT, "throughput_ips")
_FIRST = (_ACCURACY, _LATENCY, _RATE)
_OTHER = (
    _ACCURACY,
    Column("other\nlabels", "n_changed", str),
    _LATENCY,
    _like(SPEED, "latency_speedup"),
    _RATE,
    _like(SPEED, "throughput_speedup"),
)


def comparison_table(comparison: Comparison) -> Table:
    """Return the table: a line for each row, three columns for the first report and six for each other report."""
    n_bundles = len(comparison.manifest_sha256)
    bundles = "one bundle" if n_bundles == 1 else f"{n_bundles} bundles"
    title = f"{comparison.n_images} images, {bundles}, {len(comparison.reports)} reports"
    table = table_of_models(title, _caption_lines(comparison))
    for number in range(1, len(comparison.reports) + 1):
        for index, column in enumerate(_FIRST if number == 1 else _OTHER):
            head = f"[{number}]" if index == 0 else ""
            title = column.title if "\n" in column.title else f"{head}\n{column.title}"
            table.add_column(Text(title), justify="right")
    for line in comparison.lines:
        cells = [
            column.text(entry) for index, entry in enumerate(line.entries) for column in (_OTHER if index else _FIRST)
        ]
        table.add_row(*map(Text, (line.name, *cells)))
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
