"""The shares of a batch: each is normalized by itself, and computed in a thread of its own.

PyTorch's own threads divide every single operation. They wait for each other after each one, and spin while they wait:
beside another program, a training on two of them was slower than on one. The threads here wait once per backward pass.
"""

import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.training.distributed.layers import share_batch_norm
from overfly.training.distributed.team import Piece, Team
from overfly.training.loop.augment import augment
from overfly.training.models.build import PreprocessedModel
from overfly.training.models.freezing import FrozenStatistics, train_mode_except_frozen
from overfly.training.recipe import Recipe


class BatchShares:
    """Computes the gradients of a batch, share by share.

    The recipe sets the number of shares, on which the result depends. How many threads or processes compute them
    changes only the order in which sums are rounded.

    Parameters
    ----------
    model
        The model, on its device. Its parameters get the gradients, and its batch normalizations the statistics.
    recipe
        How to train it.
    team
        The processes that compute each batch together.
    precision
        ``fp32`` or ``bf16``.
    """

    def __init__(self, model: PreprocessedModel, recipe: Recipe, *, team: Team, precision: str) -> None:
        self._team = team
        self._n_shares = recipe.batch_shares
        self._parameters = list(model.model.parameters())
        self._statistics = _trained_statistics(model.model, recipe)
        replicas = [_replica(model.model, recipe) for _ in range(max(1, self._n_shares // team.size))]
        if self._statistics and team.size > self._n_shares:
            share_batch_norm(replicas[0], team.group(self._n_shares), lambda: self._workers[0].piece)
        self._workers = [_Worker(model, replica, recipe, precision) for replica in replicas]
        self._n_busy = 0
        self._map: Callable[..., Iterator[torch.Tensor]] = map

    @contextmanager
    def run_threads(self) -> Iterator[None]:
        """Inside the block, compute the shares in threads: on a CPU, as many as there are shares and cores for them.

        The threads divide the cores that PyTorch would use. The calling thread, which waits for them, uses one.
        """
        n_cores = torch.get_num_threads()
        on_cpu = self._parameters[0].device.type == "cpu"
        n_threads = min(n_cores, len(self._workers)) if on_cpu else 1
        if n_threads == 1:
            yield
            return
        torch.set_num_threads(1)
        try:
            with ThreadPoolExecutor(n_threads, initializer=_use_cores, initargs=(n_cores // n_threads,)) as pool:
                self._map = pool.map
                yield
        finally:
            self._map = map
            torch.set_num_threads(n_cores)

    def load(self, pixels: torch.Tensor, targets: torch.Tensor, generator: torch.Generator) -> None:
        """Take the next batch.

        Parameters
        ----------
        pixels
            uint8, shape ``[B, S, S, 3]``.
        targets
            int64 class indices, shape ``[B]``.
        generator
            Draws a seed for each share.
        """
        seeds = torch.randint(2**63 - 1, (self._n_shares,), generator=generator).tolist()
        pieces = self._team.pieces(len(pixels), self._n_shares)
        for worker, piece in zip(self._workers, pieces, strict=False):
            worker.load(piece, pixels[piece.share], targets[piece.share], seeds[piece.index])
        self._n_busy = len(pieces)

    def backward(self, *, update_statistics: bool) -> float:
        """Set the gradients of the model to those of the whole batch; return its loss.

        Parameters
        ----------
        update_statistics
            Whether the batch counts for the statistics of the batch normalizations, which become the mean over the
            shares.
        """
        busy = self._workers[: self._n_busy]
        exchanges = self._statistics and self._team.size > self._n_shares
        with self._team.explain_lost_peer() if exchanges else nullcontext():
            losses = list(self._map(lambda worker: worker.backward(self._statistics), busy))
        with torch.no_grad():
            results = [torch.stack(losses).sum()]
            for parameter, *copies in zip(self._parameters, *(w.replica.parameters() for w in busy), strict=True):
                parameter.grad, *others = (copied.grad for copied in copies)
                if parameter.grad is not None:
                    for other in others:
                        parameter.grad.add_(other)
                    results.append(parameter.grad)
            if update_statistics:
                for buffer, *copies in zip(self._statistics, *(w.statistics for w in busy), strict=True):
                    if buffer.is_floating_point():
                        torch.mean(torch.stack(copies), dim=0, out=buffer)
                        results.append(buffer.div_(self._team.size))
                    else:
                        buffer.copy_(copies[0])
            self._team.add_up(results)
        return float(results[0])


class _Worker:
    """Computes one share of each batch.

    Parameters
    ----------
    model
        Normalizes the images.
    replica
        From `_replica`.
    recipe
        How to train it.
    precision
        ``fp32`` or ``bf16``.

    Attributes
    ----------
    statistics
        Those of the replica.
    piece
        What it computes of the current batch.
    """

    def __init__(self, model: PreprocessedModel, replica: nn.Module, recipe: Recipe, precision: str) -> None:
        self.replica = replica
        self.statistics = _trained_statistics(replica, recipe)
        self._forward = FrozenStatistics(replica) if recipe.batch_norm == "frozen" else replica
        self._model = model
        self._recipe = recipe
        self._precision = precision
        # On the CPU, so that a seed gives the same images on every device.
        self._generator = torch.Generator()

    def load(self, piece: Piece, pixels: torch.Tensor, targets: torch.Tensor, seed: int) -> None:
        """Take the images and the targets of a share, of which to compute a piece, and the seed of its randomness."""
        self.piece = piece
        self._pixels = pixels
        self._images: torch.Tensor | None = None
        self._targets = targets[piece.rows]
        self._generator.manual_seed(seed)

    def backward(self, statistics: list[torch.Tensor]) -> torch.Tensor:
        """Compute the replica's gradients; return the piece's part of the batch's loss.

        Parameters
        ----------
        statistics
            Of the batch normalizations, before this batch.
        """
        if self._images is None:
            self._images = prepare(self._model, self._pixels, self._recipe, self._generator)[self.piece.rows]
        with torch.no_grad():
            for ours, given in zip(self.statistics, statistics, strict=True):
                ours.copy_(given)
        self.replica.zero_grad(set_to_none=True)
        device = self._images.device
        with _draw_dropout(self._generator, self.piece):
            with torch.autocast(device.type, torch.bfloat16, enabled=self._precision == "bf16"):
                logits = self._forward(self._images).float()
            mean = F.cross_entropy(logits, self._targets.to(device), label_smoothing=self._recipe.label_smoothing)
            loss: torch.Tensor = self.piece.weight * mean
            loss.backward()
        return loss.detach()


def prepare(model: PreprocessedModel, pixels: torch.Tensor, recipe: Recipe, generator: torch.Generator) -> torch.Tensor:
    """Return images as the network takes them in training: augmented and normalized.

    Parameters
    ----------
    model
        Normalizes them.
    pixels
        uint8, shape ``[B, S, S, 3]``.
    recipe
        Gives the augmentation.
    generator
        Random generator, on the CPU.

    Returns
    -------
    Tensor
        float32, shape ``[B, 3, S, S]``, on the model's device, in the ``channels_last`` layout.
    """
    device = next(model.parameters()).device
    augmented = augment(pixels.permute(0, 3, 1, 2).to(device), recipe, generator)
    return model.normalize(augmented).contiguous(memory_format=torch.channels_last)


class SeededDropout(nn.Module):
    """Dropout that draws from the generator of its worker, because all threads share PyTorch's own.

    Parameters
    ----------
    p
        Probability of a zero.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Apply dropout to a piece of the batch, shape ``[b, ...]``; the noise is drawn for its whole share."""
        piece: Piece = _of_this_thread.piece
        noise = torch.empty(piece.n_images, *features.shape[1:])
        noise.bernoulli_(1 - self.p, generator=_of_this_thread.generator).div_(1 - self.p)
        return features * noise[piece.rows].to(features)


_of_this_thread = threading.local()


@contextmanager
def _draw_dropout(generator: torch.Generator, piece: Piece) -> Iterator[None]:
    """Inside the block, let `SeededDropout` in this thread draw from a generator, for a piece of a batch."""
    _of_this_thread.generator, _of_this_thread.piece = generator, piece
    yield


def _replica(network: nn.Module, recipe: Recipe) -> nn.Module:
    """Return a copy of a network in training mode, for a thread of its own.

    It uses the same memory for the parameters. It has its own gradients, and its own statistics of the batch
    normalizations that are trained.
    """
    # What deepcopy uses in place of a copy.
    same: dict[int, Any] = {id(p): nn.Parameter(p.detach(), p.requires_grad) for p in network.parameters()}
    own = {id(buffer) for buffer in _trained_statistics(network, recipe)}
    same |= {id(buffer): buffer for buffer in network.buffers() if id(buffer) not in own}
    replica = copy.deepcopy(network, same)
    for name, module in list(replica.named_modules()):
        if isinstance(module, nn.Dropout):
            replica.set_submodule(name, SeededDropout(module.p))
    train_mode_except_frozen(replica)
    return replica


def _trained_statistics(network: nn.Module, recipe: Recipe) -> list[torch.Tensor]:
    """Return the statistics of the batch normalizations that are trained."""
    if recipe.batch_norm == "frozen":
        return []
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d) and m.weight.requires_grad]
    return [buffer for norm in norms for buffer in norm.buffers()]


def _use_cores(n_cores: int) -> None:
    """Let PyTorch use a number of cores in this thread."""
    # The first question sets the number of the process, which would otherwise happen later and undo the next line.
    torch.get_num_threads()
    torch.set_num_threads(n_cores)
