"""Which layers of an OpenVINO model are in INT8, read from its graph."""

from collections.abc import Container
from typing import Any

_LAYERS = {"Convolution", "GroupConvolution", "MatMul"}
# Operations that only move or pick values: a tensor that was in INT8 stays in INT8.
_MOVES = {
    "Concat",
    "Gather",
    "MaxPool",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "StridedSlice",
    "Transpose",
    "Unsqueeze",
    "VariadicSplit",
}
# Operations between stored INT8 weights and the layer that uses them.
_WEIGHT_DECODING = {"Convert", "Multiply", "Reshape", "Subtract", "Transpose"}
_INT8 = {"i8", "u8"}
# OpenVINO's ONNX reader splits a layer with a bias in two operations; this ends the name of the first.
_WITHOUT_BIAS = "/WithoutBiases"


def weighted_layers(model: Any) -> dict[str, bool]:  # noqa: ANN401 - ov.Model has no stub
    """Return for every convolution and matrix product whether both its input and its weights are in INT8.

    Parameters
    ----------
    model
        An OpenVINO model, such as one from `nncf.quantize`.

    Returns
    -------
    dict
        By the name of the layer's PyTorch module, such as ``features.0.0``, in the order of computation.
    """
    layers = [op for op in model.get_ordered_ops() if op.get_type_name() in _LAYERS]
    return {
        op.get_friendly_name().removesuffix(_WITHOUT_BIAS): (
            _is_quantized(_source(op, 0)) and _has_int8_weights(_source(op, 1))
        )
        for op in layers
    }


def float_layers(model: Any) -> list[str]:  # noqa: ANN401 - ov.Model has no stub
    """Return the names of the layers that are not in INT8, as `weighted_layers` gives them."""
    return [name for name, is_int8 in weighted_layers(model).items() if not is_int8]


def operations(model: Any, layers: Container[str]) -> list[str]:  # noqa: ANN401 - ov.Model has no stub
    """Return OpenVINO's names of the operations that compute layers named as in `weighted_layers`."""
    names = [op.get_friendly_name() for op in model.get_ordered_ops() if op.get_type_name() in _LAYERS]
    return [name for name in names if name.removesuffix(_WITHOUT_BIAS) in layers]


def _is_quantized(node: Any) -> bool:  # noqa: ANN401
    """Whether a tensor was rounded to INT8 and only moved since."""
    if node.get_type_name() not in _MOVES:
        return bool(node.get_type_name() == "FakeQuantize")
    n_tensors = node.get_input_size() if node.get_type_name() == "Concat" else 1
    return all(_is_quantized(_source(node, index)) for index in range(n_tensors))


def _has_int8_weights(node: Any) -> bool:  # noqa: ANN401
    """Whether weights are stored in INT8, or rounded to it before use."""
    while node.get_type_name() in _WEIGHT_DECODING:
        node = _source(node, 0)
    if node.get_type_name() == "FakeQuantize":
        return True
    return node.get_type_name() == "Constant" and node.get_element_type().get_type_name() in _INT8


def _source(node: Any, index: int) -> Any:  # noqa: ANN401
    """Return the node that computes an input."""
    return node.input_value(index).get_node()
