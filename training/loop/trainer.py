"""The training loop: epochs over images held in memory, on one device."""

import copy
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.runtime.errors import RunError
from overfly.runtime.images.reading import ImageBatch
from overfly.training.distributed.team import ALONE, Team, share_batch
from overfly.training.loop.augment import augment
from overfly.training.memory import is_out_of_memory
from overfly.training.models.build import PreprocessedModel
from overfly.training.models.freezing import FrozenStatistics, freeze_first, train_mode_except_frozen
from overfly.training.recipe import Recipe

_EVALUATION_BATCH = 32


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the training part came to; a row of ``history.csv``.

    Attributes
    ----------
    epoch
        Counted from 1.
    loss
        Mean training loss (cross-entropy in nats, with the recipe's label smoothing).
    val_accuracy
        Top-1 accuracy on the validation part, as a fraction; None when there is no such part.
    learning_rate
        At the epoch's end.
    images_per_second
        Training throughput by wall clock, evaluation left out.
    seconds
        Wall clock of the epoch, evaluation left out.
    """

    epoch: int
    loss: float
    val_accuracy: float | None
    learning_rate: float
    images_per_second: float
    seconds: float


@dataclass(slots=True)
class EpochState:
    """A pass over the training part that is under way.

    Attributes
    ----------
    order
        int64, shape ``[N]``: the images' indices in the order of this pass.
    n_done
        Steps taken.
    loss
        Sum of their losses.
    seconds
        Wall clock so far.
    """

    order: torch.Tensor
    n_done: int = 0
    loss: float = 0.0
    seconds: float = 0.0


class Trainer:
    """A model in training, with its optimizer, its averaged weights and its source of chance.

    Between any two steps, its attributes are all that decides the rest of the training.

    Parameters
    ----------
    deployed
        The model with its preprocessing.
    recipe
        How to train it.
    n_images
        Size of the training part, which sets the schedule's length.
    seed
        Seed of the shuffling and the augmentation.
    device
        Where to compute.
    team
        The processes that compute each batch together.
    """

    def __init__(
        self,
        deployed: PreprocessedModel,
        recipe: Recipe,
        *,
        n_images: int,
        seed: int,
        device: torch.device,
        team: Team = ALONE,
    ) -> None:
        self.recipe = recipe
        self.device = device
        self.team = team
        # Twice the speed of the default layout for depthwise convolutions on a CPU.
        self.live = deployed.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.precision = resolve_precision(recipe.precision, device)
        freeze_first(self.live.model, recipe.frozen_fraction)
        share_batch(self.live.model, team, lambda: self._batch_size)
        logits = FrozenStatistics(self.live.model) if recipe.batch_norm == "frozen" else self.live.model
        self.logits = team.wrap(logits)
        self.averaged = copy.deepcopy(self.live).eval() if recipe.ema_decay else self.live
        self.optimizer = _optimizer(self.live, recipe)
        self.generator = torch.Generator().manual_seed(seed)
        self.n_images = n_images
        self.step = 0
        self.epoch = 0
        self.current: EpochState | None = None
        self.best: dict[str, torch.Tensor] = {}
        self._batch_size = recipe.batch_size

    @property
    def steps_per_epoch(self) -> int:
        """Batches in an epoch; a last batch of a single image is left out, as batch-norm can't take it."""
        n_full, rest = divmod(self.n_images, self.recipe.batch_size)
        return n_full + (rest > 1)

    @property
    def n_steps(self) -> int:
        """Steps of the whole training."""
        return self.steps_per_epoch * self.recipe.epochs

    @property
    def sam_start_step(self) -> int:
        """The first step, counted from 0, that takes its gradients uphill of the weights; beyond all if none does."""
        n_uphill = int(self.recipe.sam_fraction * self.n_steps)
        return self.n_steps - n_uphill if self.recipe.sam_rho and n_uphill else sys.maxsize

    def n_backward_passes(self, n_steps: int) -> int:
        """Return how often the first `n_steps` steps take gradients, which is what they take time for."""
        return n_steps + max(0, n_steps - self.sam_start_step)

    def run_epoch(
        self, images: ImageBatch, labels: npt.NDArray[np.int64], progress: Callable[[int, int], None]
    ) -> tuple[float, float]:
        """Train on every image once, or go on with the pass that is under way.

        Parameters
        ----------
        images
            uint8, shape ``[N, S, S, 3]``, RGB.
        labels
            int64 class indices, shape ``[N]``.
        progress
            Called after each step with (steps done, steps in the epoch). What it raises leaves the
            pass under way, to be gone on with.

        Returns
        -------
        tuple
            Mean loss, and seconds.

        Raises
        ------
        RunError
            When the loss is no longer finite, or the memory does not suffice.
        """
        train_mode_except_frozen(self.live.model)
        pixels, targets = torch.from_numpy(images), torch.from_numpy(labels)
        if self.current is None:
            self.current = EpochState(torch.randperm(len(images), generator=self.generator))
        current = self.current
        start = time.perf_counter() - current.seconds
        batches = current.order.split(self.recipe.batch_size)[: self.steps_per_epoch]
        for index in batches[current.n_done :]:
            with self._explain_out_of_memory():
                current.loss += self._train_step(pixels[index], targets[index])
            if not math.isfinite(current.loss):
                raise RunError(
                    f"the training has diverged: the loss is {current.loss} at step {self.step} of {self.n_steps}; "
                    "start again with --overwrite and a lower learning_rate or sam_rho"
                )
            current.n_done += 1
            current.seconds = time.perf_counter() - start
            progress(current.n_done, len(batches))
        self.current = None
        self.epoch += 1
        return current.loss / len(batches), current.seconds

    @contextmanager
    def _explain_out_of_memory(self) -> Iterator[None]:
        """Inside the block, turn PyTorch's lack of memory into what to do about it."""
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size = self.recipe.image_size
            raise RunError(
                f"the memory does not suffice for a step of {self.recipe.batch_size} images of {size} x {size} pixels: "
                "start again with --overwrite and a smaller --batch-size or --image-size"
            ) from error

    def save_best(self) -> None:
        """Remember the averaged weights as the best so far."""
        self.best = {name: value.clone() for name, value in self.averaged.state_dict().items()}

    def restore_best(self) -> None:
        """Make the averaged weights those that were marked as the best, if any were; for after the last step."""
        if self.best:
            self.averaged.load_state_dict(self.best)

    def learning_rate(self, step: int) -> float:
        """Return the learning rate of a step: a linear warm-up, then constant or half a cosine down to 0."""
        recipe = self.recipe
        n_warmup = recipe.warmup_fraction * self.n_steps
        if step < n_warmup:
            return recipe.learning_rate * (step + 1) / math.ceil(n_warmup)
        if recipe.schedule == "constant":
            return recipe.learning_rate
        return recipe.learning_rate * (1 + math.cos(math.pi * (step - n_warmup) / (self.n_steps - n_warmup))) / 2

    def prepare(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return uint8 ``[B, S, S, 3]`` images as the model takes them in training: changed at random, normalised.

        float32, shape ``[B, 3, S, S]``, on the trainer's device, in the ``channels_last`` layout.
        """
        changed = augment(pixels.permute(0, 3, 1, 2).to(self.device), self.recipe, self.generator)
        batch: torch.Tensor = self.live.normalize(changed).contiguous(memory_format=torch.channels_last)
        return batch

    def _train_step(self, pixels: torch.Tensor, targets: torch.Tensor) -> float:
        """Take one optimizer step on uint8 ``[B, S, S, 3]`` images; return the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        batch = self.prepare(pixels)
        self._batch_size = len(targets)
        share = self.team.share(len(targets))
        batch, targets = batch[share], targets[share].to(self.device)
        loss = self._gradients(batch, targets)
        if self.step >= self.sam_start_step:
            with self._climbed():
                self._gradients(batch, targets)
        self.optimizer.step()
        self.step += 1
        if self.recipe.ema_decay:
            self._average()
        return self.team.mean(float(loss))

    def _gradients(self, batch: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Set the gradients to those of the whole batch at the weights as they are; return this share's loss.

        Takes this process's share: what `prepare` returns, shape ``[b, 3, S, S]``, and int64 class indices, ``[b]``.
        """
        self.optimizer.zero_grad(set_to_none=True)
        with self.team.explain_lost_peer():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
                logits = self.logits(batch).float()
            loss = F.cross_entropy(logits, targets, label_smoothing=self.recipe.label_smoothing)
            loss = self.team.weight(self._batch_size) * loss
            loss.backward()
        return loss.detach()

    @contextmanager
    def _climbed(self) -> Iterator[None]:
        """Inside the block, have the weights moved by `sam_rho` to where, by their gradients, the loss is highest.

        Gradients taken there lead away from minima that are sharp (equation 2 of Foret et al., "Sharpness-Aware
        Minimization for Efficiently Improving Generalization", ICLR 2021). Afterwards the weights are as before, and so
        are batch normalisation's statistics, in which a batch counts once.
        """
        before = copy.deepcopy(self.live.state_dict())
        steepest = [(p, p.grad) for p in self.live.parameters() if p.grad is not None]
        with torch.no_grad():
            norm = nn.utils.get_total_norm([gradient for _, gradient in steepest])
            scale = self.recipe.sam_rho / norm.clamp(min=torch.finfo(norm.dtype).tiny)
            for p, gradient in steepest:
                p.add_(gradient * scale)
        yield
        self.live.load_state_dict(before)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged weights towards the live ones; faster at first, when they are still far off."""
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        live = self.live.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(live[name], 1 - decay)
            else:
                value.copy_(live[name])


@torch.inference_mode()
def predict_logits(
    model: nn.Module, images: ImageBatch, *, progress: Callable[[int, int], None] | None = None
) -> npt.NDArray[np.float32]:
    """Return a deployed model's logits, computed in batches in eval mode on the model's own device.

    Parameters
    ----------
    model
        Takes uint8 ``[N, S, S, 3]``; put into eval mode.
    images
        uint8, shape ``[N, S, S, 3]``, RGB.
    progress
        Called with (images done, all images).

    Returns
    -------
    ndarray
        float32, shape ``[N, n_classes]``.
    """
    model.eval()
    device = next(model.parameters()).device
    rows = []
    for start in range(0, len(images), _EVALUATION_BATCH):
        batch = torch.from_numpy(images[start : start + _EVALUATION_BATCH]).to(device)
        rows.append(model(batch).float().cpu().numpy())
        if progress is not None:
            progress(min(start + _EVALUATION_BATCH, len(images)), len(images))
    return np.concatenate(rows)


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return ``bf16`` or ``fp32`` for a recipe's precision; ``auto`` asks whether the device multiplies bf16 matrices.

    A device without bf16 instructions emulates them, several times slower than fp32. On a CPU that has AVX512-BF16 but
    no AMX, bf16 was measured to be the slower one as well (docs/training.md).
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "xpu":
        native = torch.xpu.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu.get_capabilities().get("amx_bf16", False)
    return "bf16" if native else "fp32"


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; weight decay only on weights of two or more dimensions."""
    learnt = [p for p in model.parameters() if p.requires_grad]
    weights = [p for p in learnt if p.ndim > 1]
    others = [p for p in learnt if p.ndim <= 1]
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return kind(groups, lr=recipe.learning_rate)
