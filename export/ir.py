"""An ONNX file becomes OpenVINO IR: fp32, fp16, and what INT8 starts from."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from openvino.opset13 import constant
from openvino.opset13 import convert as convert_to

from overfly.runtime.images.reading import ImageBatch, ImageSpec
from overfly.runtime.inference.devices import core
from overfly.runtime.inference.runner import Logits

# The kind of an operation and a number; names from ONNX begin with a small letter.
_MADE_UP = re.compile(r"([A-Z][A-Za-z]*)_\d+")
_LARGEST_F16 = np.finfo(np.float16).max
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
    _number_names(model)
    return model


def save_ir(model: Any, xml: Path, *, fp16: bool = False) -> None:  # noqa: ANN401 - ov.Model has no stub
    """Write ``<name>.xml`` and ``<name>.bin``; `fp16` stores most of the weights in half the bytes."""
    if fp16:
        model = _compressed(model)
    _number_names(model)
    ov.save_model(model, xml, compress_to_fp16=False)


def _number_names(model: Any) -> None:  # noqa: ANN401 - ov.Model has no stub
    """Give new numbers to the names that OpenVINO made up, which count on through the life of the process.

    So the same model gives the same file.
    """
    for index, op in enumerate(model.get_ordered_ops()):
        if made_up := _MADE_UP.fullmatch(op.get_friendly_name()):
            op.set_friendly_name(f"{made_up[1]}_{index}")


def _compressed(model: Any) -> Any:  # noqa: ANN401 - ov.Model has no stub
    """Return a copy of a model with constants of f16, but for the weights of depthwise convolutions.

    OpenVINO's own compression rounds these, too. In MobileNetV2 they are 3% of the weights and make most of fp16's
    error: nine values that all but cancel each other no longer do after rounding, in a channel that the folded batch
    normalisation magnifies. What f16 can't hold stays as well.
    """
    compressed = model.clone()
    for op in compressed.get_ordered_ops():
        if op.get_type_name() != "Constant" or op.get_element_type() != ov.Type.f32:
            continue
        users = op.output(0).get_target_inputs()
        depthwise = any(user.get_node().get_type_name() == "GroupConvolution" for user in users)
        if depthwise or np.abs(op.data).max() > _LARGEST_F16:
            continue
        widened = convert_to(constant(op.data.astype(np.float16)), "f32", name=op.get_friendly_name())
        for user in users:
            user.replace_source_output(widened.output(0))
    return compressed


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
