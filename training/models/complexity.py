"""Parameters and FLOPs of a model, counted like those in the paper's tables."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

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

    def counter(ops: Callable[[Any, torch.Tensor, torch.Tensor], int]) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
            nonlocal total
            total += ops(module, inputs[0], output)

        return hook

    handles = [
        module.register_forward_hook(counter(ops))
        for module in model.modules()
        for kind, ops in _OPERATIONS.items()
        if isinstance(module, kind)
    ]
    was_training = model.training
    try:
        with torch.inference_mode():
            model.eval()(torch.zeros(1, 3, image_size, image_size))
    finally:
        model.train(was_training)
        for handle in handles:
            handle.remove()
    return Complexity(sum(p.numel() for p in model.parameters()), total)


def _convolution(module: nn.Conv2d, _: torch.Tensor, output: torch.Tensor) -> int:
    """Return the multiply-accumulates of a convolution."""
    return output.numel() * (module.in_channels // module.groups) * module.kernel_size[0] * module.kernel_size[1]


def _linear(module: nn.Linear, _: torch.Tensor, output: torch.Tensor) -> int:
    """Return the multiply-accumulates of a linear layer."""
    return output.numel() * module.in_features


def _batch_norm(_: nn.BatchNorm2d, __: torch.Tensor, output: torch.Tensor) -> int:
    """Return the operations of a batch normalization."""
    return _BATCH_NORM_OPS * output.numel()


def _adaptive_pooling(_: nn.AdaptiveAvgPool2d, images: torch.Tensor, output: torch.Tensor) -> int:
    """Return an addition for each input element and a division for each output element."""
    return images.numel() + output.numel()


_OPERATIONS: dict[type[nn.Module], Callable[[Any, torch.Tensor, torch.Tensor], int]] = {
    nn.Conv2d: _convolution,
    nn.Linear: _linear,
    nn.BatchNorm2d: _batch_norm,
    nn.AdaptiveAvgPool2d: _adaptive_pooling,
}
