"""Class activation maps: what each part of an image adds to the logit of a class."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.bundle import Bundle, Logits
from overfly.runtime.errors import ExplanationError
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.compile import compile_for_single_images, read_variant, supported_config

# float32, shape [n_classes, rows, columns].
Maps = npt.NDArray[np.float32]

# The variants whose last layer has plain weights, the more accurate first.
_VARIANTS = ("fp32", "fp16")
# The maps are computed on the CPU, which every installation of OpenVINO has.
_DEVICE = "CPU"
# What may stand between the pooling and the linear layer: operations that move values and change none.
_MOVES = frozenset({"Convert", "Gather", "Reshape", "Squeeze", "Unsqueeze"})
_SPATIAL_AXES = {2, 3}
# The largest difference between a logit and the sum of its map, as a share of the largest logit: f32 sums over
# thousands of features.
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a network: global average pooling, then one linear layer.

    Attributes
    ----------
    features
        OpenVINO's output that the pooling averages, of shape ``[1, channels, rows, columns]``.
    weights
        float32, shape ``[n_classes, channels]``.
    bias
        float32, shape ``[n_classes]``.
    """

    features: Any
    weights: Logits
    bias: Logits


@dataclass(frozen=True, slots=True)
class ActivationMaps:
    """Computes class activation maps of a bundle (Zhou et al., CVPR 2016).

    A network that ends in global average pooling and one linear layer adds up its logits from the parts of an image.
    So a map is exact: its sum, plus the bias of the class, is the logit. The network is the fp32 variant (or fp16, if
    the bundle has no fp32), computed in f32 on the CPU, whichever variant and device classify. An INT8 variant has the
    same weights and features, rounded, so its own map would be the same up to that rounding.

    Attributes
    ----------
    variant
        The variant that the maps are of.
    bias
        The bias of each class, float32 of shape ``[n_classes]``.
    """

    variant: str
    bias: Logits
    _weights: Logits
    _compiled: Any

    @classmethod
    def of(cls, bundle: Bundle) -> "ActivationMaps":
        """Compile the network of a bundle with the features before its pooling as a second output.

        Raises
        ------
        ExplanationError
            If the network has another end than pooling and one linear layer, or the bundle has neither fp32 nor fp16.
        BundleError
            If a file is missing, altered or unreadable.
        """
        variant = next((name for name in _VARIANTS if name in bundle.manifest.variants), None)
        if variant is None:
            raise ExplanationError(
                f"{bundle.path} has no variant for activation maps: it holds {', '.join(bundle.manifest.variants)}, "
                "expected fp32 or fp16; export the run with --variant fp32"
            )
        model = read_variant(bundle, variant)
        size = bundle.manifest.image.size
        model.reshape([1, size, size, 3])
        head = find_head(model)
        problem = (
            f"{bundle.manifest.model} has no class activation maps: they need a network that ends in global average "
            "pooling and one linear layer"
        )
        if head is None:
            raise ExplanationError(problem)
        model.add_outputs([head.features])
        config = supported_config(_DEVICE, hint="latency", execution_precision="f32")
        maps = cls(variant, head.bias, head.weights, compile_for_single_images(model, _DEVICE, config))
        if not maps._are_exact(size):
            raise ExplanationError(problem)
        return maps

    def explain(self, image: ImageBatch) -> Maps:
        """Return the maps of an image.

        Parameters
        ----------
        image
            uint8, shape ``[size, size, 3]``, RGB.

        Returns
        -------
        ndarray
            float32, shape ``[n_classes, rows, columns]``, from top left: what each part of the image adds to the logit
            of each class. The sum of a map plus `bias` of the class is its logit.
        """
        features, _ = self._infer(image)
        rows, columns = features.shape[1:]
        maps: Maps = np.tensordot(self._weights / np.float32(rows * columns), features, axes=1)
        return maps

    def _infer(self, image: ImageBatch) -> tuple[Maps, Logits]:
        """Return the features, float32 of shape ``[channels, rows, columns]``, and the logits."""
        outputs = self._compiled(image[np.newaxis])
        # The model may have a known score as its second output.
        return np.array(outputs[len(outputs) - 1][0]), np.array(outputs[0][0])

    def _are_exact(self, size: int) -> bool:
        """Return whether the maps add up to the logits, tried on noise."""
        image = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
        _, logits = self._infer(image)
        sums = self.explain(image).sum(axis=(1, 2)) + self.bias
        return bool(np.abs(sums - logits).max() <= _TOLERANCE * max(1.0, float(np.abs(logits).max())))


def find_head(model: Any) -> Head | None:  # noqa: ANN401 - ov.Model, which has no stub
    """Return the end of a network of fixed shape whose first output is its logits; None if it has another shape.

    The graph is followed backwards from the logits: the sum with the bias, the product with the weights, operations
    that only move values, and the mean over rows and columns.
    """
    node = model.output(0).get_node().input_value(0).get_node()
    if not _is(node, "Add"):
        return None
    bias, product = _constant(node.input_value(1)), node.input_value(0).get_node()
    weights = _constant(product.input_value(1)) if _is(product, "MatMul") else None
    if bias is None or weights is None or product.get_attributes()["transpose_a"]:
        return None
    if not product.get_attributes()["transpose_b"]:
        weights = weights.T
    pooling = product.input_value(0).get_node()
    while _is(pooling, *_MOVES):
        pooling = pooling.input_value(0).get_node()
    return Head(pooling.input_value(0), weights, bias.reshape(-1)) if _averages_all(pooling) else None


def _averages_all(node: Any) -> bool:  # noqa: ANN401 - ov.Node, which has no stub
    """Return whether an operation is the mean over all rows and columns of ``[1, channels, rows, columns]``."""
    if not _is(node, "ReduceMean", "AvgPool") or len(node.input_value(0).get_partial_shape()) != 4:  # noqa: PLR2004
        return False
    if _is(node, "AvgPool"):
        return bool(list(node.output(0).get_shape())[2:] == [1, 1])
    axes = _constant(node.input_value(1))
    return axes is not None and {int(axis) % 4 for axis in axes.reshape(-1)} == _SPATIAL_AXES


def _constant(output: Any) -> Logits | None:  # noqa: ANN401 - ov.Output, which has no stub
    """Return the value of a constant, also of one that is stored in f16, as float32; None if it is none."""
    node = output.get_node()
    if _is(node, "Convert"):
        node = node.input_value(0).get_node()
    return np.array(node.data, dtype=np.float32) if _is(node, "Constant") else None


def _is(node: Any, *types: str) -> bool:  # noqa: ANN401 - ov.Node, which has no stub
    """Return whether an operation is of one of these types."""
    return node.get_type_name() in types
