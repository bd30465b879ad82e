"""The processes, on one machine or several, that train one model together; PyTorch's ``torchrun`` starts them."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import distributed as dist

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
class Piece:
    """What a process computes at once of a batch: a share of it, or a part of a share.

    Attributes
    ----------
    index
        Index of the share.
    share
        The share's images in the batch; they are normalized together.
    rows
        The piece's images in the share.
    weight
        Factor for the mean over the piece, so that the sum over all pieces is the mean over the batch.
    """

    index: int
    share: slice
    rows: slice
    weight: float

    @property
    def n_images(self) -> int:
        """Number of images in the share."""
        n_images: int = self.share.stop - self.share.start
        return n_images


@dataclass(frozen=True, slots=True)
class Team:
    """The processes that train together. Without arguments, this process alone.

    Every process runs the same training with the same random numbers, and computes its pieces of each batch. `group`,
    `add_up`, `copy_from_first`, `any`, `from_first` and `check_same` communicate: all processes must call them, in the
    same order.

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

    def check_divides(self, n_shares: int) -> None:
        """Check that each process gets equally many shares of a batch, or each share equally many processes.

        Raises
        ------
        TeamError
            If it does not.
        """
        if self.size % n_shares and n_shares % self.size:
            raise TeamError(
                f"{self.size} processes can't divide the {n_shares} shares of a batch evenly: start another number of "
                f"processes, or start a new training with --set batch_shares={self.size}"
            )

    def pieces(self, n_images: int, n_shares: int) -> list[Piece]:
        """Return what this process computes of a batch that is divided into shares, in the order of the shares.

        The sizes of the shares differ by at most one image. They are divided among the processes; if there are more
        processes than shares, each share is divided further. Batch normalization needs more than one image. So a batch
        that is too small to give every share two images is one share. A share that is too small to give each of its
        processes two is not divided: each of them computes all of it.
        """
        if n_images < 2 * n_shares:
            return [Piece(0, slice(0, n_images), slice(0, n_images), 1 / self.size)]
        n_cuts = n_shares if n_images < 2 * self.size else max(n_shares, self.size)
        bounds = [n_images * cut // n_cuts for cut in range(n_cuts + 1)]
        per_share = n_cuts // n_shares
        # How many processes compute the same piece.
        n_times = max(1, self.size // n_cuts)
        pieces = []
        first, last = self.rank * n_cuts // self.size, ((self.rank + 1) * n_cuts - 1) // self.size
        for cut in range(first, last + 1):
            index = cut // per_share
            start, stop = bounds[index * per_share], bounds[(index + 1) * per_share]
            rows = slice(bounds[cut] - start, bounds[cut + 1] - start)
            pieces.append(Piece(index, slice(start, stop), rows, (rows.stop - rows.start) / n_images / n_times))
        return pieces

    def group(self, n_shares: int) -> dist.ProcessGroup | None:
        """Return the processes that compute the same share as this one; None stands for all."""
        if n_shares == 1 or self.size <= n_shares:
            return None
        # Every process has to make every group.
        per_share = self.size // n_shares
        with self.explain_lost_peer():
            groups = [dist.new_group(list(range(i, i + per_share))) for i in range(0, self.size, per_share)]
        return groups[self.rank // per_share]  # type: ignore[no-any-return]

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

    def add_up(self, tensors: Sequence[torch.Tensor]) -> None:
        """Replace each tensor by its sum over all processes."""
        if self.size == 1:
            return
        total = torch.cat([tensor.flatten() for tensor in tensors])
        with self.explain_lost_peer():
            dist.all_reduce(total)
        for tensor, values in zip(tensors, total.split([tensor.numel() for tensor in tensors]), strict=True):
            tensor.copy_(values.view_as(tensor))

    def copy_from_first(self, tensors: Iterable[torch.Tensor]) -> None:
        """Replace each tensor by that of the first process."""
        if self.size > 1:
            with self.explain_lost_peer():
                for tensor in tensors:
                    dist.broadcast(tensor, src=0)

    def any(self, *, flag: bool) -> bool:
        """Return whether the flag is set in any process."""
        n_flags = torch.tensor(float(flag))
        self.add_up([n_flags])
        return bool(n_flags > 0)

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
