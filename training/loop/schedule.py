"""What changes from step to step: the learning rate, SAM, and what a step costs. Steps are counted from 0."""

import math
import sys

from overfly.training.recipe import Recipe


def steps_per_epoch(n_images: int, batch_size: int) -> int:
    """Return the steps of an epoch; a last batch of one image is left out, as batch normalization fails on it."""
    n_full, n_left = divmod(n_images, batch_size)
    return n_full + (n_left > 1)


def learning_rate(step: int, n_steps: int, recipe: Recipe) -> float:
    """Return the learning rate of a step of `n_steps`."""
    n_warmup = recipe.warmup_fraction * n_steps
    # 1) A linear warm-up.
    if step < n_warmup:
        return recipe.learning_rate * (step + 1) / math.ceil(n_warmup)
    # 2) After it, constant ...
    if recipe.schedule == "constant":
        return recipe.learning_rate
    # 3) ... or half a cosine down to 0.
    return recipe.learning_rate * (1 + math.cos(math.pi * (step - n_warmup) / (n_steps - n_warmup))) / 2


def sam_start_step(n_steps: int, recipe: Recipe) -> int:
    """Return the first step of `n_steps` that uses SAM; all later ones use it, too. ``sys.maxsize`` if none does."""
    n_sam_steps = int(recipe.sam_fraction * n_steps)
    return n_steps - n_sam_steps if recipe.sam_rho and n_sam_steps else sys.maxsize


def n_backward_passes(n_done: int, n_steps: int, recipe: Recipe) -> int:
    """Return the backward passes of the first `n_done` steps of `n_steps`: their cost, as a step with SAM has two."""
    return n_done + max(0, n_done - sam_start_step(n_steps, recipe))
