"""What is odd about a data folder is said in one line for each kind."""

from pathlib import Path

import pytest

from overfly.training.data.dataset import Dataset, LabeledImage
from overfly.training.data.notes import data_notes


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
        "the classes 'U\\u0308bung' and '\\xdcbung' differ only in case, blanks, underscores, Unicode form or "
        "invisible characters: if they are one class, move all images into one folder; if not, rename one"
    )


@pytest.mark.parametrize(
    "names",
    [
        ("set A/a/1.png", "set A/b/2.png", "set B/a/3.png", "set B/b/4.png"),
        ("fold1/a/1.png", "fold1/b/2.png", "fold2/a/3.png", "fold2/b/4.png"),
        ("UCM_train/1.png", "UCM_test/2.png"),
        ("UCM_train/a/1.png", "UCM_test/2.png"),
        ("UCM_train/a/1.png", "AID_test/a/2.png", "samples/3.png"),
    ],
)
def test_classes_that_look_like_the_parts_of_a_split_are_noted(names):
    data = dataset({name: name for name in names})
    (note,) = data_notes(data)
    assert note == (
        f"training {len(data.classes)} classes ({', '.join(data.classes)}). If these are the parts of a split, rename "
        "their folders to train, val and test, with the class folders in each of them"
    )


@pytest.mark.parametrize(
    "names",
    [
        ("train_station/1.png", "harbor/2.png"),
        ("a/2019/1.png", "a/2020/2.png", "b/2019/3.png", "b/2020/4.png", "c/2019/5.png", "c/2020/6.png"),
        ("a/2019/1.png", "a/2020/2.png", "b/2019/3.png", "b/2020/4.png", "b/5.png"),
        ("a/images/1.png", "b/images/2.png"),
        ("a/north/1.png", "a/south/2.png", "b/east/3.png", "b/west/4.png"),
    ],
)
def test_folders_in_classes_are_no_reason_for_a_note(names):
    assert data_notes(dataset({name: name for name in names})) == []
