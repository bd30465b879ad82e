"""What a person reads before and during a training: notes, rows of epochs, and positions."""

from types import SimpleNamespace

import pytest

from overfly.training.loop.history import Epoch
from overfly.training.messages import epoch_row, near_duplicate_notes, position, share_notes
from overfly.training.near_duplicates import NearDuplicate
from overfly.training.recipe import Recipe


def test_the_first_near_duplicates_are_named_and_the_others_counted():
    pairs = [NearDuplicate(f"a/{i}.png", "train", f"b/{i}.png", "test", 0.99) for i in range(5)]
    assert near_duplicate_notes([]) == []
    notes = near_duplicate_notes(pairs)
    assert notes[0] == (
        "a/0.png (train) and b/0.png (test) are near-duplicates in different parts of the split; the test score may be "
        "too high"
    )
    assert notes[3:] == ["2 more pairs of near-duplicates; run.json will list all"]
    assert near_duplicate_notes(None) == [
        "near-duplicates were not searched for, because there are too many pairs of images"
    ]


def test_a_share_with_fewer_than_16_images_is_noted():
    assert share_notes(Recipe(batch_size=16, batch_shares=2)) == [
        (
            "each share of a batch has 8 images, and batch normalization with fewer than 16 costs accuracy: "
            "--set batch_shares=1 leaves batches whole"
        )
    ]


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(),
        Recipe(batch_size=16, batch_shares=1),
        Recipe(batch_size=16, batch_shares=2, batch_norm="frozen"),
        Recipe(batch_size=4, batch_shares=1),
    ],
)
def test_a_whole_batch_or_enough_images_are_not_noted(recipe):
    assert share_notes(recipe) == []


def trainer_after(step, **options):
    """Stand for a trainer of 10 epochs of 4 steps, of which the last 20 use SAM and count twice."""
    recipe = Recipe(epochs=10, sam_rho=0.1, sam_fraction=0.5)
    return SimpleNamespace(recipe=recipe, step=step, n_steps=40, steps_per_epoch=4, epoch_state=None, **options)


def test_the_row_of_an_epoch_estimates_the_time_that_is_left():
    # 4 of 60 backward passes took 8 seconds, so that 56 take 112 seconds.
    row = epoch_row(Epoch(1, 0.25, None, 1e-3, 12.3, 8.0), trainer_after(4))
    assert row == {"epoch": " 1 of 10", "loss": "0.2500", "images/s": "12.3", "time left": "1 min 52 s"}
    # 8 backward passes in 8 seconds; 8 are left.
    row = epoch_row(Epoch(9, 0.25, 0.5, 1e-3, 12.3, 8.0), trainer_after(36))
    assert (row["validation accuracy"], row["time left"]) == ("50.00%", "8 s")


def test_a_position_is_an_epoch_or_a_step_in_one():
    trainer = trainer_after(8, epoch=2)
    assert position(trainer) == "epoch 2 of 10"
    trainer.epoch_state = SimpleNamespace(n_done=3)
    assert position(trainer) == "step 3 of 4 in epoch 3 of 10"
