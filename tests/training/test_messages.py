"""What a person reads before and during a training: notes on the data, rows of epochs, and positions."""

from pathlib import Path
from types import SimpleNamespace

from overfly.training.data.dataset import Dataset, LabeledImage
from overfly.training.loop.history import Epoch
from overfly.training.messages import data_notes, epoch_row, near_duplicate_notes, position
from overfly.training.near_duplicates import NearDuplicate
from overfly.training.recipe import Recipe


def dataset(contents, **options):
    """Return a data set without files; `contents` maps the name of an image to its content."""
    classes = tuple(sorted({name.partition("/")[0] for name in contents}))
    images = [LabeledImage(name, classes.index(name.partition("/")[0]), content) for name, content in contents.items()]
    return Dataset(Path("data"), classes, tuple(images), **options)


def test_ordinary_data_need_no_note():
    assert data_notes(dataset({"a/1.png": "1", "b/2.png": "2"})) == []


def test_what_is_not_used_is_counted():
    data = dataset(
        {"a/1.png": "1", "b/2.png": "2"},
        ignored=("a/notes.txt", "b/Thumbs.db"),
        outside=("top.png",),
        passed_over=tuple(f"a/{i}/@eaDir" for i in range(4)),
    )
    assert data_notes(data) == [
        "ignored a/notes.txt and 1 more: not an image, by its name",
        "ignored 1 image (top.png) outside of the class folders",
        "passed over 4 folders (a/0/@eaDir, a/1/@eaDir, a/2/@eaDir, ...): hidden, or made by a system",
    ]


def test_equal_images_of_one_class_are_counted_in_one_line():
    contents = {f"a/{i:03d}.png": str(i % 100) for i in range(400)}
    (note,) = data_notes(dataset({**contents, "b/1.png": "b"}))
    assert note == (
        "equal images are in the same class, 300 pairs (a/000.png and a/100.png, a/000.png and a/200.png, "
        "a/000.png and a/300.png, ...); they go to the same part of the split"
    )


def test_a_label_conflict_is_named():
    contents = {"beach/zz.jpg": "x", "beach/1.jpg": "1", "harbor/harbor00.jpg": "x", "harbor/2.jpg": "2"}
    (note,) = data_notes(dataset(contents))
    assert note == (
        "label conflict: equal images are in different classes, 1 pair (beach/zz.jpg and harbor/harbor00.jpg); keep "
        "each image in one class"
    )


def test_part_folders_within_the_classes_are_noted():
    contents = {f"{kind}/{part}/1.png": f"{kind}{part}" for kind in "ab" for part in ("train", "Test", "more")}
    (note,) = data_notes(dataset(contents))
    assert note == (
        "the folders Test, train within the class folders do not divide the images: if they should, put the class "
        "folders into folders of these names"
    )
    assert data_notes(dataset({"a/train/1.png": "1", "b/2.png": "2"})) == []


def test_classes_that_look_alike_are_noted():
    contents = {"U\u0308bung/1.png": "1", "beach/2.png": "2", "\u00dcbung/3.png": "3"}
    (note,) = data_notes(dataset(contents))
    assert note == (
        "the classes 'U\\u0308bung' and '\\xdcbung' differ only in case, Unicode form or blanks: if they are one "
        "class, move all images into one folder; if not, rename one"
    )


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
