"""``overfly check``: whether a device gives the answers that were signed off."""

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overfly.cli import options

if TYPE_CHECKING:
    from overfly.runtime.bundle import Parity
    from overfly.runtime.runner import Runner


@click.command(short_help="Check a bundle's files and a device's answers.")
@click.argument("bundle", type=options.FOLDER)
@options.device
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Which precision to check; may be repeated. [default: all in the bundle]",
)
@options.execution_precision
@options.no_cache
@options.as_json
def command(
    bundle: Path,
    device: str,
    variants: tuple[str, ...],
    execution_precision: str,
    no_cache: bool,
    as_json: bool,
) -> None:
    """Check every file of BUNDLE, then run its golden images on a device and compare with the signed-off answers."""
    from dataclasses import asdict

    from overfly.runtime.bundle import Bundle
    from overfly.runtime.parity import check_golden
    from overfly.runtime.runner import compile_variant

    opened = Bundle.open(bundle)
    opened.verify()
    golden = opened.golden()
    names = variants or tuple(opened.manifest.variants)
    all_valid = True
    for name in names:
        runner = compile_variant(
            opened, variant=name, device=device, execution_precision=execution_precision, cache=not no_cache
        )
        parity, problems = check_golden(runner, golden, opened.variant(name).parity)
        all_valid = all_valid and not problems
        if as_json:
            place = {"device": runner.device, "device_name": runner.device_name}
            how = {"variant": name, **place, "execution_precision": runner.execution_precision}
            click.echo(
                json.dumps({"valid": not problems, **how, "parity": _finite(asdict(parity)), "problems": problems})
            )
        else:
            _print(runner, parity, problems)
    if not all_valid:
        raise click.exceptions.Exit(1)


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    """Return the figures with None for infinity, which JSON has no word for."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _print(runner: "Runner", parity: "Parity", problems: list[str]) -> None:
    """Write a variant's verdict first, then why, then what to try."""
    verdict = "INVALID" if problems else "VALID  "
    place = f"{runner.device} ({runner.device_name}) in {runner.execution_precision}"
    click.echo(
        f"{verdict} {runner.variant} on {place}: top-1 agreement {parity.top1_agreement:.1%} on {parity.n_images} "
        f"images, worst cosine {parity.min_cosine:.4f}"
    )
    for problem in problems:
        click.echo(f"        {problem}")
    if problems:
        click.echo("        try --execution-precision f32, another --variant or another --device")
