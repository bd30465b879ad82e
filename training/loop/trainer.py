"""The training loop: epochs over images that are in memory, on one device."""

import copy
import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.errors import RunError
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.reporter import Progress
from overfly.training.distributed.team import ALONE, Team
from overfly.training.loop.schedule import learning_rate, sam_start_step, steps_per_epoch
from overfly.training.loop.shares import BatchShares
from overfly.training.memory import is_out_of_memory
from overfly.training.models.build import PreprocessedModel
from overfly.training.models.freezing import freeze_first
from overfly.training.recipe import Recipe
from overfly.training.torch_device import resolve_precision

_EVALUATION_BATCH = 32


@dataclass(slots=True)
class EpochState:
    """The state within an epoch.

    Attributes
    ----------
    order
        int64, shape ``[N]``: the indices of the images, in the order of this epoch.
    n_done
        Completed steps.
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
    """A model in training with its optimizer, moving average and random generator.

    Between two steps, the attributes decide the rest of the training.

    Parameters
    ----------
    model
        The model with its preprocessing.
    recipe
        How to train it.
    n_images
        Size of the training part, which sets the length of the schedule.
    seed
        Seed of the shuffling, the augmentation and the dropout.
    device
        Where to compute.
    team
        The processes that compute each batch together.

    Attributes
    ----------
    shares
        Computes the gradients of a batch.
    ema_model
        The moving average of `model`, which is evaluated and kept; `model` itself if the recipe has no average.
    step, epoch
        Completed steps and epochs.
    epoch_state
        The state of an unfinished epoch, None between two epochs.
    best
        The weights of `ema_model` at the best epoch, by name; empty if none was saved.
    """

    def __init__(
        self,
        model: PreprocessedModel,
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
        self.precision = resolve_precision(recipe.precision, device)
        self.steps_per_epoch = steps_per_epoch(n_images, recipe.batch_size)
        self.n_steps = self.steps_per_epoch * recipe.epochs
        self._sam_start_step = sam_start_step(self.n_steps, recipe)
        # On a CPU, depthwise convolutions are twice as fast in this layout as in the default one.
        self.model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Another processor or version may have drawn other weights from the same seed.
        team.copy_from_first(_tensors(self.model))
        freeze_first(self.model.model, recipe.frozen_fraction)
        self.shares = BatchShares(self.model, recipe, team=team, precision=self.precision)
        self.ema_model = self.model
        if recipe.ema_decay:
            self.ema_model = copy.deepcopy(self.model).eval()
            self._averaged = list(zip(_tensors(self.ema_model), _tensors(self.model), strict=True))
        self.optimizer = _optimizer(self.model, recipe)
        self.generator = torch.Generator().manual_seed(seed)
        self.step = 0
        self.epoch = 0
        self.epoch_state: EpochState | None = None
        self.best: dict[str, torch.Tensor] = {}

    @property
    def learning_rate(self) -> float:
        """The learning rate of the last step."""
        return learning_rate(self.step - 1, self.n_steps, self.recipe)

    def run_epoch(
        self, images: ImageBatch, labels: npt.NDArray[np.int64], after_step: Callable[[int, int], None]
    ) -> tuple[float, float]:
        """Train on every image once, or finish the epoch that was started.

        Parameters
        ----------
        images
            uint8, shape ``[N, S, S, 3]``, RGB.
        labels
            int64 class indices, shape ``[N]``.
        after_step
            Called with (completed steps, steps in the epoch). If it raises, the next call continues the epoch.

        Returns
        -------
        tuple
            Mean loss, and seconds.

        Raises
        ------
        RunError
            If the loss is no longer finite, or the memory is not enough.
        """
        pixels, targets = torch.from_numpy(images), torch.from_numpy(labels)
        if self.epoch_state is None:
            self.epoch_state = EpochState(torch.randperm(len(images), generator=self.generator))
        state = self.epoch_state
        start = time.perf_counter() - state.seconds
        batches = state.order.split(self.recipe.batch_size)[: self.steps_per_epoch]
        with self.shares.run_threads():
            for index in batches[state.n_done :]:
                try:
                    state.loss += self._train_step(pixels[index], targets[index])
                except (RuntimeError, MemoryError) as error:
                    if not is_out_of_memory(error):
                        raise
                    size = self.recipe.image_size
                    raise RunError(
                        f"out of memory for a batch of {self.recipe.batch_size} images of {size} x {size} pixels: "
                        "start again with --overwrite and a smaller --batch-size or --image-size"
                    ) from error
                if not math.isfinite(state.loss):
                    raise RunError(
                        f"the training diverged: the loss is {state.loss} at step {self.step} of {self.n_steps}; "
                        "start again with --overwrite and a lower learning_rate or sam_rho"
                    )
                state.n_done += 1
                state.seconds = time.perf_counter() - start
                after_step(state.n_done, len(batches))
        self.epoch_state = None
        self.epoch += 1
        return state.loss / len(batches), state.seconds

    def _train_step(self, pixels: torch.Tensor, targets: torch.Tensor) -> float:
        """Take one optimizer step on uint8 ``[B, S, S, 3]`` images; return the loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.step, self.n_steps, self.recipe)
        self.shares.load(pixels, targets, self.generator)
        loss = self.shares.backward(update_statistics=True)
        if self.step >= self._sam_start_step:
            with self._sam_perturbation():
                self.shares.backward(update_statistics=False)
        self.optimizer.step()
        self.step += 1
        if self.recipe.ema_decay:
            self._update_ema()
        return loss

    @contextmanager
    def _sam_perturbation(self) -> Iterator[None]:
        """Inside the block, add SAM's perturbation to the weights: `sam_rho` long, in the direction of the gradients.

        Gradients computed there lead away from sharp minima (equation 2 of Foret et al., "Sharpness-Aware Minimization
        for Efficiently Improving Generalization", ICLR 2021). After the block the weights are as before.
        """
        trained = [p for p in self.model.parameters() if p.grad is not None]
        before = [p.detach().clone() for p in trained]
        with torch.no_grad():
            gradients = [p.grad for p in trained]
            norm = nn.utils.get_total_norm(gradients)
            scale = self.recipe.sam_rho / norm.clamp(min=torch.finfo(norm.dtype).tiny)
            for p, gradient in zip(trained, gradients, strict=True):
                p.add_(gradient * scale)
        yield
        with torch.no_grad():
            for p, value in zip(trained, before, strict=True):
                p.copy_(value)

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Move the averages towards the weights; faster in the first steps, in which the weights change most."""
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        for average, value in self._averaged:
            if value.is_floating_point():
                average.lerp_(value, 1 - decay)
            else:
                average.copy_(value)

    def save_best(self) -> None:
        """Save the weights of `ema_model` as the best so far."""
        self.best = {name: value.clone() for name, value in self.ema_model.state_dict().items()}

    def restore_best(self) -> None:
        """Load the best weights into `ema_model`, if any were saved; for after the last step."""
        if self.best:
            self.ema_model.load_state_dict(self.best)


@torch.inference_mode()
def predict_logits(model: nn.Module, images: ImageBatch, *, progress: Progress | None = None) -> Logits:
    """Return a model's logits, computed in batches in eval mode on the model's device.

    Parameters
    ----------
    model
        Takes uint8 ``[N, S, S, 3]``; put into eval mode.
    images
        uint8, shape ``[N, S, S, 3]``, RGB.
    progress
        Called with (completed images, all images).

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


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return the recipe's optimizer; weight decay applies only to parameters of two or more dimensions."""
    trained = [p for p in model.parameters() if p.requires_grad]
    weights = [p for p in trained if p.ndim > 1]
    others = [p for p in trained if p.ndim <= 1]
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    # Fused: on a CPU, one after another would take longer than the forward pass of a small image.
    return kind(groups, lr=recipe.learning_rate, fused=True)


def _tensors(model: nn.Module) -> Iterator[torch.Tensor]:
    """Return the parameters and buffers of a model."""
    return itertools.chain(model.parameters(), model.buffers())
