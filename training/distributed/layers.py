"""Batch normalization over a share of the batch that several processes compute together."""

from collections.abc import Callable

import torch
from torch import distributed as dist
from torch import nn

from overfly.training.distributed.team import Piece


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalization by the mean and variance of a whole share, of which each process of a group has a piece.

    PyTorch's own ``SyncBatchNorm`` only runs on a GPU.

    Parameters
    ----------
    norm
        The layer to replace. Its parameters and statistics are shared, not copied.
    group
        The processes that compute the share; None stands for all.
    piece
        Called for the piece of this process.
    """

    # PyTorch allows None for a layer without statistics, which no model here has.
    momentum: float
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(self, norm: nn.BatchNorm2d, group: dist.ProcessGroup | None, piece: Callable[[], Piece]) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(norm, name))
        self.train(norm.training)
        self._group = group
        self._piece = piece

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalize this process's piece of the share, shape ``[n, C, H, W]``."""
        if not self.training or self._piece().n_images == len(images):
            return super().forward(images)
        n_values = self._piece().n_images * images[0, 0].numel()
        values = images.float()
        # The mean comes first: as the difference of two large sums, the variance would be lost in rounding.
        mean = self._total(values.sum(dim=(0, 2, 3), keepdim=True)) / n_values
        centered = values - mean
        variance = self._total(centered.square().sum(dim=(0, 2, 3), keepdim=True)) / n_values
        with torch.no_grad():
            unbiased = variance.flatten() * n_values / (n_values - 1)
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        return (centered * scale + self.bias[:, None, None]).to(images.dtype)

    def _total(self, ours: torch.Tensor) -> torch.Tensor:
        """Return the sum over the group, with a gradient."""
        total: torch.Tensor = _Total.apply(ours, self._group)  # type: ignore[no-untyped-call]
        return total


class _Context(torch.autograd.function.FunctionCtx):
    """What `_Total` keeps for its gradient."""

    group: dist.ProcessGroup | None


class _Total(torch.autograd.Function):
    """The sum over a group of processes. Its gradient is the sum of their gradients."""

    @staticmethod
    def forward(context: "_Context", ours: torch.Tensor, group: dist.ProcessGroup | None) -> torch.Tensor:
        context.group = group
        total = ours.clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(context: "_Context", gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _Total.forward(context, gradient, context.group), None


def share_batch_norm(model: nn.Module, group: dist.ProcessGroup | None, piece: Callable[[], Piece]) -> None:
    """Replace a model's batch normalization layers by ones that see the whole share; see `SharedBatchNorm`.

    The model is changed in place; its parameters and statistics stay the same objects.
    """
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.BatchNorm2d):
            model.set_submodule(name, SharedBatchNorm(module, group, piece))
