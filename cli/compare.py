"""``overfly compare``: compare reports of the same bundles."""

from pathlib import Path

import click

from overfly.cli import options
from overfly.cli.output import print_document


@click.command(
    short_help="Compare reports of the same bundles.",
    epilog=options.example("overfly compare laptop-report edge-report"),
)
@click.argument("reports", type=options.PATH, nargs=-1, required=True, metavar="REPORT...")
@options.as_json
def command(reports: tuple[Path, ...], as_json: bool) -> None:
    """Compare two or more reports of bench, for example from a laptop and from an edge box.

    Each REPORT is a report.json or its folder. The others are compared with the first one. All must
    have measured the same bundles on the same images.
    """
    from overfly.benchmarks.comparison.compare import COMPARISON_SCHEMA, compare
    from overfly.benchmarks.comparison.table import print_comparison

    comparison = compare(reports)
    if as_json:
        print_document(comparison, COMPARISON_SCHEMA)
    else:
        print_comparison(comparison)
