"""Temperature scaling: probabilities that say how often the model is right (Guo et al. 2017, On Calibration).

Label smoothing makes a model sound less sure than it can be, and a long training more. Dividing all logits by one number,
the temperature, changes no class. Fitted on images that the model was not trained on, the probabilities hold there.
"""

from typing import cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.bundle.manifest import TemperatureScaling
from overfly.runtime.images.reading import ImageBatch
from overfly.training.loop.augment import N_SYMMETRIES, apply_symmetry
from overfly.training.loop.trainer import predict_logits
from overfly.training.models.build import PreprocessedModel
from overfly.training.models.registry import MODELS

# Limits of the temperature. The upper one is reached if the classes of the images are guessed.
_LOWEST, _HIGHEST = 0.05, 20.0
# Enough to halve the interval of the limits until it is shorter than what float64 resolves.
_N_HALVINGS = 60


def calibrate(
    model: PreprocessedModel, name: str, images: ImageBatch, labels: npt.NDArray[np.int64]
) -> TemperatureScaling:
    """Divide the logits of a model by the temperature that suits the images of the validation part.

    The model sees each image in the 8 symmetries of the square, because an aerial image has no upright orientation. This
    makes the temperature of few images more exact.

    Parameters
    ----------
    model
        The weights of its last layer are divided by the temperature.
    name
        A key of `overfly.training.models.registry.MODELS`.
    images, labels
        uint8 of shape ``[N, S, S, 3]``, and the class indices of shape ``[N]``, with N of at least 1.
    """
    views = torch.from_numpy(images).permute(0, 3, 1, 2)
    logits = [
        predict_logits(model, apply_symmetry(views, index).permute(0, 2, 3, 1).numpy()) for index in range(N_SYMMETRIES)
    ]
    temperature = fit_temperature(np.concatenate(logits), np.tile(labels, N_SYMMETRIES), n_images=len(labels))
    head = cast("nn.Linear", model.model.get_submodule(MODELS[name]))
    with torch.no_grad():
        head.weight /= temperature
        head.bias /= temperature
    return TemperatureScaling(temperature=temperature, part="val", n_images=len(labels))


def fit_temperature(logits: Logits, labels: npt.NDArray[np.int64], *, n_images: int | None = None) -> float:
    """Return the temperature that minimizes the negative log likelihood of the labels.

    If all images are right, the likelihood asks for a temperature of 0. So each label counts as ``1 - e`` of the class and
    ``e`` of all classes evenly, with ``e = 1 / (n_images + 2)``, as Platt (1999, Probabilistic Outputs for Support Vector
    Machines) does for the same reason: `n_images` right answers in a row do not prove that the next is right.

    Parameters
    ----------
    logits
        Shape ``[N, n_classes]``.
    labels
        Class indices, shape ``[N]``.
    n_images
        Number of images, if several rows are views of one image; None stands for N.
    """
    rows = logits.astype(np.float64)
    rows -= rows.max(axis=1, keepdims=True)
    share = 1 / ((len(rows) if n_images is None else n_images) + 2)
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
