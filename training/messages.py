"""What a person is told of a training."""

from collections.abc import Sequence

from overfly.runtime.reporter import Reporter, duration
from overfly.training.data.dataset import Dataset
from overfly.training.loop.trainer import Epoch, Trainer
from overfly.training.near_duplicates import NearDuplicate

_N_ALIKE = 3


def data_remarks(dataset: Dataset) -> list[str]:
    """Return what a person should know of the data before the training starts."""
    remarks = []
    if dataset.ignored:
        more = f" and {len(dataset.ignored) - 1} more" if len(dataset.ignored) > 1 else ""
        remarks.append(f"ignored {dataset.ignored[0]}{more}: no picture by its name")
    seen: dict[str, str] = {}
    for scene in dataset.images:
        first = seen.setdefault(scene.sha256, scene.name)
        if first != scene.name:
            remarks.append(f"{scene.name} is the same picture as {first}: both go to the same part")
    return remarks


def near_duplicate_report(pairs: Sequence[NearDuplicate] | None) -> list[str]:
    """Return what a person should know of scenes that look alike in different parts; nothing where there is none."""
    if pairs is None:
        return ["near-duplicates were not looked for: there are too many pairs of scenes"]
    lines = [
        f"{pair.first} ({pair.first_part}) and {pair.second} ({pair.second_part}) look almost alike: "
        "the split may judge what it has trained on"
        for pair in pairs[:_N_ALIKE]
    ]
    if len(pairs) > _N_ALIKE:
        lines.append(f"so do {len(pairs) - _N_ALIKE} more pairs, which run.json will name")
    return lines


def report_progress(reporter: Reporter, trainer: Trainer, done: int, total: int) -> None:
    """Tell how far this epoch is, and how far all are."""
    epochs = trainer.recipe.epochs
    # By the gradients, as steps that take them twice come late and would make the time left too short.
    so_far, all_steps = (trainer.n_backward_passes(n_steps) for n_steps in (trainer.step, trainer.n_steps))
    reporter.progress("all epochs", so_far, all_steps)
    reporter.progress(f"epoch {trainer.epoch + 1} of {epochs}", done, total)


def epoch_row(epoch: Epoch, trainer: Trainer) -> dict[str, str]:
    """Return the epoch that has just ended as a row of the table that a person sees."""
    n_epochs = trainer.recipe.epochs
    before, now, at_the_end = map(
        trainer.n_backward_passes, (trainer.step - trainer.steps_per_epoch, trainer.step, trainer.n_steps)
    )
    row = {"epoch": f"{epoch.epoch:>{len(str(n_epochs))}} of {n_epochs}", "loss": f"{epoch.loss:.4f}"}
    if epoch.val_accuracy is not None:
        row["validation accuracy"] = f"{epoch.val_accuracy:.2%}"
    row["images/s"] = f"{epoch.images_per_second:.1f}"
    row["time left"] = duration((at_the_end - now) / (now - before) * epoch.seconds)
    return row
