"""``overfly assess``: how good a map is."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overfly.cli import options, output
from overfly.cli.options import option
from overfly.cli.terminal import Terminal

if TYPE_CHECKING:
    from overfly.runtime.assessment.assessment import Assessment, ClassAssessment
    from overfly.runtime.assessment.estimates import Estimate
    from overfly.runtime.assessment.sample_files import SampleRecord

_HECTARE = 10_000.0
# Smaller maps are shown in square meters.
_MIN_HECTARES = 100


@click.command(
    short_help="Estimate a map's accuracy and areas.",
    epilog=options.example("overfly assess map --sample 100"),
)
@click.argument("folder", type=options.PATH, metavar="MAP")
@option(
    "--sample",
    "n_cells",
    type=click.IntRange(min=1),
    help="Draw this number of cells at random, for a person to label.",
)
@option("--reference", type=options.PATH, help="File with the labels of a sample: estimate accuracy and areas.")
@option("--out", type=options.OUTPUT, show_default="MAP-sample", help="Folder for the sample.")
@options.seed
@options.overwrite
@options.as_json
def command(
    folder: Path,
    n_cells: int | None,
    reference: Path | None,
    out: Path | None,
    seed: int,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Estimate the accuracy of MAP and the area of each class, with 95% intervals.

    First draw a random sample of cells with --sample. Write the class that you see in each cell into the column
    "reference" of sample.gpkg. Then give that file with --reference. The estimates also become columns of the map's
    areas.csv.
    """
    from overfly.runtime.extras import require_extra

    if (n_cells is None) == (reference is None):
        raise click.UsageError("give either --sample, to draw one, or --reference, with the labels of one")
    if reference is not None and (out is not None or overwrite):
        raise click.UsageError("--out and --overwrite belong to --sample")
    require_extra("geo")
    if reference is not None:
        _assess(folder, reference, as_json=as_json)
    elif n_cells is not None:
        _draw(folder, n_cells, out or _beside(folder), seed=seed, overwrite=overwrite, as_json=as_json)


def _draw(folder: Path, n_cells: int, out: Path, *, seed: int, overwrite: bool, as_json: bool) -> None:
    """Draw a sample, write it, and print how many cells each class has in it."""
    from overfly.runtime.assessment.sample_files import CELLS_FILE, SAMPLE_SCHEMA, write_sample

    with Terminal() as terminal:
        progress = partial(terminal.progress, "cutting images")
        record = write_sample(folder, n_cells, out=out, seed=seed, overwrite=overwrite, progress=progress)
    if as_json:
        output.print_document(record, SAMPLE_SCHEMA)
    else:
        click.echo(_sample_table(record))
    Terminal().note(f"sample: {out / CELLS_FILE}; label its cells, then  overfly assess {folder} --reference FILE")


def _assess(folder: Path, reference: Path, *, as_json: bool) -> None:
    """Estimate accuracy and areas, write them into the map, and print them."""
    from overfly.runtime.assessment.areas_file import write_estimates
    from overfly.runtime.assessment.assessment import ASSESSMENT_SCHEMA, assess

    assessment = assess(folder, reference)
    write_estimates(folder, assessment)
    if as_json:
        output.print_document(assessment, ASSESSMENT_SCHEMA)
    else:
        click.echo(_report(assessment))
        terminal = Terminal()
        for note in assessment.notes:
            terminal.note(f"note: {note}")


def _beside(folder: Path) -> Path:
    """Return the folder for a sample next to a map: a new map would replace what is in the map's own folder."""
    folder = folder.absolute()
    return folder.with_name(f"{folder.name}-sample")


def _sample_table(record: "SampleRecord") -> str:
    """Return how many cells each class has on the map and in the sample."""
    rows = [(stratum.name, f"{stratum.cells:,}", f"{stratum.sampled:,}") for stratum in record.strata]
    return _table(("class", "cells", "sampled"), rows)


def _report(assessment: "Assessment") -> str:
    """Return the error matrix, the accuracies and the areas as text."""
    classes = assessment.classes
    n_digits = len(str(len(classes)))
    names = [f"{number:>{n_digits}} {output.one_line(one.name)}" for number, one in enumerate(classes, start=1)]
    counts = [
        (name, *map(str, row), str(one.n_map))
        for name, row, one in zip(names, assessment.error_matrix, classes, strict=True)
    ]
    sums = ("sum", *(str(one.n_reference) for one in classes), str(assessment.n_labeled))
    total = sum(one.map_area_m2 for one in classes)
    factor, unit = (1 / _HECTARE, "ha") if total >= _MIN_HECTARES * _HECTARE else (1.0, "m2")
    figures = [_figures(name, one, factor) for name, one in zip(names, classes, strict=True)]
    head = ("class", f"map, {unit}", f"estimated, {unit}", "user's, %", "producer's, %")
    cells = f"from {assessment.n_labeled:,} labeled cells"
    return "\n".join(
        [
            f"Overall accuracy: {_percent(assessment.overall_accuracy)} (% of the area), {cells}",
            "",
            "Error matrix: labeled cells, rows the map, columns the reference",
            _table(("", *(str(k) for k in range(1, len(classes) + 1)), "sum"), [*counts, sums]),
            "",
            "Accuracies and areas, with 95% intervals",
            _table(head, figures),
        ]
    )


def _figures(name: str, one: "ClassAssessment", factor: float) -> tuple[str, ...]:
    """Return a row of the table of accuracies and areas."""
    area = None if one.area_m2 is None else one.area_m2.times(factor)
    return (
        name,
        f"{one.map_area_m2 * factor:,.0f}",
        _with_margin(area, ",.0f"),
        _percent(one.users_accuracy),
        _percent(one.producers_accuracy),
    )


def _percent(estimate: "Estimate | None") -> str:
    """Return a share as percent, with half of its interval."""
    return _with_margin(None if estimate is None else estimate.times(100), ".1f")


def _with_margin(estimate: "Estimate | None", style: str) -> str:
    """Return a figure with half the width of its interval before it is limited to what is possible."""
    from overfly.runtime.assessment.estimates import Z_95

    if estimate is None:
        return "unknown"
    error = estimate.standard_error
    return f"{estimate.value:{style}} +- {'unknown' if error is None else format(Z_95 * error, style)}"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Return rows of text as aligned columns: the first one left, the others right."""
    lines = [head, *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(head))]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )
