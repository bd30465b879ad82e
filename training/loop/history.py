"""The epochs of a training, and the file that lists them."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.files.atomic import write_atomically
from overfly.training.run_layout import HISTORY


@dataclass(frozen=True, slots=True)
class Epoch:
    """The results of one epoch; a row of ``history.csv``.

    Attributes
    ----------
    epoch
        Number of the epoch, from 1.
    loss
        Mean training loss (cross-entropy in nats, with the recipe's label smoothing).
    val_accuracy
        Top-1 accuracy on the validation part, as a fraction; None if there is no such part.
    learning_rate
        Of the last step.
    images_per_second
        Training throughput by wall clock, without evaluation.
    seconds
        Wall clock of the epoch, without evaluation.
    """

    epoch: int
    loss: float
    val_accuracy: float | None
    learning_rate: float
    images_per_second: float
    seconds: float


def best_epoch(history: Sequence[Epoch]) -> int:
    """Return the number of the epoch with the highest validation accuracy; of equal ones, the latest."""
    return max(history, key=lambda epoch: (epoch.val_accuracy or 0.0, epoch.epoch)).epoch


def write_history(folder: Path, history: Sequence[Epoch]) -> None:
    """Write ``history.csv`` into a folder: one row for each epoch."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in dataclasses.fields(Epoch))
    writer.writerows(dataclasses.astuple(epoch) for epoch in history)
    write_atomically(folder / HISTORY, text.getvalue().encode())
