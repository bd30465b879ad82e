"""Temperature scaling: probabilities that say how often the model is right (Guo et al. 2017, On Calibration).

Label smoothing makes a model sound less sure than it is, and a long training more. Dividing all logits by one number,
the temperature, changes no class. It is fitted on images that the model was not trained on.
"""

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.bundle.manifest import TemperatureScaling
from overfly.runtime.images.reading import ImageBatch
from overfly.training.loop.trainer import predict_logits
from overfly.training.models.build import PreprocessedModel
from overfly.training.models.registry import MODELS

# Limits of the temperature. The upper one is reached if the model only guesses.
_LOWEST, _HIGHEST = 0.05, 20.0
# Enough to halve the interval of the limits until it is shorter than what float64 resolves.
_N_HALVINGS = 60


def calibrate(
    model: PreprocessedModel, name: str, images: ImageBatch, labels: npt.NDArray[np.int64]
) -> TemperatureScaling:
    """Divide the logits of a model by the temperature that suits the images of the validation part.

    Parameters
    ----------
    model
        The weights of its last layer are divided by the temperature.
    name
        A key of `overfly.training.models.registry.MODELS`.
    images, labels
        uint8 of shape ``[N, S, S, 3]``, and the class indices of shape ``[N]``, with N of at least 1.
    """
    temperature = fit_temperature(predict_logits(model, images), labels)
    head = cast("nn.Linear", model.model.get_submodule(MODELS[name]))
    with torch.no_grad():
        head.weight.div_(temperature)
        head.bias.div_(temperature)
    return TemperatureScaling(temperature=temperature, part="val", n_images=len(labels))


def fit_temperature(logits: Logits, labels: npt.NDArray[np.int64]) -> float:
    """Return the temperature that minimizes the negative log likelihood of smoothed labels.

    If all N images are right, the likelihood of their labels asks for a temperature of 0. But N right answers do not
    prove that the next one is right: with Jeffreys' prior, the expected share of wrong ones is then ``0.5 / (N + 1)``.
    Each label gives this share to all classes evenly. docs/default_recipe.md compares it with other shares.

    Parameters
    ----------
    logits
        Shape ``[N, n_classes]``.
    labels
        Class indices, shape ``[N]``.
    """
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    share = 0.5 / (len(rows) + 1)
    wanted = ((1 - share) * rows[np.arange(len(rows)), labels] + share * rows.mean(axis=1)).mean()

    def slope(inverse: float) -> float:
        """Return the derivative of the negative log likelihood by the inverse temperature; it only rises."""
        weights = np.exp(inverse * rows)
        return float(((weights * rows).sum(axis=1) / weights.sum(axis=1)).mean() - wanted)

    low, high = 1 / _HIGHEST, 1 / _LOWEST
    for _ in range(_N_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
    return 1 / high
