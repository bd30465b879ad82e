"""Messages and progress that a person sees during a training."""

from collections.abc import Sequence

from overfly.runtime.bundle.labels import similar_labels
from overfly.runtime.images.discovery import passed_over_note
from overfly.runtime.reporter import Reporter, count_and_name, duration
from overfly.training.data.dataset import Dataset, group_by_content
from overfly.training.data.layout import part_named
from overfly.training.loop.history import Epoch
from overfly.training.loop.schedule import n_backward_passes
from overfly.training.loop.trainer import Trainer
from overfly.training.near_duplicates import NearDuplicate

_N_SHOWN = 3


def data_notes(dataset: Dataset) -> list[str]:
    """Return what a person should know about the data before the training starts."""
    notes = []
    if dataset.ignored:
        more = f" and {len(dataset.ignored) - 1} more" if len(dataset.ignored) > 1 else ""
        notes.append(f"ignored {dataset.ignored[0]}{more}: not an image, by its name")
    if dataset.outside:
        notes.append(f"ignored {count_and_name(dataset.outside, 'image')} outside of the class folders")
    if dataset.passed_over:
        notes.append(passed_over_note(dataset.passed_over))
    notes += [
        f"the classes {' and '.join(map(ascii, names))} differ only in case, Unicode form or blanks: if they are one "
        "class, move all images into one folder; if not, rename one"
        for names in similar_labels(dataset.classes)
    ]
    inner = {name.split("/")[1] for name in (image.name for image in dataset.images) if name.count("/") > 1}
    if not dataset.parts and len({part_named(name) for name in inner} - {None}) > 1:
        found = ", ".join(sorted(name for name in inner if part_named(name)))
        notes.append(
            f"the folders {found} within the class folders do not divide the images: if they should, put the class "
            "folders into folders of these names"
        )
    return notes + _duplicate_notes(dataset)


def _duplicate_notes(dataset: Dataset) -> list[str]:
    """Return a note about equal images in different classes, and one about equal images in the same class."""
    conflicts: list[str] = []
    repeated: list[str] = []
    for first, *others in group_by_content(dataset.images).values():
        for image in others:
            pair = f"{first.name} and {image.name}"
            (repeated if image.label == first.label else conflicts).append(pair)
    notes = []
    if conflicts:
        pairs = count_and_name(conflicts, "pair")
        notes.append(f"label conflict: equal images are in different classes, {pairs}; keep each image in one class")
    if repeated:
        pairs = count_and_name(repeated, "pair")
        notes.append(f"equal images are in the same class, {pairs}; they go to the same part of the split")
    return notes


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
