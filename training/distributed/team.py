"""Several processes, on one machine or more, that train one model together; PyTorch's ``torchrun`` starts them."""

import ipaddress
import os
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import psutil
import torch
from torch import distributed as dist
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.runtime.errors import DeviceError, OverflyError, TeamError
from overfly.training.memory import is_out_of_memory

if TYPE_CHECKING:
    from overfly.training.identity import TrainingIdentity

T = TypeVar("T")

# A process that dies is noticed at once, and a machine that falls silent after this. The first process judges the
# weights while the others wait for it, so it must be more than that takes.
_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train together; made without arguments, this process alone.

    Every process goes through the same training with the same random numbers, and computes its share of each batch.
    All of a team's methods but `splits`, `share` and `weight` must be called by all processes, in the same order.

    Attributes
    ----------
    rank
        Number of this process, from 0. The first one leads: it alone writes and tells.
    size
        How many there are.
    local_rank
        Number of this process on its machine, and of the GPU that it takes.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes and tells."""
        return self.rank == 0

    def splits(self, n_images: int) -> bool:
        """Return whether a batch of so many images is large enough for each process to have at least two of it."""
        return n_images >= 2 * self.size

    def share(self, n_images: int) -> slice:
        """Return which of a batch's images are this process's.

        Shares are of the same size or differ by one image. A batch too small for two images each is
        computed whole by every process, as batch normalisation can't take a single one.
        """
        if not self.splits(n_images):
            return slice(0, n_images)
        return slice(n_images * self.rank // self.size, n_images * (self.rank + 1) // self.size)

    def weight(self, n_images: int) -> float:
        """Return the weight of the mean over a share, for the mean over all processes to be that over the batch."""
        if not self.splits(n_images):
            return 1.0
        return self.size * len(range(n_images)[self.share(n_images)]) / n_images

    def place(self, device: torch.device) -> torch.device:
        """Return this process's own device of a kind.

        Raises
        ------
        DeviceError
            When there are fewer GPUs than processes on this machine, or the kind is neither CPU nor CUDA.
        """
        if self.size == 1 or device.type == "cpu":
            return device
        if device.type != "cuda":
            raise DeviceError(f"several processes can't train on {device.type}: add --device cpu or --device cuda")
        found = torch.cuda.device_count()
        if self.local_rank >= found:
            raise DeviceError(
                f"process {self.local_rank + 1} of this machine finds no GPU of its own, only {found}: "
                "start as many processes as there are GPUs, or add --device cpu"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model such that ``backward`` leaves the mean of all processes' gradients."""
        if self.size == 1:
            return model
        with self.explain_lost_peer():
            return nn.parallel.DistributedDataParallel(model)

    def mean(self, value: float) -> float:
        """Return the mean of the processes' values."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        with self.explain_lost_peer():
            dist.all_reduce(total)
        return float(total) / self.size

    def any(self, *, wish: bool) -> bool:
        """Return whether a process wishes it."""
        return self.mean(float(wish)) > 0

    def from_first(self, make: Callable[[], T]) -> T:
        """Return what the first process makes; the others only wait for it."""
        if self.size == 1:
            return make()
        box = [make() if self.leads else None]
        with self.explain_lost_peer():
            dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]  # type: ignore[return-value]

    def require_same(self, identity: "TrainingIdentity") -> None:
        """Raise if this process was given another training than the first one.

        Raises
        ------
        TeamError
            Naming the first choice that differs.
        """
        difference = identity.first_difference(self.from_first(lambda: identity))
        if difference is not None:
            name, ours, first = difference
            raise TeamError(
                f"process {self.rank} has {name} = {ours}, and process 0 has {first}: "
                "start all with the same command, on the same data"
            )

    @contextmanager
    def explain_lost_peer(self) -> Iterator[None]:
        """Inside the block, say of PyTorch's errors what they mean: that another process is gone.

        Raises
        ------
        TeamError
            For what PyTorch raises when it can't reach another process.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or isinstance(error, OverflyError) or is_out_of_memory(error):
                raise
            # PyTorch puts the place in its source before, and its guesses after the first sentence.
            reason = re.sub(r"^\[\S*\] ", "", str(error).partition("\n")[0]).partition(". ")[0]
            raise TeamError(
                f"process {self.rank} of {self.size} lost touch with another one ({reason}): see what that one says, "
                "then start all again with the same command and --resume"
            ) from error


ALONE = Team()


@contextmanager
def join() -> Iterator[Team]:
    """Give the team of the processes that ``torchrun`` started, or this process alone if it did not.

    Raises
    ------
    TeamError
        When the others can't be reached.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield ALONE
        return
    interface = interface_towards(os.environ.get("MASTER_ADDR", ""))
    if interface is not None:
        # By itself, gloo takes the address that the machine's name stands for, which often is one of its own only.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    try:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=_PATIENCE)
    except RuntimeError as error:
        raise TeamError(f"the other processes can't be reached: {error}") from error
    yield Team(dist.get_rank(), dist.get_world_size(), dist.get_node_local_rank())
    # Not after an error: with a process gone, this would wait for it.
    dist.destroy_process_group()


def interface_towards(host: str) -> str | None:
    """Return the name of the network interface by which this machine reaches a host.

    None for this machine itself, for a host that can't be found, and where the name would stand for another address:
    gloo takes the first one of an interface.

    Parameters
    ----------
    host
        Its name or address. Nothing is sent to it.
    """
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, 1, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            ours: str = probe.getsockname()[0]
        interfaces = psutil.net_if_addrs()
    except (OSError, UnicodeError):
        return None  # of a host that isn't there, torchrun says so
    if ipaddress.ip_address(ours).is_loopback:
        return None
    for name, addresses in interfaces.items():
        first = next((found for found in addresses if found.family in {socket.AF_INET, socket.AF_INET6}), None)
        if first is not None and first.address == ours:
            return str(name)
    return None


class SharedDropout(nn.Module):
    """Dropout that draws for the whole batch and takes its share, so that every image meets the noise it would alone.

    Parameters
    ----------
    p
        Probability of a zero.
    team
        Who shares.
    n_images
        Says how many images the whole batch has.
    """

    def __init__(self, p: float, team: Team, n_images: Callable[[], int]) -> None:
        super().__init__()
        self.p = p
        self._team = team
        self._n_images = n_images

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Take and return the features of a share of the batch, shape ``[n, ...]``."""
        if not self.training:
            return images
        n_images = self._n_images()
        noise = F.dropout(images.new_ones(n_images, *images.shape[1:]), self.p)
        return images * noise[self._team.share(n_images)]


class SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation by the mean and variance of the whole batch, of which each process has its share.

    PyTorch's own ``SyncBatchNorm`` needs a GPU.

    Parameters
    ----------
    norm
        Whose parameters and statistics it takes over.
    team
        Who shares.
    n_images
        Says how many images the whole batch has.
    """

    # PyTorch allows None, for a layer without statistics; the models here have none such.
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
        """Take and return the activations of a share of the batch, shape ``[n, C, H, W]``."""
        n_images = self._n_images()
        if not self.training or not self._team.splits(n_images):
            return super().forward(images)
        n_values = n_images * images[0, 0].numel()
        values = images.float()
        # The mean first, as the difference of two large sums would lose the variance in rounding.
        mean = _total(values.sum(dim=(0, 2, 3), keepdim=True)) / n_values
        centred = values - mean
        variance = _total(centred.square().sum(dim=(0, 2, 3), keepdim=True)) / n_values
        with torch.no_grad():
            unbiased = variance.flatten() * n_values / (n_values - 1)
            self.running_mean.lerp_(mean.flatten(), self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked += 1
        scale = self.weight[:, None, None] * torch.rsqrt(variance + self.eps)
        return (centred * scale + self.bias[:, None, None]).to(images.dtype)


class _Total(torch.autograd.Function):
    """The sum over the processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(_context: object, ours: torch.Tensor) -> torch.Tensor:
        total = ours.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_context: object, gradient: torch.Tensor) -> torch.Tensor:
        return _Total.forward(_context, gradient)


def _total(ours: torch.Tensor) -> torch.Tensor:
    """Return the sum over the processes."""
    total: torch.Tensor = _Total.apply(ours)  # type: ignore[no-untyped-call]
    return total


def share_batch(model: nn.Module, team: Team, n_images: Callable[[], int]) -> None:
    """Make a model's dropout and batch normalisation those of a whole batch, of which each process has its share.

    Parameters
    ----------
    model
        Changed in place; its parameters stay the same objects. For a process alone nothing changes.
    team
        Who shares.
    n_images
        Says how many images the whole batch has.
    """
    if team.size == 1:
        return
    for name, module in list(model.named_modules()):
        if isinstance(module, nn.Dropout):
            model.set_submodule(name, SharedDropout(module.p, team, n_images))
        elif isinstance(module, nn.BatchNorm2d):
            model.set_submodule(name, SharedBatchNorm(module, team, n_images))
