"""``overfly export``: a run becomes a bundle."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overfly.cli import options
from overfly.cli.options import option
from overfly.runtime.bundle.variants import VARIANTS, quantized_variants
from overfly.runtime.files.names import utf8_text

if TYPE_CHECKING:
    from overfly.runtime.bundle.manifest import Manifest


@click.command(
    short_help="Turn a run into a bundle: ONNX and OpenVINO IR.",
    epilog=options.example("overfly export run --out bundle"),
)
@click.argument("run", type=options.PATH)
@options.out("bundle")
@option("--data", type=options.PATH, show_default="the one that RUN was trained on", help="The labeled folder.")
@options.variants("write", default="all")
@option(
    "--calibration-images",
    "n_calibration",
    type=click.IntRange(min=1),
    show_default="64, or one per class if that is more",
    help="Number of training images that set the INT8 ranges.",
)
@option(
    "--max-drop",
    "max_drop_pp",
    type=options.Real(min=0),
    metavar="POINTS",
    help="Largest INT8 accuracy drop in percentage points, on held-out images. If INT8 loses more, layers stay in "
    "floating point; if that is not enough, the export fails.",
)
@option(
    "--scene-m",
    type=options.Real(0, min_open=True),
    show_default="that of chips, otherwise unknown",
    help="Side of a training image on the ground in meters. The bundle records it for overfly map.",
)
@option(
    "--deepness",
    is_flag=True,
    help="Also write deepness.onnx, which QGIS's Deepness plugin opens. It needs the side of a training image.",
)
@option(
    "--stac",
    is_flag=True,
    help="Also write stac.json, which describes the model to a STAC catalog (Machine Learning Model extension).",
)
@option("--zip", "as_zip", is_flag=True, help="Write a single file, OUT.zip, instead of a folder.")
@options.overwrite
@options.as_json
def command(
    out: Path,
    variants: tuple[str, ...],
    max_drop_pp: float | None,
    as_zip: bool,
    overwrite: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Turn RUN into a bundle: ONNX, OpenVINO IR in several variants, and golden answers to check a device with.

    Every step is compared with PyTorch on real test images. If a step disagrees, the export fails and writes nothing.
    Only training and validation images are used to make INT8.
    """
    if max_drop_pp is not None and variants and not set(variants) & set(quantized_variants()):
        raise click.UsageError(
            f"--max-drop limits what INT8 loses: add --variant {quantized_variants()[0]}, or leave --max-drop out"
        )
    from overfly.runtime.extras import require_extra

    require_extra("train")
    require_extra("export")
    from overfly.cli.terminal import Terminal
    from overfly.export.exporter import ExportJob, export

    if as_zip and out.name in {"", ".."}:
        raise click.UsageError(f"--out {out} has no name to add .zip to")
    if as_zip and out.suffix.lower() != ".zip":
        out = out.with_name(f"{out.name}.zip")
    choices |= {"out": out, "variants": variants or tuple(VARIANTS), "max_drop_pp": max_drop_pp, "as_zip": as_zip}
    with Terminal() as terminal:
        manifest = export(ExportJob(**choices), overwrite=overwrite, reporter=terminal).manifest
    click.echo(_json(out, manifest) if as_json else _table(out, manifest))


def _json(path: Path, manifest: "Manifest") -> str:
    """Return the path of the bundle, the parity of each step, and how each quantized variant was made."""
    from dataclasses import asdict

    parities = {name: asdict(record.parity) for name, record in manifest.variants.items()}
    quantized = {
        name: {
            "float_layers": [asdict(layer) for layer in record.float_layers or ()],
            "accuracy_control": record.steering and asdict(record.steering),
        }
        for name, record in manifest.variants.items()
        if VARIANTS[name].is_quantized
    }
    facts = {
        "bundle": utf8_text(path),
        "golden_part": manifest.golden_part,
        "parity": {"onnx": asdict(manifest.onnx.parity), **parities},
        "quantized": quantized,
    }
    return json.dumps(facts)


def _table(path: Path, manifest: "Manifest") -> str:
    """Return the same as text, and what makes a variant useless."""
    from overfly.runtime.bundle.manifest import ONNX
    from overfly.runtime.evaluation.parity import problems_at_export

    width = max(map(len, ("variant", *manifest.variants)))
    lines = [f"{'variant':<{width}}  megabytes  largest logit difference  same class as PyTorch"]
    rows = [("onnx", ONNX, manifest.onnx.parity)]
    rows += [(name, record.bin, record.parity) for name, record in manifest.variants.items()]
    for name, file, parity in rows:
        size_mb = manifest.files[file].size_bytes / 1e6
        agreeing = round(parity.top1_agreement * parity.n_images)
        same = f"{agreeing:>9} of {parity.n_images} images"
        lines.append(f"{name:<{width}}  {size_mb:9.2f}  {parity.max_abs_diff:24.2e}  {same}")
    for name, record in manifest.variants.items():
        lines += [f"{name}: INVALID: {problem}" for problem in problems_at_export(name, record.parity)]
        lines += [f"{name}: {layer.name} is in floating point: {layer.why}" for layer in record.float_layers or ()]
        if control := record.steering:
            images = f"{control.n_images} images of the {control.part} part"
            lines.append(f"{name}: loses {control.drop_pp:.2f} points on {images}, at most {control.max_drop_pp:g}")
    return "\n".join([*lines, f"bundle: {path}"])
