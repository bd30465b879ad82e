"""``overfly check``: whether a device gives the answers that were signed off."""

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overfly.cli import options
from overfly.runtime.bundle.variants import VARIANTS

if TYPE_CHECKING:
    from overfly.runtime.evaluation.golden_check import CheckResult


@click.command(
    short_help="Check a bundle's files and a device's answers.",
    epilog=options.example("overfly check bundle --device CPU"),
)
@click.argument("bundle", type=options.FOLDER)
@options.device
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(list(VARIANTS)),
    help="Which precision to check; may be repeated. [default: all in the bundle]",
)
@options.execution_precision
@options.properties
@options.no_cache
@options.as_json
def command(
    bundle: Path,
    device: str,
    variants: tuple[str, ...],
    execution_precision: str,
    properties: dict[str, str],
    no_cache: bool,
    as_json: bool,
) -> None:
    """Check every file of BUNDLE, then run its golden images on a device and compare with the signed-off answers.

    Where they differ, it tries f32, Winograd convolutions off, the other variants and the CPU, and names what helps.
    """
    from overfly.runtime.bundle.bundle import Bundle
    from overfly.runtime.evaluation.golden_check import CheckConfig, check_golden, find_remedy

    opened = Bundle.open(bundle)
    opened.verify()
    golden = opened.golden()
    all_valid = True
    for name in variants or tuple(opened.manifest.variants):
        setting = CheckConfig(name, device, execution_precision, properties, cache=not no_cache)
        finding = check_golden(setting.compile(opened), golden, opened.variant(name).parity)
        remedy = None if finding.valid else find_remedy(opened, golden, setting)
        click.echo(_json_line(finding, remedy) if as_json else _lines(finding, remedy))
        all_valid = all_valid and finding.valid
    if not all_valid:
        raise click.exceptions.Exit(1)


def _json_line(finding: "CheckResult", remedy: str | None) -> str:
    """Return a variant's verdict as a JSON object."""
    runner = finding.runner
    return json.dumps(
        {
            "valid": finding.valid,
            "variant": runner.variant,
            "device": runner.device,
            "device_name": runner.device_name,
            "requested_precision": runner.requested_precision,
            "execution_precision": runner.execution_precision,
            "parity": _finite(asdict(finding.parity)),
            "bounds": asdict(finding.bounds),
            "problems": finding.problems,
            "remedy": remedy,
        }
    )


def _finite(figures: dict[str, float]) -> dict[str, float | None]:
    """Return the figures with None for infinity, which JSON has no word for."""
    return {name: value if math.isfinite(value) else None for name, value in figures.items()}


def _lines(finding: "CheckResult", remedy: str | None) -> str:
    """Return a variant's verdict first, then why, then what to do."""
    parity = finding.parity
    verdict = "VALID  " if finding.valid else "INVALID"
    figures = (
        f"top-1 agreement {parity.top1_agreement:.1%} on {parity.n_images} images, "
        f"worst cosine {parity.min_cosine:.4f}, largest difference {parity.max_abs_diff:.2g}"
    )
    head = f"{verdict} {options.place(finding.runner)}: {figures}"
    return "\n        ".join([head, *finding.problems, *([] if remedy is None else [remedy])])
