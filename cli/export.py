"""``overfly export``: a run becomes a bundle."""

import json
from pathlib import Path

import click

from overfly.cli import options


@click.command(short_help="Turn a run into a bundle: ONNX and OpenVINO IR.")
@click.argument("run", type=options.FOLDER)
@options.out("bundle")
@click.option("--data", type=options.FOLDER, help="The labelled folder. [default: the one RUN was trained on]")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(["fp32", "fp16", "int8"]),
    help="Which precision to write; may be repeated. [default: all three]",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(min=1),
    default=128,
    show_default=True,
    help="How many training images set the INT8 ranges.",
)
@click.option(
    "--max-drop",
    type=options.Real(min=0),
    metavar="PP",
    help="Percentage points of accuracy that INT8 may lose on held-back images; if it loses more, nothing is written.",
)
@options.overwrite
@options.as_json
def command(
    run: Path,
    out: Path,
    data: Path | None,
    variants: tuple[str, ...],
    calibration_images: int,
    max_drop: float | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn RUN into a bundle: ONNX, OpenVINO IR in three precisions, and golden answers to check a device with.

    Every step is compared with PyTorch on real test images; a step that disagrees stops the export.
    """
    from overfly.runtime.errors import needs_extra

    with needs_extra("train"):
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    with needs_extra("export"):
        # Used at later steps; that one is missing must show now.
        import nncf  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401

        from overfly.cli.terminal import Terminal
        from overfly.export.bundle_writer import ExportJob, export
        from overfly.runtime.bundle import VARIANTS
    job = ExportJob(run, out, data, variants or VARIANTS, calibration_images, max_drop)
    with Terminal() as terminal:
        bundle = export(job, overwrite=overwrite, reporter=terminal)
    manifest = bundle.manifest
    if as_json:
        from dataclasses import asdict

        parities = {name: asdict(record.parity) for name, record in manifest.variants.items()}
        click.echo(json.dumps({"bundle": str(out), "parity": {"onnx": asdict(manifest.onnx.parity), **parities}}))
        return
    click.echo("variant  megabytes  largest logit difference  same class as PyTorch")
    rows = [("onnx", "model.onnx", manifest.onnx.parity)]
    rows += [(name, record.bin, record.parity) for name, record in manifest.variants.items()]
    for name, file, parity in rows:
        size_mb = manifest.files[file].size_bytes / 1e6
        agreeing = round(parity.top1_agreement * parity.n_images)
        click.echo(f"{name:<7}  {size_mb:9.2f}  {parity.max_abs_diff:24.2e}  {agreeing:>9} of {parity.n_images} images")
    click.echo(f"bundle: {out}")
