"""The paper's tables, ours beside theirs: as Markdown, and as text that fits a terminal."""

from collections.abc import Iterator

from overfly.benchmarks.paper.published import OK, PAPER_ROWS, OurRow, PaperRow, PaperTable
from overfly.runtime.reporter import duration

# What a result of training depends on.
_PACKAGES = ("python", "torch", "torchvision", "overfly")


def paper_markdown(table: PaperTable) -> str:
    """Return the table as Markdown, ours beside the paper's."""
    lines = [
        f"{_title(table)} Ours / the paper's.",
        "",
        "| model | accuracy % | F1 % | kappa % | params | FLOPs | time | status |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for theirs, ours in _pairs(table):
        cells = [f"{our} / {their}" for our, their in zip(_figures(ours), _figures(theirs), strict=True)]
        lines.append(f"| {ours.name} | {' | '.join(cells)} | {_time(ours)} | {ours.status} |")
    return "\n".join([*lines, "", *(f"{note}  " for note in _notes(table))]) + "\n"


def paper_text(table: PaperTable) -> str:
    """Return the table as text, its figures in less than 80 columns, the paper's below ours; then the reasons."""
    lines = [_title(table), "", _line("", ("accuracy", "F1", "kappa", "params", "FLOPs"), "time")]
    for theirs, ours in _pairs(table):
        lines += [_line(ours.name, _figures(ours), _time(ours)), _line("  the paper", _figures(theirs), "")]
    reasons = [f"{row.name}: {row.status}" for row in table.rows if row.status != OK]
    return "\n".join([*lines, "", *reasons, *_notes(table)]) + "\n"


def _title(table: PaperTable) -> str:
    """Return what all rows have in common."""
    return f"Recipe paper, {table.epochs} epochs at {table.image_size} pixels, seed {table.seed}."


def _pairs(table: PaperTable) -> Iterator[tuple[PaperRow, OurRow]]:
    """Yield theirs and ours."""
    yield from zip(PAPER_ROWS, table.rows, strict=True)


def _figures(row: PaperRow | OurRow) -> tuple[str, ...]:
    """Return accuracy, F1, kappa, params and FLOPs as the paper prints them; a dash for what there is not."""
    percent = ("-" if value is None else f"{value:.2f}" for value in (row.accuracy, row.f1_macro, row.kappa))
    return (*percent, row.params, row.flops)


def _time(row: OurRow) -> str:
    """Return how long the epochs took."""
    return "-" if row.seconds is None else duration(row.seconds)


def _line(name: str, figures: tuple[str, ...], time: str) -> str:
    """Return a line of the text."""
    accuracy, f1, kappa, params, flops = figures
    return f"{name:<20} {accuracy:>8} {f1:>6} {kappa:>6} {params:>9} {flops:>9}  {time}".rstrip()


def _notes(table: PaperTable) -> list[str]:
    """Return each machine that rows were trained on, with the versions of what trained them."""
    places = {
        (row.machine, ", ".join(f"{name} {row.versions[name]}" for name in _PACKAGES if name in row.versions))
        for row in table.rows
        if row.versions is not None
    }
    return [f"Trained on {machine}; {versions}." for machine, versions in sorted(places, key=str)]
