"""Build torchvision's models with a classifier for the classes of the data."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from overfly.runtime.images.reading import ImageSpec
from overfly.training.models.registry import MODELS
from overfly.training.models.torchvision_import import torchvision_models


def build_model(name: str, n_classes: int) -> nn.Module:
    """Return a model with random weights (from torch's global generator) and `n_classes` outputs.

    Parameters
    ----------
    name
        A key of `overfly.training.models.registry.MODELS`.
    n_classes
        Number of logits.

    Returns
    -------
    nn.Module
        float32 ``[N, 3, H, W]`` normalized images in, float32 ``[N, n_classes]`` logits out.
    """
    build: Callable[..., Any] = getattr(torchvision_models(), name)
    model: nn.Module = build(weights=None)
    head = model.get_submodule(MODELS[name])
    model.set_submodule(MODELS[name], nn.Linear(int(head.in_features), n_classes))  # type: ignore[arg-type]
    return model


class PreprocessedModel(nn.Module):
    """A model that includes its preprocessing, as it is exported and evaluated."""

    def __init__(self, model: nn.Module, image: ImageSpec) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(image.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(image.std).view(1, 3, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Take uint8 ``[N, H, W, 3]`` RGB images and return float32 ``[N, n_classes]`` logits."""
        logits: torch.Tensor = self.model(self.normalize(images.permute(0, 3, 1, 2)))
        return logits

    def normalize(self, images: torch.Tensor) -> torch.Tensor:
        """Scale ``[N, 3, H, W]`` pixels in 0..255 to [0, 1], then normalize by the image spec's mean and deviation."""
        scaled: torch.Tensor = (images.float() / 255 - self.mean) / self.std  # type: ignore[operator]
        return scaled
