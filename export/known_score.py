"""The known score: how much an image looks like those that the model was trained on, as a second output of the IR.

The score is the sum of two parts, each standardized on the held-out images:

- the cosine between the features of an image, which the last layer reads, and the mean features of the nearest class,
  both seen from the mean of all training images. It is low for scenes of other classes;
- minus 0.75 times the Mahalanobis distance of the mean activations in the middle of the network from those of the
  training images (Lee et al., "A simple unified framework for detecting out-of-distribution samples", 2018). It is low
  for what no camera sees from above, such as noise or one color, of which the last layer may be sure.

docs/unknown.md compares this score with others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from openvino import opset13 as ops

from overfly.export.ir import run_outputs
from overfly.runtime.bundle.manifest import KNOWN_SCORE, KnownScore
from overfly.runtime.images.reading import ImageBatch

# The share of images like the held-out ones that a threshold is expected to accept, if there are enough of them.
ACCEPTANCE = 0.99
# More images change the statistics little and take time.
N_STATISTICS, N_HELD_OUT = 2000, 1000

# The middle of a network: its last activations of at least a tenth of the image's side. In MobileNetV2 and ResNet that
# is an eighth.
_MIDDLE = 10
# Added to the correlation matrix of the activations, which has ones on its diagonal: some channels are nearly equal.
_RIDGE = 0.01
# The weight of the distance. With more, other classes are harder to tell; with less, drawings are. See docs/unknown.md.
_WEIGHT = 0.75
# Instead of a division by zero.
_TINY = 1e-6
# Smaller deviations of a part would magnify how f32 rounds.
_LEAST_DEVIATION = 1e-3

Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Taps:
    """Where the score reads a network, each an ``openvino.Output``.

    Attributes
    ----------
    middle
        Activations in the middle, shape ``[N, channels, rows, columns]``.
    features
        What the last layer reads, shape ``[N, n_features]``.
    """

    middle: Any
    features: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownScoreWeights:
    """What the score is computed with; float64.

    Attributes
    ----------
    center
        Mean features of the training images, shape ``[n_features]``.
    centroids
        Mean features of each class minus `center`, with the length 1: shape ``[n_classes, n_features]``.
    mean, whitening
        Of the mean activations in the middle, shapes ``[channels]`` and ``[channels, channels]``: the length of
        ``(activations - mean) @ whitening`` is the Mahalanobis distance divided by the root of the number of channels.
    similarity, distance
        Mean and standard deviation of both parts on the held-out images.
    """

    center: Values
    centroids: Values
    mean: Values
    whitening: Values
    similarity: tuple[float, float] = (0.0, 1.0)
    distance: tuple[float, float] = (0.0, 1.0)

    @classmethod
    def fit(
        cls,
        training: tuple[Values, Values],
        labels: npt.NDArray[np.int64],
        held_out: tuple[Values, Values],
    ) -> "KnownScoreWeights":
        """Return the weights for a network.

        Parameters
        ----------
        training
            Mean activations in the middle, shape ``[N, channels]``, and features, shape ``[N, n_features]``, of
            training images.
        labels
            Class indices of these images, shape ``[N]``. A class without an image is nobody's nearest.
        held_out
            The same as `training` of images that were not trained on.
        """
        middle, features = training
        centroids = np.stack([features[labels == label].mean(axis=0) for label in np.unique(labels)])
        deviation = middle.std(axis=0) + _TINY
        normalized = (middle - middle.mean(axis=0)) / deviation
        n_images, n_channels = middle.shape
        precision = np.linalg.inv(normalized.T @ normalized / n_images + _RIDGE * np.eye(n_channels))
        whitening = np.linalg.cholesky(precision) / (deviation[:, np.newaxis] * np.sqrt(n_channels))
        center = features.mean(axis=0)
        raw = cls(center=center, centroids=_unit(centroids - center), mean=middle.mean(axis=0), whitening=whitening)
        similarity, distance = raw.parts(*held_out)
        return replace(raw, similarity=_mean_and_deviation(similarity), distance=_mean_and_deviation(distance))

    def parts(self, middle: Values, features: Values) -> tuple[Values, Values]:
        """Return the cosine and the distance of images, each of shape ``[N]``."""
        distance = np.linalg.norm((middle - self.mean) @ self.whitening, axis=1)
        return (_unit(features - self.center) @ self.centroids.T).max(axis=1), distance

    def scores(self, middle: Values, features: Values) -> Values:
        """Return the score of images, shape ``[N]``: high if they look like training images."""
        similarity, distance = self.parts(middle, features)
        scores: Values = (similarity - self.similarity[0]) / self.similarity[1]
        scores -= _WEIGHT * (distance - self.distance[0]) / self.distance[1]
        return scores


def acceptance_threshold(scores: npt.NDArray[np.floating[Any]], acceptance: float = ACCEPTANCE) -> float:
    """Return the score that a share of all images like these is expected to reach.

    It is the quantile with the plotting position of Weibull (1939): of n images, the k-th smallest score is expected to
    reject k of n + 1 further images. With less than 99 images it is the smallest score, which is expected to accept
    n of n + 1: 98.8% for 84 images.
    """
    return float(np.quantile(scores, 1 - acceptance, method="weibull"))


def find_taps(model: Any) -> Taps | None:  # noqa: ANN401 - ov.Model has no stub
    """Return where the score reads a network, INT8 or not; None if it does not end in a linear layer with a bias."""
    total = model.output(0).get_node().input_value(0).get_node()
    product = total.input_value(0).get_node() if total.get_type_name() == "Add" else total
    if product.get_type_name() != "MatMul":
        return None
    smallest = model.input(0).get_partial_shape()[1].get_length() / _MIDDLE
    convolutions = [op.input_value(0) for op in model.get_ordered_ops() if op.get_type_name() == "Convolution"]
    *_, middle = [None, *(each for each in convolutions if each.get_partial_shape()[2].get_length() >= smallest)]
    return None if middle is None else Taps(middle, product.input_value(0))


def read_taps(model: Any, images: ImageBatch) -> tuple[Values, Values]:  # noqa: ANN401 - ov.Model has no stub
    """Return the mean activations in the middle of a network that has taps, and the features: float64, ``[N, ...]``.

    Parameters
    ----------
    model
        An ``openvino.Model``; it is not changed.
    images
        uint8, shape ``[N, size, size, 3]``, RGB.
    """
    tapped = model.clone()
    taps = find_taps(tapped)
    assert taps is not None  # noqa: S101 - the caller's promise, for mypy
    tapped.add_outputs([ops.reduce_mean(taps.middle, [2, 3]).output(0), taps.features])
    # The network may have a known score before these outputs.
    *_, middle, features = run_outputs(tapped, images)
    return middle.astype(np.float64), features.astype(np.float64)


def add_known_score(model: Any, weights: KnownScoreWeights) -> None:  # noqa: ANN401 - ov.Model has no stub
    """Append the score to a network that has taps, as its second output: float32 of shape ``[N]``, in floating point.

    Parameters
    ----------
    model
        An ``openvino.Model``, which is changed.
    weights
        Of this network.
    """
    taps = find_taps(model)
    assert taps is not None  # noqa: S101 - the caller's promise, for mypy

    def number(values: Any) -> Any:  # noqa: ANN401 - a number or an array; an ov.Node, which has no stub
        return ops.constant(np.asarray(values, dtype=np.float32))

    activations = ops.subtract(ops.reduce_mean(taps.middle, [2, 3]), number(weights.mean))
    whitened = ops.matmul(activations, number(weights.whitening), False, False)
    distance = ops.sqrt(ops.reduce_sum(ops.multiply(whitened, whitened), [1]))
    features = ops.subtract(taps.features, number(weights.center))
    products = ops.matmul(features, number(weights.centroids.T), False, False)
    length = ops.sqrt(ops.reduce_sum(ops.multiply(features, features), [1]))
    similarity = ops.divide(ops.reduce_max(products, [1]), ops.maximum(length, number(_TINY)))
    of_similarity, of_distance = (
        ops.multiply(ops.subtract(part, number(mean)), number(factor / deviation))
        for part, factor, (mean, deviation) in (
            (similarity, 1.0, weights.similarity),
            (distance, -_WEIGHT, weights.distance),
        )
    )
    score = ops.add(of_similarity, of_distance)
    score.set_friendly_name(KNOWN_SCORE)
    score.output(0).set_names({KNOWN_SCORE})
    model.add_outputs([score.output(0)])


def run_known_score(model: Any, images: ImageBatch) -> npt.NDArray[np.float32]:  # noqa: ANN401 - ov.Model
    """Return the score of images by a model with `add_known_score`, computed on the CPU in f32: float32, ``[N]``."""
    return run_outputs(model, images)[1]


def known_score_record(thresholds: Mapping[str, float], n_training_images: int, n_held_out: int) -> KnownScore:
    """Return what the manifest says of the score.

    Few held-out images can't show what 99% of all images reach: see `acceptance_threshold`.
    """
    return KnownScore(
        method=(
            "cosine to the nearest class, "
            f"minus {_WEIGHT:g} times the Mahalanobis distance in the middle of the network"
        ),
        n_training_images=n_training_images,
        acceptance=min(ACCEPTANCE, n_held_out / (n_held_out + 1)),
        part="val",
        n_images=n_held_out,
        thresholds=dict(thresholds),
    )


def _mean_and_deviation(part: Values) -> tuple[float, float]:
    """Return the mean and the standard deviation of a part of the score."""
    return float(part.mean()), max(float(part.std()), _LEAST_DEVIATION)


def _unit(rows: Values) -> Values:
    """Return rows with the length 1."""
    unit: Values = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
    return unit
