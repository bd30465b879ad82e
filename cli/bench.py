"""``overfly bench``: measure every variant of one or several bundles on every device."""

from pathlib import Path
from typing import Any

import click

from overfly.cli import options
from overfly.cli.options import option
from overfly.cli.output import print_document
from overfly.cli.streams import write_error


@click.command(
    short_help="Measure every variant of bundles on labeled images.",
    epilog=options.example("overfly bench bundle --run run --data scenes --out report"),
)
@click.argument("bundles", type=options.PATH, nargs=-1, required=True, metavar="BUNDLE...")
@option(
    "--data",
    type=options.PATH,
    required=True,
    help="Labeled folder: that of the training, or another one with the same classes.",
)
@options.out("report")
@option(
    "--run",
    "runs",
    type=options.PATH,
    multiple=True,
    help="Run that a BUNDLE was exported from, to measure it in PyTorch as well; may be repeated. The baseline is the "
    "PyTorch row; with several bundles, that of the most accurate one.",
)
@option(
    "--device",
    "devices",
    multiple=True,
    default=("CPU",),
    metavar="NAME",
    help="OpenVINO's name of a device to measure, such as CPU, GPU or NPU; may be repeated.",
)
@option(
    "--max-drop",
    "max_drop_pp",
    type=options.Real(min=0),
    metavar="POINTS",
    show_default="no significant drop",
    help="Largest accuracy drop of a recommended row, in percentage points. If INT8 loses more, the exit code is 1.",
)
@option("--alternatives", is_flag=True, help="Also measure other ways to deploy the model; see docs/measuring.md.")
@option(
    "--images",
    "n_images",
    type=click.IntRange(min=1),
    show_default="all, or 42 with --quick",
    help="Evaluate at most about N images, the same number from each class.",
)
@option("--quick", is_flag=True, help="Rough estimate in about 30 seconds per bundle; the report is marked INVALID.")
@options.no_cache
@options.overwrite
@options.as_json
def command(out: Path, overwrite: bool, as_json: bool, **choices: Any) -> None:
    """Measure the accuracy and the speed of every variant in BUNDLE.

    Prints a table and writes report.json, report.md and report.html to --out. Several bundles with the same classes,
    such as of networks of several sizes, are measured side by side on the same images, and one is recommended; see
    docs/measuring.md.
    """
    from overfly.benchmarks.job import BenchJob, bench
    from overfly.benchmarks.rendering.terminal import print_report
    from overfly.benchmarks.results.recommendation import gate_failure
    from overfly.benchmarks.results.records import REPORT_SCHEMA
    from overfly.cli.terminal import Terminal

    with Terminal() as terminal:
        report = bench(BenchJob(out=out, **choices), overwrite=overwrite, reporter=terminal)
    if as_json:
        print_document(report, REPORT_SCHEMA)
    else:
        print_report(report)
        click.echo(f"report: {out / 'report.html'}")
    if failure := gate_failure(report):
        write_error(f"overfly: {failure}")
        raise click.exceptions.Exit(1)
