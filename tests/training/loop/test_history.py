"""Which epoch is the best, and the file that lists the epochs."""

import csv

import pytest

from overfly.training.loop.history import Epoch, best_epoch, write_history


@pytest.mark.parametrize(
    ("accuracies", "best"), [((0.5,), 1), ((0.5, 0.7, 0.6), 2), ((0.7, 0.6, 0.7), 3), ((0.0, 0.0), 2)]
)
def test_the_best_epoch(accuracies, best):
    epochs = [Epoch(i, 1.0, accuracy, 0.1, 1.0, 1.0) for i, accuracy in enumerate(accuracies, start=1)]
    assert best_epoch(epochs) == best


def test_every_epoch_is_a_row_with_the_exact_numbers(tmp_path):
    epochs = [Epoch(1, 0.1, None, 1e-3, 3.0, 2.5), Epoch(2, 1 / 3, 0.5, 0.0, 4.0, 2.0)]
    write_history(tmp_path, epochs)
    with (tmp_path / "history.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[0]) == ["epoch", "loss", "val_accuracy", "learning_rate", "images_per_second", "seconds"]
    assert [row["val_accuracy"] for row in rows] == ["", "0.5"]
    assert [float(row["loss"]) for row in rows] == [0.1, 1 / 3]
