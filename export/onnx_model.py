"""Write a PyTorch model with its preprocessing as one ONNX file, and run that file."""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from overfly.export.onnx_session import open_onnx_session
from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.images.reading import ImageBatch
from overfly.training.models.build import PreprocessedModel
from overfly.training.models.freezing import normalized_convolutions

INPUT = "images"
OUTPUT = "logits"

# The newest operator set that torch.onnx writes without a conversion. ONNX Runtime 1.19, the oldest that setup.cfg
# allows, can run it.
OPSET = 20


def write_onnx(pytorch_model: PreprocessedModel, path: Path, *, size: int, metadata: dict[str, object]) -> None:
    """Write a model with its preprocessing as one ONNX file, and check the file with ONNX's checker.

    Parameters
    ----------
    pytorch_model
        The model, in eval mode, on the CPU.
    path
        The file to write. Its input ``images`` is uint8 ``[batch, size, size, 3]``, RGB; its output ``logits`` is
        float32 ``[batch, n_classes]``. The batch size is dynamic.
    size
        Height and width in pixels.
    metadata
        Entries of the file's metadata; each value is stored as JSON.
    """
    # The tracer would treat a batch of one image as a constant.
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    proto = trace(pytorch_model, example, path, opset=OPSET, output=OUTPUT)
    save_onnx(proto, path, {key: json.dumps(value) for key, value in metadata.items()})


def trace(model: nn.Module, example: torch.Tensor, path: Path, *, opset: int, output: str) -> onnx.ModelProto:
    """Write a model as one ONNX file with a dynamic batch, and return what it holds.

    Parameters
    ----------
    model
        The model, in eval mode, on the CPU. Its batch normalizations are folded into the convolutions before them.
    example
        An input with a batch of two or more. The input of the file is ``images``.
    path
        The file to write.
    opset
        The operator set.
    output
        Name of the output.
    """
    with _silence_torch_onnx():
        torch.onnx.export(
            _fold_batch_norms(model),
            (example,),
            path,
            dynamo=True,
            external_data=False,
            opset_version=opset,
            input_names=[INPUT],
            output_names=[output],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    proto = onnx.load(path)
    _clean_up(proto.graph)
    return proto


def save_onnx(proto: onnx.ModelProto, path: Path, metadata: dict[str, str]) -> None:
    """Write a model with entries of metadata, and check the file with ONNX's checker."""
    onnx.helper.set_model_props(proto, metadata)
    onnx.save(proto, path)
    onnx.checker.check_model(path, full_check=True)


def run_onnx(path: Path, images: ImageBatch, *, batch_size: int) -> Logits:
    """Return the logits of ONNX Runtime on the CPU, computed in batches of `batch_size` images.

    Parameters
    ----------
    path
        A file from `write_onnx`.
    images
        uint8, shape ``[N, size, size, 3]``, RGB.

    Returns
    -------
    ndarray
        float32, shape ``[N, n_classes]``.
    """
    session = open_onnx_session(path)
    starts = range(0, len(images), batch_size)
    return np.concatenate([session.run([OUTPUT], {INPUT: images[i : i + batch_size]})[0] for i in starts])


def _fold_batch_norms(model: nn.Module) -> nn.Module:
    """Return a copy of a model with its batch normalizations folded into the convolutions before them.

    Every runtime folds them when it compiles. Folding them first halves the time to trace and check the model.
    """
    folded = copy.deepcopy(model)
    for convolution, norm in normalized_convolutions(model):
        layers: Any = (folded.get_submodule(convolution), folded.get_submodule(norm))
        folded.set_submodule(convolution, fuse_conv_bn_eval(*layers))
        folded.set_submodule(norm, nn.Identity())
    return folded


def _clean_up(graph: onnx.GraphProto) -> None:
    """Name each layer after its PyTorch module, and remove stack traces, which contain paths of this machine."""
    weights = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        if node.op_type in {"Conv", "Gemm", "MatMul"} and node.input[1] in weights:
            node.name = node.input[1].removeprefix("model.").removesuffix(".weight")
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.ClearField("metadata_props")


@contextmanager
def _silence_torch_onnx() -> Iterator[None]:
    """Silence log messages and warnings of torch.onnx about its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
