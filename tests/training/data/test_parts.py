"""The parts of a split are known by words of their names, and by the folders that they have in common."""

import pytest

from overfly.training.data.parts import parts_named, shared_folders


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("train", ("train",)),
        ("Validation", ("val",)),
        ("tEsT", ("test",)),
        ("test_images", ("test",)),
        ("UCM_train", ("train",)),
        ("ucmTest", ("test",)),
        ("UCMTrain", ("train",)),
        ("train2017", ("train",)),
        ("01-val", ("val",)),
        ("train_val", ("train", "val")),
        ("TestTrain", ("test", "train")),
        ("harbor", ()),
        ("trainer", ()),
        ("constraint", ()),
        ("latest", ()),
        ("Übertrain", ()),
        ("2017", ()),
    ],
)
def test_a_part_is_a_word_of_the_name(name, parts):
    assert parts_named(name) == parts


@pytest.mark.parametrize(
    ("folders", "shared"),
    [
        ([{"a", "b"}, {"a", "b"}], ["a", "b"]),
        ([{"a", "b", "c"}, {"a", "b"}, {"b"}], ["a", "b"]),
        ([{"A", "b"}, {"a", "B"}], ["A", "b"]),
        ([{"a", "b"}, {"a", "b"}, set()], ["a", "b"]),
        ([{"a", "b", "c", "d"}, {"a", "b", "x", "y"}], ["a", "b"]),
        ([{"a", "b", "c", "d"}, {"a", "x", "y"}], []),
        ([{"a", "b"}, {"c", "d"}], []),
        ([{"a"}, {"a"}], []),
        ([{"a", "b"}, {"a"}], []),
        ([{"a", "b"}, set()], []),
        ([{"a", "b"}], []),
        ([], []),
    ],
)
def test_parts_have_most_of_their_folders_in_common(folders, shared):
    assert shared_folders(folders) == shared
