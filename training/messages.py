"""Messages and progress that a person sees during a training."""

from collections.abc import Sequence

from overfly.runtime.reporter import Reporter, duration
from overfly.training.loop.history import Epoch
from overfly.training.loop.schedule import n_backward_passes
from overfly.training.loop.trainer import Trainer
from overfly.training.near_duplicates import NearDuplicate
from overfly.training.recipe import Recipe

_N_SHOWN = 3
# Shares of 8 images were measured to cost accuracy, shares of 16 were not (docs/default_recipe.md, "Two shares of a
# batch").
_FEWEST_IN_SHARE = 16


def near_duplicate_notes(pairs: Sequence[NearDuplicate] | None) -> list[str]:
    """Return what a person should know about near-duplicates in different parts of the split."""
    if pairs is None:
        return ["near-duplicates were not searched for, because there are too many pairs of images"]
    notes = [
        f"{pair.first} ({pair.first_part}) and {pair.second} ({pair.second_part}) are near-duplicates in different "
        "parts of the split; the test score may be too high"
        for pair in pairs[:_N_SHOWN]
    ]
    if len(pairs) > _N_SHOWN:
        notes.append(f"{len(pairs) - _N_SHOWN} more pairs of near-duplicates; run.json will list all")
    return notes


def share_notes(recipe: Recipe) -> list[str]:
    """Return a note if the shares of a batch are so small that batch normalization costs accuracy."""
    n_images = recipe.batch_size // recipe.batch_shares
    if recipe.batch_shares == 1 or recipe.batch_norm == "frozen" or n_images >= _FEWEST_IN_SHARE:
        return []
    return [
        (
            f"each share of a batch has {n_images} images, and batch normalization with fewer than {_FEWEST_IN_SHARE} "
            "costs accuracy: --set batch_shares=1 leaves batches whole"
        )
    ]


def report_progress(reporter: Reporter, trainer: Trainer, done: int, total: int) -> None:
    """Report the progress of this epoch and of all epochs."""
    # Backward passes instead of steps: steps with SAM come last and take twice as long.
    so_far, overall = (
        n_backward_passes(n_done, trainer.n_steps, trainer.recipe) for n_done in (trainer.step, trainer.n_steps)
    )
    reporter.progress("all epochs", so_far, overall)
    reporter.progress(f"epoch {trainer.epoch + 1} of {trainer.recipe.epochs}", done, total)


def epoch_row(epoch: Epoch, trainer: Trainer) -> dict[str, str]:
    """Return the epoch that has just ended as a row of the table that a person sees."""
    n_epochs = trainer.recipe.epochs
    before, now, at_the_end = (
        n_backward_passes(n_done, trainer.n_steps, trainer.recipe)
        for n_done in (trainer.step - trainer.steps_per_epoch, trainer.step, trainer.n_steps)
    )
    row = {"epoch": f"{epoch.epoch:>{len(str(n_epochs))}} of {n_epochs}", "loss": f"{epoch.loss:.4f}"}
    if epoch.val_accuracy is not None:
        row["validation accuracy"] = f"{epoch.val_accuracy:.2%}"
    row["images/s"] = f"{epoch.images_per_second:.1f}"
    row["time left"] = duration((at_the_end - now) / (now - before) * epoch.seconds)
    return row


def position(trainer: Trainer) -> str:
    """Return the last completed step or epoch, such as ``step 3 of 105 in epoch 2 of 40``."""
    n_epochs = trainer.recipe.epochs
    if trainer.epoch_state is None:
        return f"epoch {trainer.epoch} of {n_epochs}"
    return f"step {trainer.epoch_state.n_done} of {trainer.steps_per_epoch} in epoch {trainer.epoch + 1} of {n_epochs}"
