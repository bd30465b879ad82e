"""An ONNX file becomes OpenVINO IR: fp32, fp16, and what INT8 starts from."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from overfly.runtime.devices import core
from overfly.runtime.images import ImageBatch, ImageSpec
from overfly.runtime.runner import Logits

# The kind of an operation and a number; names from ONNX begin with a small letter.
_MADE_UP = re.compile(r"([A-Z][A-Za-z]*)_\d+")
_BLANK = re.compile(r"\s")


def convert(onnx_path: Path, *, classes: Sequence[str], image: ImageSpec) -> Any:  # noqa: ANN401 - ov.Model, no stub
    """Read an ONNX file as an OpenVINO model and attach what other OpenVINO clients need to open it.

    Parameters
    ----------
    onnx_path
        Written by `overfly.export.onnx_model.write_onnx`.
    classes
        The class names, in the order of the logits.
    image
        The input.
    """
    model = ov.convert_model(onnx_path)
    for name, value in _model_api_info(classes, image).items():
        model.set_rt_info(value, ["model_info", name])
    return model


def save_ir(model: Any, xml: Path, *, fp16: bool = False) -> None:  # noqa: ANN401 - ov.Model has no stub
    """Write ``<name>.xml`` and ``<name>.bin``; `fp16` stores the weights in half the bytes.

    Names that OpenVINO made up count on through the life of the process. They are numbered anew, so that the same
    model gives the same file.
    """
    for index, op in enumerate(model.get_ordered_ops()):
        if made_up := _MADE_UP.fullmatch(op.get_friendly_name()):
            op.set_friendly_name(f"{made_up[1]}_{index}")
    ov.save_model(model, xml, compress_to_fp16=fp16)


def run_ir(xml: Path, images: ImageBatch) -> Logits:
    """Return the logits that the CPU device computes in f32, one image at a time.

    Parameters
    ----------
    xml
        An IR with its ``.bin`` beside it.
    images
        uint8, shape ``[N, size, size, 3]``, RGB.

    Returns
    -------
    ndarray
        float32, shape ``[N, n_classes]``.
    """
    return run_model(core().read_model(xml), images)


def run_model(model: Any, images: ImageBatch) -> Logits:  # noqa: ANN401 - ov.Model has no stub
    """Return what `run_ir` does, of a model in memory."""
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": ov.Type.f32})
    return np.concatenate([compiled([image[np.newaxis]])[0] for image in images])


def _model_api_info(classes: Sequence[str], image: ImageSpec) -> dict[str, str]:
    """Return the fields of the OpenVINO Model API convention for a classifier.

    Labels are separated by white space there, so each blank of any kind within a label becomes an underscore. Mean and
    scale are not given: they are inside the graph, and a client that found them here would apply them twice.
    """
    return {
        "model_type": "Classification",
        "task_type": "classification",
        "labels": " ".join(_BLANK.sub("_", name) for name in classes),
        "label_ids": " ".join(str(i) for i in range(len(classes))),
        "multilabel": "False",
        "hierarchical": "False",
        "output_raw_scores": "False",
        "confidence_threshold": "0.0",
        "resize_type": "standard",
        "reverse_input_channels": "True",
        "orig_height": str(image.size),
        "orig_width": str(image.size),
    }
