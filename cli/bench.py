"""``overfly bench``: what each variant is worth on each device."""

from pathlib import Path

import click

from overfly.cli import options


@click.command(
    short_help="Measure every variant of a bundle on real scenes.",
    epilog=options.example("overfly bench bundle --run run --data scenes --out report"),
)
@click.argument("bundle", type=options.FOLDER)
@click.option("--data", type=options.FOLDER, required=True, help="The labelled folder; its test part is found by hash.")
@options.out("report")
@click.option("--run", type=options.FOLDER, help="The run BUNDLE comes from, for the PyTorch baseline (needs torch).")
@click.option(
    "--device",
    "devices",
    multiple=True,
    default=("CPU",),
    show_default=True,
    help="OpenVINO's name of a device to measure; may be repeated.",
)
@click.option(
    "--max-drop",
    type=options.Real(min=0),
    metavar="PP",
    help="Percentage points of accuracy that INT8 may lose: a recommended row loses no more, or the exit code is 1.",
)
@click.option("--peers", is_flag=True, help="Measure also what others would deploy: see docs/measuring.md.")
@click.option(
    "--images",
    "n_images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Judge at most about N images, drawn evenly from the classes. [default: all, or 42 with --quick]",
)
@click.option("--quick", is_flag=True, help="A rough picture in half a minute, which the report calls INVALID.")
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
    peers: bool,
    n_images: int | None,
    quick: bool,
    no_cache: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Measure accuracy, F1, kappa, latency and throughput of every variant in BUNDLE on real scenes.

    Prints one table and writes report.json, report.md and report.html.
    """
    from overfly.benchmarks.job import BenchJob, bench, write_report
    from overfly.benchmarks.rendering.terminal import print_report
    from overfly.benchmarks.results.recommendation import gate_failure, keep_answer
    from overfly.benchmarks.results.store import REPORT_SCHEMA
    from overfly.cli.terminal import Terminal
    from overfly.runtime.documents import dump_document
    from overfly.runtime.files.atomic import atomic_folder, check_inputs_safe, check_outside, check_overwrite

    # Before minutes of measuring, not after.
    check_inputs_safe(out, [data, bundle] if run is None else [data, bundle, run])
    check_outside(out, data)
    check_overwrite(out, overwrite=overwrite)
    job = BenchJob(bundle, data, run, devices, quick, peers, n_images, max_drop, cache=not no_cache)
    with Terminal() as terminal:
        report = bench(job, reporter=terminal)
        with atomic_folder(out, overwrite=overwrite) as folder:
            write_report(folder, report)
    if not no_cache:
        keep_answer(report)
    if as_json:
        click.echo(dump_document(report, schema=REPORT_SCHEMA), nl=False)
    else:
        print_report(report)
        click.echo(f"report: {out / 'report.html'}")
    if failure := gate_failure(report):
        click.echo(f"overfly: {failure}", err=True)
        raise click.exceptions.Exit(1)
