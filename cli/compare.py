"""``overfly compare``: reports side by side."""

from pathlib import Path

import click

from overfly.cli import options


@click.command(
    short_help="Put reports of one bundle side by side.",
    epilog=options.example("overfly compare laptop-report edge-report"),
)
@click.argument("reports", type=options.FOLDER, nargs=-1, required=True, metavar="REPORT...")
@options.as_json
def command(reports: tuple[Path, ...], as_json: bool) -> None:
    """Put two or more reports of bench side by side, such as a laptop's and an edge box's.

    Each REPORT is a report.json or the folder it is in. The first is what the others are compared
    with. Reports of another bundle, or on other images, are refused.
    """
    from overfly.benchmarks.comparison.compare import COMPARISON_SCHEMA, compare
    from overfly.runtime.documents import dump_document

    comparison = compare(reports)
    if as_json:
        click.echo(dump_document(comparison, schema=COMPARISON_SCHEMA), nl=False)
        return
    from overfly.benchmarks.comparison.table import print_comparison

    print_comparison(comparison)
