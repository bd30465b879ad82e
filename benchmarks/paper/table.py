"""The reproduced tables with the paper's figures, as Markdown and as text for a terminal."""

from collections.abc import Iterable
from dataclasses import dataclass

from overfly.benchmarks.paper.published import PUBLISHED_ROWS, PublishedRow
from overfly.benchmarks.rendering.markdown import escape
from overfly.runtime.reporter import duration

TRAINED = "ok"
NOT_TRAINED = "not trained yet"

# The packages on which the result of a training depends.
_PACKAGES = ("python", "torch", "torchvision", "overfly")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproducedRow:
    """Our figures for a row of the paper. The accuracy, F1, kappa, time and machine are None until it is trained.

    Attributes
    ----------
    status
        `TRAINED`, `NOT_TRAINED`, or why the model could not be trained.
    accuracy, f1_macro, kappa
        In percent, like the paper's.
    params, flops
        With the paper's unit and digits.
    seconds
        Wall clock of all epochs.
    machine, versions
        The machine and the package versions that trained it.
    """

    name: str
    status: str = NOT_TRAINED
    accuracy: float | None = None
    f1_macro: float | None = None
    kappa: float | None = None
    params: str
    flops: str
    seconds: float | None = None
    machine: str | None = None
    versions: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class PaperTable:
    """The content of ``paper.json``: what all rows have in common, and one row for each of `PUBLISHED_ROWS`."""

    epochs: int
    image_size: int
    seed: int
    rows: tuple[ReproducedRow, ...]


def paper_markdown(table: PaperTable) -> str:
    """Return the table as Markdown."""
    header = ("model", "accuracy %", "F1 %", "kappa %", "params", "FLOPs", "time", "status")
    lines: list[Iterable[str]] = [header, ["---"] * len(header)]
    for published, ours in zip(PUBLISHED_ROWS, table.rows, strict=True):
        cells = (f"{a} / {b}" for a, b in zip(_figures(ours), _figures(published), strict=True))
        lines.append(map(escape, (ours.name, *cells, _time(ours), ours.status)))
    title = f"{_title(table)} Each cell has our figure / the paper's."
    notes = "\n".join(f"{note}  " for note in _machines(table))
    return "\n\n".join((title, "\n".join(f"| {' | '.join(line)} |" for line in lines), notes)) + "\n"


def paper_text(table: PaperTable) -> str:
    """Return the table as text of less than 80 columns, the paper's figures below ours; failed rows come last."""
    lines = [_title(table), "", _line("", ("accuracy", "F1", "kappa", "params", "FLOPs"), "time")]
    for published, ours in zip(PUBLISHED_ROWS, table.rows, strict=True):
        lines += [_line(ours.name, _figures(ours), _time(ours)), _line("  the paper", _figures(published), "")]
    failed = [f"{row.name}: {row.status}" for row in table.rows if row.status != TRAINED]
    return "\n".join([*lines, "", *failed, *_machines(table)]) + "\n"


def _title(table: PaperTable) -> str:
    """Return what all rows have in common."""
    return f"Recipe: paper. Epochs: {table.epochs}. Image size: {table.image_size}. Seed: {table.seed}."


def _figures(row: PublishedRow | ReproducedRow) -> tuple[str, ...]:
    """Return accuracy, F1, kappa, params and FLOPs as the paper prints them; a dash for a missing one."""
    percent = ("-" if value is None else f"{value:.2f}" for value in (row.accuracy, row.f1_macro, row.kappa))
    return (*percent, row.params, row.flops)


def _time(row: ReproducedRow) -> str:
    """Return how long the epochs took."""
    return "-" if row.seconds is None else duration(row.seconds)


def _line(name: str, figures: tuple[str, ...], time: str) -> str:
    """Return one line of the text."""
    accuracy, f1, kappa, params, flops = figures
    return f"{name:<20} {accuracy:>8} {f1:>6} {kappa:>6} {params:>9} {flops:>9}  {time}".rstrip()


def _machines(table: PaperTable) -> list[str]:
    """Return a sentence for each machine that trained rows, with the versions of its packages."""
    machines = {
        (row.machine, ", ".join(f"{name} {row.versions[name]}" for name in _PACKAGES if name in row.versions))
        for row in table.rows
        if row.versions is not None
    }
    return [f"Trained on {machine}; {versions}." for machine, versions in sorted(machines, key=str)]
