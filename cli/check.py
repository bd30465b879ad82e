"""``overfly check``: compare a device's answers with those that were signed off."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overfly.cli import options, output
from overfly.cli.terminal import Terminal

if TYPE_CHECKING:
    from overfly.runtime.evaluation.golden_check import CheckResult


@click.command(
    short_help="Check a bundle's files and a device's answers.",
    epilog=options.example("overfly check bundle --device CPU"),
)
@click.argument("bundle", type=options.PATH)
@options.device("the GPU if OpenVINO lists one, otherwise the CPU")
@options.variants("check", default="all in the bundle")
@options.execution_precision
@options.properties
@options.no_cache
@options.as_json
def command(bundle: Path, variants: tuple[str, ...], as_json: bool, **choices: Any) -> None:
    """Check every file of BUNDLE, run its golden images on a device, and compare the answers with those of the export.

    If they differ, try f32, no Winograd convolutions, the other variants and the CPU, and name what helps.
    """
    from overfly.runtime.bundle.bundle import Bundle
    from overfly.runtime.evaluation.golden_check import CheckConfig, check_golden, find_remedy

    opened = Bundle.open(bundle)
    if left := opened.verify():
        Terminal().note(f"{bundle} also holds what an operating system left there: {', '.join(left)}")
    if warning := opened.calibration_warning():
        Terminal().note(warning)
    golden = opened.golden()
    all_valid = True
    for name in variants or tuple(opened.manifest.variants):
        config = CheckConfig(name, **choices)
        result = check_golden(config.compile(opened), golden, opened.variant(name).parity)
        remedy = None if result.valid else find_remedy(opened, golden, config)
        click.echo(_json_line(result, remedy) if as_json else _lines(result, remedy))
        all_valid = all_valid and result.valid
    if not all_valid:
        raise click.exceptions.Exit(1)


def _json_line(result: "CheckResult", remedy: str | None) -> str:
    """Return the result of a variant as a JSON object; a figure that is not finite is null, because JSON lacks it."""
    names = ("variant", "device", "device_name", "requested_precision", "execution_precision")
    runner = {name: getattr(result.runner, name) for name in names}
    parity = {name: value if math.isfinite(value) else None for name, value in asdict(result.parity).items()}
    bounds = asdict(result.bounds)
    figures = {"parity": parity, "bounds": bounds, "problems": result.problems, "remedy": remedy}
    return json.dumps({"valid": result.valid, **runner, **figures})


def _lines(result: "CheckResult", remedy: str | None) -> str:
    """Return whether a variant is valid, with its figures; then the problems, then the remedy."""
    parity = result.parity
    figures = (
        f"top-1 agreement {parity.top1_agreement:.1%} on {parity.n_images} images, "
        f"worst cosine {parity.min_cosine:.4f}, largest difference {parity.max_abs_diff:.2g}"
    )
    head = f"{'VALID  ' if result.valid else 'INVALID'} {output.describe_runner(result.runner)}: {figures}"
    return "\n        ".join([head, *result.problems, *([] if remedy is None else [remedy])])
