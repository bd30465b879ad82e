"""``overfly export``: a run becomes a bundle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overfly.cli import options
from overfly.runtime.bundle.variants import VARIANTS, quantized_variants

if TYPE_CHECKING:
    from overfly.runtime.bundle.manifest import Manifest


@click.command(
    short_help="Turn a run into a bundle: ONNX and OpenVINO IR.",
    epilog=options.example("overfly export run --out bundle"),
)
@click.argument("run", type=options.FOLDER)
@options.out("bundle")
@click.option("--data", type=options.FOLDER, help="The labelled folder. [default: the one RUN was trained on]")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    type=click.Choice(list(VARIANTS)),
    help="Which precision to write; may be repeated. [default: all three]",
)
@click.option(
    "--calibration-images",
    type=click.IntRange(min=1),
    help="How many training images set the INT8 ranges. [default: 64, or one of each class where there are more]",
)
@click.option(
    "--max-drop",
    type=options.Real(min=0),
    metavar="PP",
    help="Percentage points of accuracy that INT8 may lose on held-back images: where it loses more, layers are put "
    "back to floating point one by one; where that does not help, nothing is written.",
)
@click.option("--zip", "as_zip", is_flag=True, help="Write a single file, OUT.zip, instead of a folder.")
@options.overwrite
@options.as_json
def command(
    run: Path,
    out: Path,
    data: Path | None,
    variants: tuple[str, ...],
    calibration_images: int | None,
    max_drop: float | None,
    as_zip: bool,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Turn RUN into a bundle: ONNX, OpenVINO IR in three precisions, and golden answers to check a device with.

    Every step is compared with PyTorch on real test images; a step that disagrees stops the export.
    INT8 is made with training and validation images alone.
    """
    if max_drop is not None and variants and not set(variants) & set(quantized_variants()):
        raise click.UsageError("--max-drop bounds what INT8 loses: add --variant int8, or leave it out")
    from overfly.runtime.extras import require_extra

    require_extra("train")
    require_extra("export")
    from overfly.cli.terminal import Terminal
    from overfly.export.exporter import ExportJob, export

    place = _add_zip(out) if as_zip else out
    job = ExportJob(
        run=run,
        out=place,
        data=data,
        variants=variants or tuple(VARIANTS),
        n_calibration=calibration_images,
        max_drop_pp=max_drop,
        as_zip=as_zip,
    )
    with Terminal() as terminal:
        manifest = export(job, overwrite=overwrite, reporter=terminal).manifest
    click.echo(_json(place, manifest) if as_json else _table(place, manifest))


def _add_zip(out: Path) -> Path:
    """Return the name of the .zip to write."""
    if out.name in {"", ".."}:
        raise click.UsageError(f"--out {out} has no name that .zip could be added to")
    return out if out.suffix.lower() == ".zip" else out.with_name(f"{out.name}.zip")


def _json(place: Path, manifest: "Manifest") -> str:
    """Return where the bundle is, the parity of each step, and what INT8 left in floating point."""
    from dataclasses import asdict

    parities = {name: asdict(record.parity) for name, record in manifest.variants.items()}
    told: dict[str, object] = {
        "bundle": str(place),
        "golden_part": manifest.golden_part,
        "parity": {"onnx": asdict(manifest.onnx.parity), **parities},
    }
    if int8 := manifest.variants.get("int8"):
        told["float_layers"] = [asdict(layer) for layer in int8.float_layers or ()]
        told["steering"] = int8.steering and asdict(int8.steering)
    return json.dumps(told)


def _table(place: Path, manifest: "Manifest") -> str:
    """Return the same for a person."""
    lines = ["variant  megabytes  largest logit difference  same class as PyTorch"]
    rows = [("onnx", "model.onnx", manifest.onnx.parity)]
    rows += [(name, record.bin, record.parity) for name, record in manifest.variants.items()]
    for name, file, parity in rows:
        size_mb = manifest.files[file].size_bytes / 1e6
        agreeing = round(parity.top1_agreement * parity.n_images)
        same = f"{agreeing:>9} of {parity.n_images} images"
        lines.append(f"{name:<7}  {size_mb:9.2f}  {parity.max_abs_diff:24.2e}  {same}")
    if int8 := manifest.variants.get("int8"):
        lines += [f"int8: {layer.name} is in floating point: {layer.why}" for layer in int8.float_layers or ()]
        if steering := int8.steering:
            where = f"{steering.n_images} images of the {steering.part} part"
            lines.append(f"int8: loses {steering.drop_pp:.2f} points on {where}, at most {steering.max_drop_pp:g}")
    return "\n".join([*lines, f"bundle: {place}"])
