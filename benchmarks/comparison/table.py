"""A comparison as one table on the screen."""

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from overfly.benchmarks.comparison.compare import Comparison, Entry, Line
from overfly.benchmarks.rendering import formatting as wording

_FIRST = ("%", "ms", "img/s")
_OTHER = ("%", "other\nlabels", "ms", "speed", "img/s", "speed")


def comparison_table(comparison: Comparison) -> Table:
    """Return the table: a row for each model, three columns for the first report, six for each further one."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=Text(f"{comparison.n_images} images, one bundle, {len(comparison.reports)} reports", style="bold"),
        title_justify="left",
        caption=Text("\n".join(_caption(comparison))),
        caption_justify="left",
    )
    table.add_column("model", overflow="fold")
    for number in range(1, len(comparison.reports) + 1):
        for index, name in enumerate(_FIRST if number == 1 else _OTHER):
            head = f"[{number}]" if index == 0 else ""
            table.add_column(Text(f"{head}\n{name}" if "\n" not in name else name), justify="right")
    for line in comparison.lines:
        table.add_row(*map(Text, _cells(line)))
    return table


def print_comparison(comparison: Comparison, console: Console | None = None) -> None:
    """Print the table, to standard output unless another console is given."""
    (console or Console()).print(comparison_table(comparison))


def _caption(comparison: Comparison) -> list[str]:
    """Return which report is which, and what the columns mean."""
    sources = [
        f"[{number}] {source.path}: {source.host}, {source.cpu}, {source.timestamp}, "
        f"{'VALID' if source.valid else 'INVALID'}"
        for number, source in enumerate(comparison.reports, start=1)
    ]
    return [
        *sources,
        "%: accuracy. ms: p50 of the model alone. img/s: many in flight. speed: as fast as [1] so often; ~ can't tell.",
        "other labels: images with another answer than in [1].",
    ]


def _cells(line: Line) -> list[str]:
    """Return a line's texts."""
    first, *others = line.entries
    cells = [line.name, *_figures(first)]
    for entry in others:
        accuracy, latency, rate = _figures(entry)
        changed = wording.NONE if entry is None or entry.n_changed is None else str(entry.n_changed)
        faster = wording.times(None if entry is None else entry.latency_speedup)
        wider = wording.times(None if entry is None else entry.throughput_speedup)
        cells += [accuracy, changed, latency, faster, rate, wider]
    return cells


def _figures(entry: Entry | None) -> tuple[str, str, str]:
    """Return accuracy, median latency and throughput."""
    if entry is None:
        return (wording.NONE,) * 3
    accuracy = wording.percent(entry.accuracy).removesuffix("%")
    return accuracy, wording.milliseconds(entry.latency_p50_ms), wording.count(entry.throughput_ips)
