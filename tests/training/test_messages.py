"""A person reads what is odd about the data before a training starts: one line for each kind, with a count."""

from pathlib import Path

from overfly.training.data.dataset import Dataset, LabeledImage
from overfly.training.messages import data_notes


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


def test_classes_that_look_alike_are_noted():
    contents = {"U\u0308bung/1.png": "1", "beach/2.png": "2", "\u00dcbung/3.png": "3"}
    (note,) = data_notes(dataset(contents))
    assert note == (
        "the classes 'U\\u0308bung' and '\\xdcbung' differ only in case, Unicode form or blanks: if they are one "
        "class, move all images into one folder; if not, rename one"
    )
