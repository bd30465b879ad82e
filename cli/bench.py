"""``overfly bench``: measure every variant on every device."""

from pathlib import Path

import click

from overfly.cli import options


@click.command(
    short_help="Measure every variant of a bundle on labeled images.",
    epilog=options.example("overfly bench bundle --run run --data scenes --out report"),
)
@click.argument("bundle", type=options.PATH)
@click.option(
    "--data",
    type=options.PATH,
    required=True,
    help="Labeled folder with the test images of the run; they are found by their hashes.",
)
@options.out("report")
@click.option(
    "--run", type=options.PATH, help="Run from which BUNDLE was exported, for the PyTorch baseline; needs PyTorch."
)
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("CPU",),
    show_default=True,
    help="OpenVINO device to measure, such as CPU, GPU or NPU; may be repeated.",
)
@click.option(
    "--max-drop",
    type=options.Real(min=0),
    metavar="PP",
    help="Maximum accuracy drop of a recommended row, in percentage points; if INT8 loses more, the exit code is 1. "
    "[default: no significant drop]",
)
@click.option(
    "--alternatives",
    is_flag=True,
    help="Also measure other ways to deploy the model, such as ONNX Runtime INT8; see docs/measuring.md.",
)
@options.renamed("--peers", "--alternatives", is_flag=True)
@click.option(
    "--images",
    "n_images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Evaluate at most about N images, the same number from each class. [default: all, or 42 with --quick]",
)
@click.option("--quick", is_flag=True, help="Rough estimate in about 30 seconds; the report is marked INVALID.")
@options.no_cache
@options.overwrite
@options.as_json
def command(
    bundle: Path,
    data: Path,
    out: Path,
    run: Path | None,
    devices: tuple[str, ...],
    max_drop: float | None,
    alternatives: bool,
    n_images: int | None,
    quick: bool,
    no_cache: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure accuracy, F1, kappa, latency and throughput of every variant in BUNDLE.

    Prints a table and writes report.json, report.md and report.html to --out.
    """
    from overfly.benchmarks.job import BenchJob, bench
    from overfly.benchmarks.rendering.terminal import print_report
    from overfly.benchmarks.results.recommendation import gate_failure
    from overfly.benchmarks.results.records import REPORT_SCHEMA
    from overfly.cli.terminal import Terminal
    from overfly.runtime.documents import dump_document

    job = BenchJob(
        bundle=bundle,
        data=data,
        out=out,
        run=run,
        devices=devices,
        quick=quick,
        alternatives=alternatives,
        n_images=n_images,
        max_drop_pp=max_drop,
        cache=not no_cache,
    )
    with Terminal() as terminal:
        report = bench(job, overwrite=overwrite, reporter=terminal)
    if as_json:
        click.echo(dump_document(report, schema=REPORT_SCHEMA), nl=False)
    else:
        print_report(report)
        click.echo(f"report: {out / 'report.html'}")
    if failure := gate_failure(report):
        click.echo(f"overfly: {failure}", err=True)
        raise click.exceptions.Exit(1)
