"""Describe a bundle as a STAC item with the Machine Learning Model extension (MLM), so that catalogs can list it."""

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from overfly.export.deepness import DEEPNESS
from overfly.export.onnx_model import INPUT, OUTPUT
from overfly.runtime.bundle.manifest import GOLDEN, LABELS, MANIFEST, N_COLORS, ONNX, FileRecord, SceneSpec
from overfly.runtime.files.atomic import write_atomically
from overfly.training.run import RunRecord

if TYPE_CHECKING:
    # It needs the geo extra, and only a run that was trained on chips needs it.
    from overfly.export.footprints import Hull

STAC = "stac.json"

# The first version of STAC with bands in its core.
_STAC_VERSION = "1.1.0"
_MLM = "https://stac-extensions.github.io/mlm/v1.5.2/schema.json"
_FILE = "https://stac-extensions.github.io/file/v2.1.0/schema.json"

_TASKS = ["scene-classification"]
_BANDS = ("red", "green", "blue")

# STAC wants a date or a range of dates. When the training images were taken is not recorded, and the best practices of
# MLM use these two for a model without bounds in time.
_START, _END = "1900-01-01T00:00:00Z", "9999-12-31T23:59:59Z"

# A multihash: the codes of SHA-256 and of its length, 32 bytes.
_SHA256_PREFIX = "1220"

# What MLM takes as the version of a framework: three numbers, and letters only after "+".
_VERSION = re.compile(r"\d+\.\d+\.\d+(\+[0-9A-Za-z.-]+)?")

# Digits of the SHA-256 of the run in the name of the item.
_N_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFacts:
    """What the item says of a bundle.

    Attributes
    ----------
    record, run_sha256
        The run, and the SHA-256 of its ``run.json``.
    n_parameters
        Number of parameters of the model.
    scene
        What the training images show of the ground; None if that is unknown.
    hull
        Where the training images are; None if that is unknown.
    variants
        Names of the variants, each of which has an IR.
    files
        Every file of the bundle but the item and the manifest, by name.
    """

    record: RunRecord
    run_sha256: str
    n_parameters: int
    scene: SceneSpec | None
    hull: "Hull | None"
    variants: tuple[str, ...]
    files: dict[str, FileRecord]


def write_stac(path: Path, facts: BundleFacts) -> None:
    """Write the item of a bundle: the same run always gives the same bytes."""
    write_atomically(path, f"{json.dumps(stac_item(facts), indent=2)}\n".encode())


def stac_item(facts: BundleFacts) -> dict[str, object]:
    """Return the item of a bundle, as JSON.

    Its geometry is null, and the bounding box left out as STAC asks, if nobody knows where the training images are.
    """
    hull = facts.hull
    return {
        "type": "Feature",
        "stac_version": _STAC_VERSION,
        "stac_extensions": [_MLM, _FILE],
        "id": _name(facts),
        "geometry": hull and hull.geometry,
        **({"bbox": list(hull.bbox)} if hull else {}),
        "properties": _properties(facts),
        "links": [],
        "assets": _assets(facts),
    }


def _name(facts: BundleFacts) -> str:
    """Return a name that no other run has."""
    return f"{facts.record.model}-{facts.run_sha256[:_N_DIGITS]}"


def _properties(facts: BundleFacts) -> dict[str, object]:
    """Return the item's properties."""
    record, scene = facts.record, facts.scene
    version = record.versions.get("torch", "")
    numbers = scene.bands if scene else (None,) * N_COLORS
    bands = [
        {"name": name, **({"description": f"band {number} of the raster"} if number else {})}
        for name, number in zip(_BANDS, numbers, strict=True)
    ]
    return {
        "title": f"{record.model} for {len(record.classes)} classes of aerial images",
        "description": _description(facts),
        "datetime": None,
        "start_datetime": _START,
        "end_datetime": _END,
        **({"gsd": scene.scene_m / record.image.size} if scene else {}),
        "bands": bands,
        "mlm:name": _name(facts),
        "mlm:architecture": record.model,
        "mlm:tasks": _TASKS,
        "mlm:framework": "PyTorch",
        **({"mlm:framework_version": version} if _VERSION.fullmatch(version) else {}),
        "mlm:total_parameters": facts.n_parameters,
        "mlm:pretrained": record.weights != "none",
        "mlm:pretrained_source": {"none": None, "imagenet": "ImageNet"}.get(record.weights, record.weights),
        "mlm:accelerator": None,
        "mlm:input": [_input(facts)],
        "mlm:output": [_output(record.classes)],
        "mlm:hyperparameters": {
            **dataclasses.asdict(record.recipe),
            "seed": record.seed,
            "normalization_mean": record.image.mean,
            "normalization_std": record.image.std,
        },
    }


def _description(facts: BundleFacts) -> str:
    """Return what a reader of the catalog should know."""
    metrics, scene = facts.record.metrics, facts.scene
    ground = f" An image shows a square of {scene.scene_m:g} m on the ground." if scene else ""
    place = "The geometry is the hull of the training images" if facts.hull else "The place of the images is unknown"
    return (
        f"Trained with overfly. It classifies {metrics.accuracy:.1%} of {metrics.n_images} test images correctly."
        f"{ground} {place}; when they were taken is unknown, so the range of dates has no meaning."
    )


def _input(facts: BundleFacts) -> dict[str, object]:
    """Return how the model takes images."""
    image = facts.record.image
    stretch = ""
    if image.value_range is not None:
        low, high = image.value_range
        stretch = (
            f" Values of more than 8 bits are stretched before, so that {low:g} becomes 0 and {high:g} becomes 255."
        )
    return {
        "name": INPUT,
        "description": (
            "Pixels in 0..255. An image is resized bilinearly with antialiasing, without keeping its aspect ratio."
            f"{stretch} The model itself divides by 255, subtracts the mean and divides by the standard deviation."
        ),
        "bands": list(_BANDS),
        "input": {
            "shape": [-1, image.size, image.size, N_COLORS],
            "dim_order": ["batch", "height", "width", "bands"],
            "data_type": "uint8",
        },
        "value_scaling": None,
        "resize_type": "interpolation-linear",
    }


def _output(classes: tuple[str, ...]) -> dict[str, object]:
    """Return what the model returns."""
    return {
        "name": OUTPUT,
        "description": "Logits. Their softmax are the probabilities of the classes.",
        "tasks": _TASKS,
        "result": {"shape": [-1, len(classes)], "dim_order": ["batch", "class"], "data_type": "float32"},
        # Version 1.1 of the classification extension, which MLM refers to, wants a description.
        "classification:classes": [
            {"value": index, "name": name, "description": name} for index, name in enumerate(classes)
        ],
    }


def _assets(facts: BundleFacts) -> dict[str, object]:
    """Return the files of the bundle. Those with the role ``mlm:model`` have the input and output of the item."""
    files, json_type, bytes_type = facts.files, "application/json", "application/octet-stream"
    model_roles = ["mlm:model", "model"]
    # STAC allows bands in the properties only if an asset has bands as well.
    bands = [{"name": name} for name in _BANDS]
    assets: dict[str, object] = {
        "model": _asset(ONNX, "The model as ONNX", f"{bytes_type}; framework=onnx", model_roles, files)
        | {"mlm:artifact_type": "torch.onnx.export", "mlm:framework": "ONNX", "bands": bands},
    }
    for name in facts.variants:
        title = f"The model as OpenVINO IR, {name}"
        assets[name] = _asset(f"{name}.xml", title, "application/xml", model_roles, files) | {
            "mlm:artifact_type": "openvino.save_model",
            "mlm:framework": "OpenVINO",
            "bands": bands,
        }
        roles = ["mlm:weights", "weights"]
        assets[f"{name}-weights"] = _asset(f"{name}.bin", f"Weights of {name}.xml", bytes_type, roles, files)
    if DEEPNESS in files:
        # Its input and output are not those of the item, so it may not have the role of a model in MLM.
        title = "The model as a segmentor for QGIS's Deepness plugin"
        assets["deepness"] = _asset(DEEPNESS, title, f"{bytes_type}; framework=onnx", ["model"], files)
    assets["labels"] = _asset(LABELS, "Names of the classes, in order", "text/plain", ["metadata"], files)
    assets["golden"] = _asset(GOLDEN, "Images with the model's answers", bytes_type, ["data"], files)
    # The manifest holds the hash of this item, so the item can't hold that of the manifest.
    assets["manifest"] = _asset(MANIFEST, "What overfly knows of the bundle", json_type, ["metadata"], files)
    return assets


def _asset(name: str, title: str, media_type: str, roles: list[str], files: dict[str, FileRecord]) -> dict[str, object]:
    """Return a file of the bundle, with its size and hash if they are known."""
    asset: dict[str, object] = {"href": f"./{name}", "title": title, "type": media_type, "roles": roles}
    if name in files:
        asset |= {"file:size": files[name].size_bytes, "file:checksum": _SHA256_PREFIX + files[name].sha256}
    return asset
