"""Dropout and batch normalization over a batch that several processes share."""

from collections.abc import Callable

import torch
from torch import distributed as dist
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.training.distributed.team import Team


class SharedDropout(nn.Module):
    """Dropout that draws the mask of the whole batch and uses this process's share, as one process alone would.

    Parameters
    ----------
    p
        Probability of a zero.
    team
        The processes that share the batch.
    n_images
        Called for the number of images in the whole batch.
    """

    def __init__(self, p: float, team: Team, n_images: Callable[[], int]) -> None:
        super().__init__()
        self.p = p
        self._team = team
        self._n_images = n_images

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Apply dropout to this process's share of the batch, shape ``[n, ...]``."""
        if not self.training:
            return images
        n_images = self._n_images()
        noise = F.dropout(images.new_ones(n_images, *images.shape[1:]), self.p)
        return images * noise[self._team.share(n_images)]


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalization by the mean and variance of the whole batch, of which each process has a share.

    PyTorch's own ``SyncBatchNorm`` only runs on a GPU.

    Parameters
    ----------
    norm
        The layer to replace. Its parameters and statistics are shared, not copied.
    team
        The processes that share the batch.
    n_images
        Called for the number of images in the whole batch.
    """

    # PyTorch allows None for a layer without statistics, which no model here has.
    momentum: float
    running_mean: torch.Tensor
    running_var: torch.Tensor
    num_batches_tracked: torch.Tensor

    def __init__(self, norm: nn.BatchNorm2d, team: Team, n_images: Callable[[], int]) -> None:
        super().__init__(norm.num_features, eps=norm.eps, momentum=norm.momentum)
        for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked"):
            setattr(self, name, getattr(norm, name))
        self.train(norm.training)
        self._team = team
        self._n_images = n_images

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Normalize this process's share of the batch, shape ``[n, C, H, W]``."""
        n_images = self._n_images()
        if not self.training or not self._team.splits(n_images):
            return super().forward(images)
        n_values = n_images * images[0, 0].numel()
        values = images.float()
        # The mean comes first: as the difference of two large sums, the variance would be lost in rounding.
        mean = _total(values.sum(dim=(0, 2, 3), keepdim=True)) / n_values
        centered = values - mean
        variance = _total(centered.square().sum(dim=(0, 2, 3), keepdim=True)) / n_values
        with torch.no_grad():
            unbiased = variance.flatten() * n_values / (n_values - 1)
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        return (centered * scale + self.bias[:, None, None]).to(images.dtype)


class _Total(torch.autograd.Function):
    """The sum over all processes. Its gradient is the sum of their gradients."""

    @staticmethod
    def forward(_context: object, ours: torch.Tensor) -> torch.Tensor:
        total = ours.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: object, gradient: torch.Tensor) -> torch.Tensor:
        return _Total.forward(_context, gradient)


def _total(ours: torch.Tensor) -> torch.Tensor:
    """Return the sum over all processes, with a gradient."""
    total: torch.Tensor = _Total.apply(ours)  # type: ignore[no-untyped-call]
    return total


def share_batch(model: nn.Module, team: Team, n_images: Callable[[], int]) -> None:
    """Replace a model's dropout and batch normalization layers by ones that see the whole batch.

    Parameters
    ----------
    model
        Changed in place; its parameters stay the same objects. With a single process nothing changes.
    team
        The processes that share the batch.
    n_images
        Called for the number of images in the whole batch.
    """
    if team.size == 1:
        return
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Dropout):
            model.set_submodule(name, SharedDropout(module.p, team, n_images))
        elif isinstance(module, nn.BatchNorm2d):
            model.set_submodule(name, SharedBatchNorm(module, team, n_images))
