"""Write the model as a file that QGIS's Deepness plugin opens.

Read in the source of Deepness 0.6.5 (PUTvision/qgis-plugin-deepness): it has no type for classification, so the file is
a segmentor that gives every pixel of a tile the probabilities of the whole tile. The plugin reads the raster at the
resolution that the file names, cuts it into tiles of 8-bit values, divides them by 255, subtracts
``standardization_mean`` and divides by ``standardization_std``. Of overlapping tiles it keeps the middle.
"""

import json
from pathlib import Path

import numpy as np
import torch

from overfly.export.onnx_model import INPUT, save_onnx, trace
from overfly.export.onnx_session import open_onnx_session
from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.bundle.manifest import N_COLORS, SceneSpec
from overfly.runtime.errors import RunError
from overfly.runtime.images.reading import ImageBatch, ImageSpec
from overfly.training.models.build import PreprocessedModel

DEEPNESS = "deepness.onnx"

# Deepness requires ONNX Runtime 1.12.1 to 1.17.0, and installs the newest of them. 1.15 is the first that reads IR
# version 9, and 1.14 the first with operator set 18, the oldest that torch.onnx writes without a conversion.
_IR_VERSION = 9
_OPSET = 18

_OUTPUT = "probabilities"

# In percent. The plugin keeps the middle of each tile, so the cells of its map have half the side of a tile, as those
# of `overfly map`.
_OVERLAP = 50

# The plugin numbers the classes from 1 in 8 bits.
_MAX_CLASSES = 255

_CM_PER_M = 100


class _TileSegmentor(PreprocessedModel):
    """A classifier whose input and output are those of the plugin's segmentors."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Take float32 ``[N, 3, S, S]`` RGB in 0..1 and return float32 ``[N, n_classes, S, S]`` probabilities."""
        probabilities = self.model(self.normalize(images * 255)).softmax(dim=1)
        size = images.shape[-1]
        expanded: torch.Tensor = probabilities[:, :, None, None].expand(-1, -1, size, size)
        return expanded


def check_deepness_possible(run: Path, scene: SceneSpec | None, n_classes: int) -> None:
    """Raise RunError if Deepness can't use a model, because it lacks its scene size or has too many classes."""
    if scene is None:
        raise RunError(
            f"{run} does not say how much ground an image shows, which --deepness needs for its resolution: give the "
            "side of a training image in meters with --scene-m, such as 78 for UC Merced"
        )
    if n_classes > _MAX_CLASSES:
        raise RunError(
            f"{run} has {n_classes} classes, but Deepness numbers them in 8 bits and takes at most {_MAX_CLASSES}: "
            "export without --deepness"
        )


def write_deepness(
    pytorch_model: PreprocessedModel, path: Path, *, image: ImageSpec, scene: SceneSpec, classes: tuple[str, ...]
) -> None:
    """Write a model as a segmentor for Deepness, and check the file with ONNX's checker.

    Parameters
    ----------
    pytorch_model
        The model, in eval mode, on the CPU.
    path
        The file to write. Its input ``images`` is float32 ``[batch, 3, size, size]``, RGB in 0..1. Its output
        ``probabilities`` is float32 ``[batch, n_classes, size, size]``, the same in all pixels of a tile. The batch
        size is dynamic.
    image, scene
        How the model takes images, and the ground that they show.
    classes
        Names of the classes, in the order of the logits.
    """
    segmentor = _TileSegmentor(pytorch_model.model, image).eval()
    example = torch.zeros(2, N_COLORS, image.size, image.size)
    proto = trace(segmentor, example, path, opset=_OPSET, output=_OUTPUT)
    proto.ir_version = _IR_VERSION
    save_onnx(proto, path, {key: json.dumps(value) for key, value in _metadata(image, scene, classes).items()})


def run_deepness(path: Path, images: ImageBatch, *, batch_size: int) -> Logits:
    """Return the probabilities of ONNX Runtime on the CPU, computed in batches of `batch_size` images.

    Parameters
    ----------
    path
        A file from `write_deepness`.
    images
        uint8, shape ``[N, size, size, 3]``, RGB. They are scaled as the plugin scales tiles.

    Returns
    -------
    ndarray
        float32, shape ``[N, n_classes]``: the mean of the pixels of each tile, whose values are equal.
    """
    session = open_onnx_session(path)
    tiles = np.float32(images / 255).transpose(0, 3, 1, 2)
    starts = range(0, len(tiles), batch_size)
    batches = [session.run([_OUTPUT], {INPUT: tiles[i : i + batch_size]})[0] for i in starts]
    return np.concatenate([batch.mean(axis=(2, 3)) for batch in batches])


def _metadata(image: ImageSpec, scene: SceneSpec, classes: tuple[str, ...]) -> dict[str, object]:
    """Return the entries of metadata that the plugin reads, each of which it parses as JSON."""
    return {
        "model_type": "Segmentor",
        "class_names": {str(index): name for index, name in enumerate(classes)},
        "resolution": scene.scene_m / image.size * _CM_PER_M,
        "tile_size": image.size,
        "tiles_overlap": _OVERLAP,
        # The model normalizes by itself, so the plugin must not.
        "standardization_mean": [0.0] * N_COLORS,
        "standardization_std": [1.0] * N_COLORS,
        # Every pixel gets its most probable class, and no cell is too small to be kept.
        "seg_thresh": 0.0,
        "seg_small_segment": 0,
    }
