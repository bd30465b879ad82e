"""The report as one table for a terminal."""

from collections.abc import Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from overfly.benchmarks.rendering import details, formatting
from overfly.benchmarks.rendering.columns import COLUMNS
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import OK


def report_table(report: Report) -> Table:
    """Return the table. Its caption says whether the report is valid, what to deploy, and why rows failed."""
    devices = dict.fromkeys(f"{row.execution.device} ({row.execution.device_name})" for row in report.rows)
    several = report.has_several_bundles
    models = f"{len(report.bundles)} bundles" if several else report.bundles[0].model
    table = table_of_models(f"{models} on {', '.join(devices)}", _caption_lines(report))
    columns = [column for column in COLUMNS if column.on_terminal]
    for column in columns:
        title = column.narrow_title or column.title
        table.add_column(title, justify="right" if column.is_number else "left", overflow="fold")
    for row in report.rows:
        if several:
            # The caption has the bundle's name, which would take too much room here.
            name = f"[{report.bundle_of(row) + 1}] {details.name_in_bundle(report, row)}"
        else:
            # With one device, its name is in the title only, so that a row takes one line.
            name = row.name if len(devices) > 1 else row.spec.name
        cells = (name, *(column.text(row) for column in columns))
        table.add_row(*map(Text, cells), style=None if row.status == OK else "dim")
    return table


def table_of_models(title: str, caption: Iterable[str]) -> Table:
    """Return an empty table with a title, the lines of a caption and a first column for the names of models."""
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        title=Text(title, style="bold"),
        title_justify="left",
        caption=Text("\n".join(caption)),
        caption_justify="left",
    )
    table.add_column("model", overflow="fold")
    return table


def print_report(report: Report) -> None:
    """Print the table to standard output."""
    Console().print(report_table(report))


def _caption_lines(report: Report) -> list[str]:
    """Return the lines below the table: validity, recommendation, failed rows, legend."""
    baseline = "the baseline" if report.baseline is None else report.rows[report.baseline].name
    numbers = [
        f"[{number}] {bundle.name}: {bundle.model} at {bundle.image_size} x {bundle.image_size} pixels"
        for number, bundle in enumerate(report.bundles, start=1)
    ]
    return [
        *(numbers if len(numbers) > 1 else ()),
        formatting.validity_sentence(report),
        *(f"  {kind}: {text}" for kind, text in formatting.validity_lines(report)),
        formatting.recommendation_sentence(report),
        *formatting.failures(report),
        *filter(None, (formatting.calibration_sentence(report),)),
        formatting.baseline_and_images(report),
        (
            f"runs in: precision of the computation. vs base: how many more images are right than with {baseline}. "
            "p50 and speed: the model alone, one image at a time. file: from file to label. "
            "img/s: the model alone, many images at once. ~: not significant."
        ),
    ]
