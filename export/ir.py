"""Convert an ONNX file to OpenVINO IR, round its weights to f16, save it and run it."""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import openvino as ov
from openvino.opset13 import constant
from openvino.opset13 import convert as convert_to

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.bundle.labels import model_api_label
from overfly.runtime.images.reading import ImageBatch, ImageSpec
from overfly.runtime.inference.devices import core

# Names that OpenVINO generates: the type of the operation and a number. Names from ONNX begin with a small letter.
_GENERATED_NAME = re.compile(r"([A-Z][A-Za-z]*)_\d+")
_LARGEST_F16 = np.finfo(np.float16).max


def convert(onnx_path: Path, *, classes: Sequence[str], image: ImageSpec) -> Any:  # noqa: ANN401 - ov.Model, no stub
    """Read an ONNX file as an OpenVINO model, and attach the labels and settings that other OpenVINO clients read.

    Parameters
    ----------
    onnx_path
        Written by `overfly.export.onnx_model.write_onnx`.
    classes
        The class names, in the order of the logits.
    image
        Size and normalization of the input.

    Returns
    -------
    openvino.Model
        Input uint8 ``[?, size, size, 3]``, output float32 ``[?, n_classes]``.
    """
    # Not the path, because OpenVINO takes one with a comma for two.
    model = ov.convert_model(io.BytesIO(onnx_path.read_bytes()))
    for name, value in _model_api_info(classes, image).items():
        model.set_rt_info(value, ["model_info", name])
    _number_names(model)
    return model


def save_ir(model: Any, xml: Path) -> None:  # noqa: ANN401 - ov.Model has no stub
    """Write ``<name>.xml`` and ``<name>.bin`` with the weights as they are; this renames operations of the model."""
    _number_names(model)
    ov.save_model(model, xml, compress_to_fp16=False)


def _number_names(model: Any) -> None:  # noqa: ANN401 - ov.Model has no stub
    """Give new numbers to the generated names, so that the same model always gives the same file.

    OpenVINO's own numbers depend on how many operations the process has created before.
    """
    for index, op in enumerate(model.get_ordered_ops()):
        if generated := _GENERATED_NAME.fullmatch(op.get_friendly_name()):
            op.set_friendly_name(f"{generated[1]}_{index}")


def compress_to_f16(model: Any) -> Any:  # noqa: ANN401 - ov.Model has no stub
    """Return a copy of a model with its constants in f16, except for the weights of depthwise convolutions.

    OpenVINO's own compression rounds these, too. In MobileNetV2 they are 3% of the weights and cause most of fp16's
    error: some channels have nine weights that nearly cancel each other, and the folded batch normalization magnifies
    what rounding leaves of them. Constants with values that f16 can't represent stay in f32, too.
    """
    compressed = model.clone()
    for op in compressed.get_ordered_ops():
        if op.get_type_name() != "Constant" or op.get_element_type() != ov.Type.f32:
            continue
        users = op.output(0).get_target_inputs()
        depthwise = any(user.get_node().get_type_name() == "GroupConvolution" for user in users)
        if depthwise or np.abs(op.data).max() > _LARGEST_F16:
            continue
        restored = convert_to(constant(op.data.astype(np.float16)), "f32", name=op.get_friendly_name())
        for user in users:
            user.replace_source_output(restored.output(0))
    return compressed


def run_model(model: Any, images: ImageBatch) -> Logits:  # noqa: ANN401 - ov.Model has no stub
    """Return the logits of a model, its first output: float32, shape ``[N, n_classes]``; see `run_outputs`."""
    return run_outputs(model, images)[0]


def run_outputs(model: Any, images: ImageBatch) -> list[npt.NDArray[np.float32]]:  # noqa: ANN401 - ov.Model, no stub
    """Return all outputs of a model on the CPU in f32, computed for one image at a time.

    Parameters
    ----------
    model
        An `openvino.Model`.
    images
        uint8, shape ``[N, size, size, 3]``, RGB.

    Returns
    -------
    list
        The outputs in the order of the model: float32, shape ``[N, ...]``.
    """
    compiled = core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": ov.Type.f32})
    answers = [compiled([image[np.newaxis]]) for image in images]
    return [np.concatenate([answer[i] for answer in answers]) for i in range(len(compiled.outputs))]


def _model_api_info(classes: Sequence[str], image: ImageSpec) -> dict[str, str]:
    """Return the fields that OpenVINO's Model API expects of a classifier.

    It separates labels by white space, so white space within a label becomes an underscore. Mean and scale are left out
    because the graph applies them; a client that found them here would apply them again.
    """
    return {
        "model_type": "Classification",
        "task_type": "classification",
        "labels": " ".join(map(model_api_label, classes)),
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
