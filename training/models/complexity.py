"""Parameters and FLOPs of a model, counted like those in the paper's tables."""

import math
from dataclasses import dataclass

import torch
from torch import nn

# A scale and a shift by the statistics, and another by the learned parameters.
_BATCH_NORM_OPS = 4


@dataclass(frozen=True, slots=True)
class Complexity:
    """The size of a model.

    Attributes
    ----------
    params
        Number of parameters, including those that a recipe freezes.
    flops
        Operations for one image: multiply-accumulates of convolutions and linear layers counted once, plus 4 for each
        output element of a batch normalization, plus the additions and the division of adaptive average pooling.
        Other layers are not counted. This convention reproduces the paper's figures (426.0928 M for MobileNetV2).
    """

    params: int
    flops: int


def count(model: nn.Module, *, image_size: int) -> Complexity:
    """Count a model's parameters, and its operations on one image.

    Parameters
    ----------
    model
        A model of float32 ``[1, 3, image_size, image_size]``. It runs once, in eval mode.
    image_size
        Height and width in pixels.
    """
    total = 0

    def add_operations(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        total += _operations(layer, inputs[0], output)

    handles = [module.register_forward_hook(add_operations) for module in model.modules()]
    was_training = model.training
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, image_size, image_size))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return Complexity(sum(p.numel() for p in model.parameters()), total)


def _operations(layer: nn.Module, values: torch.Tensor, output: torch.Tensor) -> int:
    """Return the operations with which a layer computes `output` from `values`."""
    if isinstance(layer, nn.Conv2d):
        return output.numel() * (layer.in_channels // layer.groups) * math.prod(layer.kernel_size)
    if isinstance(layer, nn.Linear):
        return output.numel() * layer.in_features
    if isinstance(layer, nn.BatchNorm2d):
        return _BATCH_NORM_OPS * output.numel()
    if isinstance(layer, nn.AdaptiveAvgPool2d):
        # An addition for each input element, and a division for each output element.
        return values.numel() + output.numel()
    return 0
