"""ONNX Runtime's own quantization of a small convolutional network."""

import logging

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from overfly.benchmarks.models.loaders import LoadSpec, loader_of
from overfly.benchmarks.models.onnxruntime_int8 import quantize_onnx
from overfly.runtime.errors import DeviceError

SIZE, N_CLASSES = 8, 5


@pytest.fixture
def images():
    """Random images."""
    return np.random.default_rng(0).integers(0, 256, (12, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def source(tmp_path):
    """An ONNX file that takes uint8 images: a convolution, an activation and a pooling."""
    weights = np.random.default_rng(1).normal(size=(N_CLASSES, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["float"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "weights"], ["features"]),
        helper.make_node("Relu", ["features"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["n", SIZE, SIZE, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", N_CLASSES])],
        [numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_int8_model_has_integer_weights_and_logits_near_those_of_the_original(source, images, tmp_path, capfd):
    target = tmp_path / "int8.onnx"
    level = logging.getLogger().level
    quantize_onnx(source, target, lambda: images)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "int8.onnx"}
    assert (capfd.readouterr().out, logging.getLogger().level) == ("", level)
    graph = onnx.load(target).graph
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    # One scale for each channel of the weights.
    assert any(part.dims == [N_CLASSES] and part.data_type == TensorProto.FLOAT for part in graph.initializer)
    assert any(part.dims == [N_CLASSES, 3, 3, 3] and part.data_type == TensorProto.INT8 for part in graph.initializer)
    original, quantized = (
        loader_of(LoadSpec(backend="onnxruntime", variant="fp32", bundle="", path=str(path))).load().infer(images)
        for path in (source, target)
    )
    assert not np.array_equal(quantized, original)
    # On a CPU without VNNI, sums of two products saturate at 16 bits: a single logit may be some percent off.
    assert np.abs(quantized - original).mean() < 0.02 * np.abs(original).max()


def test_a_file_that_can_not_be_quantized_is_named(images, tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(DeviceError) as caught:
        quantize_onnx(path, tmp_path / "int8.onnx", lambda: images)
    assert str(path) in str(caught.value)
    assert [found.name for found in tmp_path.iterdir()] == ["broken.onnx"]
