"""The processes, on one machine or several, that train one model together; PyTorch's ``torchrun`` starts them."""

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import distributed as dist
from torch import nn

from overfly.runtime.errors import DeviceError, OverflyError, TeamError
from overfly.training.distributed.network import interface_towards
from overfly.training.memory import is_out_of_memory

if TYPE_CHECKING:
    from overfly.training.identity import TrainingIdentity

T = TypeVar("T")

# A process that dies is noticed at once, a machine that stops responding only after this time. It must be longer than
# the first process takes to evaluate the model, because the others wait for it.
_TIMEOUT = timedelta(minutes=30)


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train together. Without arguments, this process alone.

    Every process runs the same training with the same random numbers, and computes its share of each batch. `wrap`,
    `mean`, `any`, `from_first` and `check_same` communicate: all processes must call them, in the same order.

    Attributes
    ----------
    rank
        Index of this process. Process 0 leads: it alone writes files and reports progress.
    size
        Number of processes.
    local_rank
        Index of this process on its machine, and of the GPU that it uses.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process is the one that writes files and reports progress."""
        return self.rank == 0

    def splits(self, n_images: int) -> bool:
        """Return whether a batch is large enough for each process to get at least two images."""
        return n_images >= 2 * self.size

    def share(self, n_images: int) -> slice:
        """Return which images of a batch this process computes.

        The sizes of the shares differ by at most one image. If the batch is too small to give each process two images,
        every process computes all of it, because batch normalization needs more than one.
        """
        if not self.splits(n_images):
            return slice(0, n_images)
        return slice(n_images * self.rank // self.size, n_images * (self.rank + 1) // self.size)

    def weight(self, n_images: int) -> float:
        """Return the factor for this share's mean, with which the mean over all processes is the mean of the batch."""
        if not self.splits(n_images):
            return 1.0
        return self.size * len(range(n_images)[self.share(n_images)]) / n_images

    def own_device(self, device: torch.device) -> torch.device:
        """Return the device of the given kind that belongs to this process.

        Raises
        ------
        DeviceError
            If there are fewer GPUs than processes on this machine, or the kind is neither CPU nor CUDA.
        """
        if self.size == 1 or device.type == "cpu":
            return device
        if device.type != "cuda":
            raise DeviceError(f"several processes can't train on {device.type}: add --device cpu or --device cuda")
        found = torch.cuda.device_count()
        if self.local_rank >= found:
            raise DeviceError(
                f"process {self.local_rank + 1} of this machine has no GPU of its own, because PyTorch found {found}: "
                "start as many processes as there are GPUs, or add --device cpu"
            )
        torch.cuda.set_device(self.local_rank)
        return torch.device("cuda", self.local_rank)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model wrapped so that ``backward`` averages the gradients of all processes."""
        if self.size == 1:
            return model
        with self.explain_lost_peer():
            return nn.parallel.DistributedDataParallel(model)

    def mean(self, value: float) -> float:
        """Return the mean of the values of all processes."""
        if self.size == 1:
            return value
        total = torch.tensor(value, dtype=torch.float64)
        with self.explain_lost_peer():
            dist.all_reduce(total)
        return float(total) / self.size

    def any(self, *, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        return self.mean(float(flag)) > 0

    def from_first(self, make: Callable[[], T]) -> T:
        """Call `make` in the first process only, and return its result in every process."""
        if self.size == 1:
            return make()
        box = [make() if self.leads else None]
        with self.explain_lost_peer():
            dist.broadcast_object_list(box, device=torch.device("cpu"))
        return box[0]  # type: ignore[return-value]

    def check_same(self, identity: "TrainingIdentity") -> None:
        """Check that this process was started with the same training as the first one.

        Raises
        ------
        TeamError
            If it was not; the message names the first difference.
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
        """Turn PyTorch's errors of communication inside the block into one sentence.

        Raises
        ------
        TeamError
            If PyTorch lost the connection to another process.
        """
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or isinstance(error, OverflyError) or is_out_of_memory(error):
                raise
            # PyTorch puts its source line before the first sentence, and guesses about the cause after it.
            reason = re.sub(r"^\[\S*\] ", "", str(error).partition("\n")[0]).partition(". ")[0]
            raise TeamError(
                f"process {self.rank} of {self.size} lost the connection to another process ({reason}): check "
                "that process's output, then restart all of them with the same command and --resume"
            ) from error


ALONE = Team()


@contextmanager
def join() -> Iterator[Team]:
    """Connect to the other processes that ``torchrun`` started; without ``torchrun``, yield `ALONE`.

    Raises
    ------
    TeamError
        If the others can't be reached.
    """
    if not (dist.is_available() and dist.is_torchelastic_launched()):
        yield ALONE
        return
    interface = interface_towards(os.environ.get("MASTER_ADDR", ""))
    if interface is not None:
        # Gloo would use the address of the machine's own name, which other machines often can't reach.
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    try:
        backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
        dist.init_process_group(backend, timeout=_TIMEOUT)
    except RuntimeError as error:
        raise TeamError(f"the other processes can't be reached: {error}") from error
    yield Team(dist.get_rank(), dist.get_world_size(), dist.get_node_local_rank())
    # Not after an error: it would wait for a process that is gone.
    dist.destroy_process_group()
