"""Class folders are found in a data folder or in its part folders; what may be either is rejected with the reason."""

import pytest

from overfly.runtime.errors import DataError
from overfly.training.data.layout import find_layout


def make_tree(folder, *names):
    """Make empty files, and folders where a name ends in a slash; return the folder."""
    for name in names:
        path = folder / name
        (path if name.endswith("/") else path.parent).mkdir(parents=True, exist_ok=True)
        if not name.endswith("/"):
            path.touch()
    return folder


def rejection(folder):
    """Return the message with which a layout is rejected."""
    with pytest.raises(DataError) as caught:
        find_layout(folder)
    return str(caught.value)


def test_class_folders_in_the_data_folder(tmp_path):
    layout = find_layout(make_tree(tmp_path, "b/1.png", "a/2.png", "c.png", "notes.txt", "@eaDir/3.png"))
    assert layout.classes == ("a", "b")
    assert layout.folders == ((tmp_path / "a", 0), (tmp_path / "b", 1))
    assert layout.parts == {}
    assert layout.outside == (tmp_path / "c.png",)
    assert layout.passed_over == (tmp_path / "@eaDir",)


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("train", "val", "test"), ("train", "val", "test")),
        (("train", "valid", "test"), ("train", "val", "test")),
        (("Training", "Validation", "Testing"), ("train", "val", "test")),
        (("TRAIN", "Val", "tEsT"), ("train", "val", "test")),
        (("train_set", "validation-set", "test data"), ("train", "val", "test")),
        (("trainset", "val_images", "testing"), ("train", "val", "test")),
        (("train", "test"), ("train", "test")),
        (("train", "val"), ("train", "test")),
        (("Training", "valid"), ("train", "test")),
    ],
)
def test_part_folders_are_known_by_their_names(tmp_path, names, parts):
    layout = find_layout(make_tree(tmp_path, *(f"{name}/{kind}/{name}.png" for name in names for kind in "ab")))
    assert layout.classes == ("a", "b")
    assert layout.parts == dict(zip(names, parts, strict=True))
    assert set(layout.folders) == {(tmp_path / name / kind, i) for name in names for i, kind in enumerate("ab")}


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        (("UCM_train", "UCM_test"), ("train", "test")),
        (("UCM-Train", "UCM-Valid", "UCM-Test"), ("train", "val", "test")),
        (("train1", "test1"), ("train", "test")),
        (("images_train", "images_val"), ("train", "test")),
        (("train2017", "val2017", "test2017"), ("train", "val", "test")),
        (("01_train", "02_val", "03_test"), ("train", "val", "test")),
        (("ucmTrain", "ucmTest"), ("train", "test")),
        (("UCMTrain", "UCMTest"), ("train", "test")),
        (("train", "UCM_test"), ("train", "test")),
        (("trainset2", "testset2"), ("train", "test")),
        (("обучение train", "обучение test"), ("train", "test")),
    ],
)
def test_part_folders_are_known_by_a_word_of_their_names_if_they_have_the_same_folders(tmp_path, names, parts):
    kinds = ("a", "b", "c")
    files = [f"{name}/{kind}/1.png" for name in names for kind in (kinds if "rain" in name else kinds[:2])]
    layout = find_layout(make_tree(tmp_path, *files))
    assert layout.classes == kinds
    assert layout.parts == dict(zip(names, parts, strict=True))


@pytest.mark.parametrize(
    ("names", "fragments"),
    [
        (("UCM_train", "UCM_test", "UCM_extra"), ("UCM_test, UCM_train", "UCM_extra does not")),
        (("UCM train", "AID test"), ("their names differ in more than the part",)),
        (("train station", "test track"), ("their names differ in more than the part",)),
        (("train1", "train2", "test1"), ("two of them are the same part",)),
        (("train2017", "val2017", "test2017", "test2018"), ("two of them are the same part",)),
        (("UCM_val", "UCM_test"), ("none of them is the train part",)),
        (("UCM_train_val", "UCM_test"), ("UCM_train_val may be train or val",)),
        (("UCM_TrainVal", "UCM_Test"), ("UCM_TrainVal may be train or val",)),
    ],
)
def test_folders_that_may_be_parts_are_rejected_if_it_is_not_clear_which(tmp_path, names, fragments):
    found = rejection(make_tree(tmp_path, *(f"{name}/{kind}/1.png" for name in names for kind in "ab")))
    for fragment in (str(tmp_path), *fragments):
        assert fragment in found


def test_a_part_without_class_folders_is_rejected_whatever_its_name(tmp_path):
    names = [f"UCM_{part}/{kind}/1.png" for part in ("train", "val") for kind in "ab"]
    assert "UCM_test has no class folder in it" in rejection(make_tree(tmp_path, *names, "UCM_test/1.png"))


def test_what_is_in_no_class_folder_of_a_part_is_reported(tmp_path):
    names = (
        "train/a/1.png",
        "train/b/2.png",
        "test/a/3.png",
        "test/loose.png",
        "top.png",
        ".git/x",
        "train/@eaDir/4.png",
    )
    layout = find_layout(make_tree(tmp_path, *names))
    assert layout.outside == (tmp_path / "top.png", tmp_path / "test" / "loose.png")
    assert layout.passed_over == (tmp_path / ".git", tmp_path / "train" / "@eaDir")


@pytest.mark.parametrize(
    "names",
    [
        ("train/1.png", "bus/2.png"),
        ("train/1.png", "train/old/2.png", "bus/3.png"),
        ("train/1.png", "test/2.png", "bus/3.png"),
        ("trainer/a/1.png", "tester/a/2.png"),
        ("train station/a/1.png", "test site/a/2.png"),
        ("train_station/1.png", "railway train/2.png", "test_track/3.png"),
        ("train_station/1.png", "test_station/2.png"),
        ("train_station/2019/1.png", "train_station/2020/2.png", "harbor/2019/3.png", "harbor/2020/4.png"),
        *[
            tuple(f"{name}/{year}/1.png" for year in (2019, 2020) for name in names)
            for names in (("train_station", "test_track", "harbor"), ("train_station", "train_depot"))
        ],
        ("train station/east/1.png", "train station/north/2.png", "test site/south/3.png", "test site/west/4.png"),
        ("constraint/a/1.png", "constraint/b/2.png", "attestation/a/3.png", "attestation/b/4.png"),
    ],
)
def test_classes_may_be_named_like_parts_if_their_images_are_directly_in_them(tmp_path, names):
    layout = find_layout(make_tree(tmp_path, *names))
    assert layout.parts == {}
    assert layout.classes == tuple(sorted({name.partition("/")[0] for name in names}))


@pytest.mark.parametrize(
    "names",
    [
        ("train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png", "a/5.png"),
        ("train/a/1.png", "train/b/2.png", "a/5.png", "b/6.png"),
        ("train/a/1.png", "train/b/2.png", "val/a/1.png", "a/"),
        ("train/a/1.png", "train/b/2.png", "test/3.png", "a/5.png"),
    ],
)
def test_part_folders_next_to_class_folders_are_rejected(tmp_path, names):
    found = rejection(make_tree(tmp_path, *names))
    parts = sorted({name.partition("/")[0] for name in names} - {"a", "b"})
    look = f"folder train of {tmp_path} looks like a part"
    if len(parts) > 1:
        look = f"folders {', '.join(parts)} of {tmp_path} look like the parts"
    assert found == (
        f"the {look} of a split, but a does not: keep nothing but class folders, or nothing but parts, in the data "
        "folder. If all are classes, move the images of each directly into its folder"
    )


def test_a_part_without_class_folders_is_rejected(tmp_path):
    found = rejection(make_tree(tmp_path, "train/a/1.png", "train/b/2.png", "test/3.png"))
    assert found == (
        f"the folders test, train of {tmp_path} look like the parts of a split, but test has no class folder in it: "
        "add its class folders, or remove it"
    )


def test_images_without_classes_in_parts_are_rejected(tmp_path):
    assert str(tmp_path) in rejection(make_tree(tmp_path, "train/1.png", "test/2.png"))


def test_two_folders_of_one_part_are_rejected(tmp_path):
    found = rejection(
        make_tree(tmp_path, *(f"{part}/{kind}/1.png" for part in ("val", "valid", "train") for kind in "ab"))
    )
    assert found == (
        f"the folders train, val, valid of {tmp_path} look like the parts of a split, but two of them are the same "
        "part: merge or remove one, and rename the folders to train, val and test"
    )


def test_parts_without_a_train_part_are_rejected(tmp_path):
    found = rejection(make_tree(tmp_path, *(f"{part}/{kind}/1.png" for part in ("val", "test") for kind in "ab")))
    assert found == (
        f"the folders test, val of {tmp_path} look like the parts of a split, but none of them is the train part: add "
        "it, or pass a folder of class folders"
    )


def test_a_class_that_is_only_tested_is_rejected(tmp_path):
    found = rejection(make_tree(tmp_path, "train/a/1.png", "train/b/2.png", "test/a/3.png", "test/B/4.png"))
    assert found == (
        f"the class folder {tmp_path / 'test' / 'B'} has no counterpart in {tmp_path / 'train'}, so nothing can be "
        "trained for it: add one, or remove the folder"
    )


def test_a_class_that_is_not_tested_is_accepted(tmp_path):
    layout = find_layout(make_tree(tmp_path, "train/a/1.png", "train/b/2.png", "train/c/3.png", "test/a/4.png"))
    assert layout.classes == ("a", "b", "c")


def test_parts_in_a_part_are_rejected(tmp_path):
    names = ("train/train/a/1.png", "train/test/a/2.png", "test/train/a/3.png")
    found = rejection(make_tree(tmp_path, *names))
    assert found == (
        f"the class folders of {tmp_path / 'train'} have the names of parts of a split (test, train): pass "
        f"{tmp_path / 'train'} as the data folder, or rename them"
    )


def test_a_single_part_folder_is_named_as_the_folder_to_pass(tmp_path):
    found = rejection(make_tree(tmp_path, "train/a/1.png", "train/b/2.png"))
    assert str(tmp_path / "train") in found
    assert "(train)" in found


def test_the_train_part_needs_two_classes(tmp_path):
    assert str(tmp_path / "train") in rejection(make_tree(tmp_path, "train/a/1.png", "test/a/2.png"))
