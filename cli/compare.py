"""``overfly compare``: compare reports of one bundle."""

from pathlib import Path

import click

from overfly.cli import options


@click.command(
    short_help="Compare reports of one bundle.",
    epilog=options.example("overfly compare laptop-report edge-report"),
)
@click.argument("reports", type=options.PATH, nargs=-1, required=True, metavar="REPORT...")
@options.as_json
def command(reports: tuple[Path, ...], as_json: bool) -> None:
    """Compare two or more reports of bench, for example from a laptop and from an edge box.

    Each REPORT is a report.json or its folder. The others are compared with the first one. All must
    have measured the same bundle on the same images.
    """
    from overfly.benchmarks.comparison.compare import COMPARISON_SCHEMA, compare
    from overfly.runtime.documents import dump_document

    comparison = compare(reports)
    if as_json:
        click.echo(dump_document(comparison, schema=COMPARISON_SCHEMA), nl=False)
        return
    from overfly.benchmarks.comparison.table import print_comparison

    print_comparison(comparison)
