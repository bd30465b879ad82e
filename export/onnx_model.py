"""A deployed PyTorch model becomes one ONNX file."""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.runner import Logits
from overfly.training.models.build import PreprocessedModel

INPUT = "images"
OUTPUT = "logits"

# The newest operator set that torch's exporter writes without converting, and that ONNX Runtime 1.17 runs.
OPSET = 20


def write_onnx(deployed: PreprocessedModel, path: Path, *, size: int, metadata: dict[str, object]) -> None:
    """Write a model with its preprocessing as a single ONNX file and check it.

    Parameters
    ----------
    deployed
        In eval mode, on the CPU.
    path
        The file to write: input ``images`` uint8 ``[batch, size, size, 3]`` RGB, output ``logits`` float32
        ``[batch, n_classes]``, the batch left open.
    size
        Height and width in pixels.
    metadata
        Stored in the file's metadata, each value as JSON.
    """
    # Two images, not one: a batch of one would be taken for a constant.
    example = torch.zeros(2, size, size, 3, dtype=torch.uint8)
    with _quiet():
        program = torch.onnx.export(
            _fold_batch_norms(deployed),
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes={"images": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
        if program is None:  # pragma: no cover - only without dynamo
            raise RuntimeError("torch.onnx.export returned no program")
        program.save(path, external_data=False)
    model = onnx.load(path)
    _tidy(model.graph)
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in metadata.items()})
    onnx.save(model, path)
    onnx.checker.check_model(path, full_check=True)


def run_onnx(path: Path, images: ImageBatch, *, batch_size: int) -> Logits:
    """Return the logits that ONNX Runtime computes, in batches of `batch_size`.

    Parameters
    ----------
    path
        Written by `write_onnx`.
    images
        uint8, shape ``[N, size, size, 3]``, RGB.

    Returns
    -------
    ndarray
        float32, shape ``[N, n_classes]``.
    """
    import onnxruntime

    # For releases that don't know the variable that overfly.runtime sets.
    onnxruntime.disable_telemetry_events()
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    starts = range(0, len(images), batch_size)
    return np.concatenate([session.run([OUTPUT], {INPUT: images[i : i + batch_size]})[0] for i in starts])


def _fold_batch_norms(model: nn.Module) -> fx.GraphModule:
    """Return a copy whose convolutions do the work of the batch normalisations behind them.

    Every runtime does that when it compiles; done here, there is half as much to trace and to check.
    """
    traced = fx.symbolic_trace(model)
    modules = dict(traced.named_modules())
    for node in traced.graph.nodes:
        source = node.args[0] if node.args else None
        if not (isinstance(source, fx.Node) and node.op == source.op == "call_module" and len(source.users) == 1):
            continue
        layer, norm = modules[str(source.target)], modules[str(node.target)]
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            traced.set_submodule(str(source.target), fuse_conv_bn_eval(layer, norm))
            node.replace_all_uses_with(source)
            traced.graph.erase_node(node)
    traced.recompile()
    return traced


def _tidy(graph: onnx.GraphProto) -> None:
    """Call each layer as its PyTorch module, and drop the stack traces, which name folders of the machine."""
    weights = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
        if node.op_type in {"Conv", "Gemm", "MatMul"} and node.input[1] in weights:
            node.name = node.input[1].removeprefix("model.").removesuffix(".weight")
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.ClearField("metadata_props")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's remarks on its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
