"""A split is stratified, disjoint, complete and repeatable, and no image is in two parts."""

import dataclasses
import hashlib
import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from overfly.runtime.documents import dump_document, write_document
from overfly.runtime.errors import DataError, DocumentError, SplitError
from overfly.training.data.dataset import Dataset, LabeledImage, scan
from overfly.training.data.layout import find_layout
from overfly.training.data.parts import PARTS
from overfly.training.data.split import (
    SPLIT_SCHEMA,
    SplitFile,
    choose_split,
    describe_changes,
    describe_moves,
    given_split,
    make_split,
    match_split,
    read_split,
)

fractions_to_test = st.floats(0.05, 0.6)
fractions_to_validate = st.just(0.0) | st.floats(0.05, 0.5)
seeds = st.integers(0, 2**32 - 1)


def dataset(contents):
    """A data set without files: for each class a list of contents."""
    classes = tuple(f"class{i}" for i in range(len(contents)))
    images = [
        LabeledImage(f"{classes[label]}/{i:03d}.png", label, f"sha of {content}")
        for label, inside in enumerate(contents)
        for i, content in enumerate(inside)
    ]
    return Dataset(Path("data"), classes, tuple(images), ())


def parts_of(split):
    """Part -> names."""
    return {part: {image.name for image in split.images(part)} for part in PARTS}


@st.composite
def distinct(draw):
    """2 to 4 classes of 5 to 40 different images."""
    sizes = draw(st.lists(st.integers(5, 40), min_size=2, max_size=4))
    return dataset([[f"{label}.{i}" for i in range(n)] for label, n in enumerate(sizes)])


@st.composite
def repeated(draw):
    """Classes with repeated images, some of them in several classes."""
    contents = st.lists(st.integers(0, 12), min_size=6, max_size=30)
    return dataset(draw(st.lists(contents, min_size=2, max_size=3)))


def split_or_skip(data, **options):
    """Make a split; drop the example when its classes are too small."""
    try:
        return make_split(data, **options)
    except DataError:
        assume(False)


@settings(deadline=None)
@given(data=distinct(), test=fractions_to_test, val=fractions_to_validate, seed=seeds)
def test_each_class_in_the_same_proportion(data, test, val, seed):
    split = split_or_skip(data, test_fraction=test, val_fraction=val, seed=seed)
    for label in range(len(data.classes)):
        n = sum(image.label == label for image in data.images)
        n_test, n_val = (sum(s.label == label for s in split.images(part)) for part in ("test", "val"))
        assert n_test == 1 or abs(n_test - n * test) <= 0.5
        assert n_test >= 1
        # Each class rounds up or down, so that the sum is right.
        assert abs(n_val - (n - n_test) * val) <= 1 or n_val == n - n_test - 1


@settings(deadline=None)
@given(data=repeated(), test=fractions_to_test, val=fractions_to_validate, seed=seeds)
def test_complete_and_disjoint_whatever_is_repeated(data, test, val, seed):
    split = split_or_skip(data, test_fraction=test, val_fraction=val, seed=seed)
    assert [(file.name, file.sha256) for file in split.files] == [(s.name, s.sha256) for s in data.images]
    parts = parts_of(split)
    assert sum(map(len, parts.values())) == len(data.images)
    assert set.union(*parts.values()) == {image.name for image in data.images}
    for label in range(len(data.classes)):
        for part in ("train", "test"):
            assert any(image.label == label for image in split.images(part))


@settings(deadline=None)
@given(data=repeated(), test=fractions_to_test, val=fractions_to_validate, seed=seeds)
def test_no_image_is_in_two_parts(data, test, val, seed):
    split = split_or_skip(data, test_fraction=test, val_fraction=val, seed=seed)
    parts = {}
    labels = {}
    for part in PARTS:
        for image in split.images(part):
            parts.setdefault(image.sha256, set()).add(part)
            labels.setdefault(image.sha256, set()).add(image.label)
    assert all(len(found) == 1 for found in parts.values())
    assert all(parts[sha256] == {"train"} for sha256, found in labels.items() if len(found) > 1)


@settings(deadline=None, max_examples=30)
@given(data=distinct(), test=fractions_to_test, val=fractions_to_validate, seed=seeds)
def test_a_seed_gives_one_split(data, test, val, seed):
    first, second = (split_or_skip(data, test_fraction=test, val_fraction=val, seed=seed) for _ in range(2))
    assert first == second
    assert (first.seed, first.test_fraction, first.val_fraction) == (seed, test, val)


def test_another_seed_gives_another_split():
    data = dataset([[f"{c}{i}" for i in range(40)] for c in "ab"])
    tests = {frozenset(parts_of(make_split(data, test_fraction=0.2, seed=seed))["test"]) for seed in range(20)}
    assert len(tests) == 20


def test_a_folder_of_mixed_case_is_split_in_the_same_way_on_every_system(tmp_path):
    # Upper case first, folder by folder. The hash is that of the name, which is the content.
    expected = {
        "Beach/B2.jpg": "train",
        "Beach/Z_1.JPG": "train",
        "Beach/a1.jpg": "test",
        "Beach/b10.jpg": "test",
        "Beach/sub/A.jpg": "train",
        "Beach/sub/a2.jpg": "val",
        "airport/A3.jpg": "train",
        "airport/Old/1.jpg": "val",
        "airport/_c.jpg": "train",
        "airport/a1.jpg": "train",
        "airport/new/2.jpg": "test",
        "airport/z.jpg": "test",
    }
    for name in sorted(expected, key=str.lower):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    split = make_split(scan(tmp_path), test_fraction=0.34, val_fraction=0.25, seed=0)
    assert json.loads(dump_document(split, schema=SPLIT_SCHEMA)) == {
        "schema": "overfly.split/1",
        "seed": 0,
        "test_fraction": 0.34,
        "val_fraction": 0.25,
        "classes": ["Beach", "airport"],
        "files": [
            {"name": name, "sha256": hashlib.sha256(name.encode()).hexdigest(), "part": part}
            for name, part in expected.items()
        ],
    }


def test_every_image_has_the_same_chance():
    data = dataset([[f"{c}{i}" for i in range(10)] for c in "ab"])
    drawn = Counter()
    for seed in range(600):
        drawn.update(parts_of(make_split(data, test_fraction=0.2, seed=seed))["test"])
    assert len(drawn) == 20
    assert all(75 <= n <= 170 for n in drawn.values())  # 120 expected, standard deviation 9.8


def test_uc_merced_as_in_the_paper():
    data = dataset([[f"{c}.{i}" for i in range(100)] for c in range(21)])
    split = make_split(data, test_fraction=0.2)
    parts = parts_of(split)
    assert {part: len(names) for part, names in parts.items()} == {"train": 1680, "val": 0, "test": 420}
    assert Counter(image.label for image in split.images("test")) == dict.fromkeys(range(21), 20)


def test_the_validation_part_is_taken_from_what_is_left_for_training():
    data = dataset([[f"{c}.{i}" for i in range(100)] for c in range(2)])
    with_val = parts_of(make_split(data, test_fraction=0.2, val_fraction=0.1, seed=4))
    without = parts_of(make_split(data, test_fraction=0.2, seed=4))
    assert {part: len(names) for part, names in with_val.items()} == {"train": 144, "val": 16, "test": 40}
    assert with_val["test"] == without["test"]


def test_a_content_in_two_classes_is_for_training():
    data = dataset([["x", *range(10)], ["x", *range(10, 20)]])
    for seed in range(30):
        train = parts_of(make_split(data, test_fraction=0.4, val_fraction=0.4, seed=seed))["train"]
        assert {"class0/000.png", "class1/000.png"} <= train


@pytest.mark.parametrize("options", [{"test_fraction": f} for f in (0.0, 1.0, -0.1, 1.5, float("nan"))])
def test_a_test_fraction_out_of_range(options):
    with pytest.raises(DataError, match=re.escape(str(options["test_fraction"]))):
        make_split(dataset([range(10), range(10, 20)]), **options)


def test_a_fraction_out_of_range_is_explained():
    with pytest.raises(DataError) as caught:
        make_split(dataset([range(10), range(10, 20)]), test_fraction=2.0, val_fraction=0.5)
    assert str(caught.value) == "the test fraction 2.0 and validation fraction 0.5 must be in (0, 1) and [0, 1)"


@pytest.mark.parametrize("val_fraction", [1.0, -0.1, 2.0, float("nan")])
def test_a_validation_fraction_out_of_range(val_fraction):
    with pytest.raises(DataError, match=re.escape(str(val_fraction))):
        make_split(dataset([range(10), range(10, 20)]), test_fraction=0.2, val_fraction=val_fraction)


@pytest.mark.parametrize(
    ("contents", "val_fraction", "name"),
    [
        ([range(10), ["only"]], 0.0, "class1"),
        ([range(10), ["only"]], 0.2, "class1"),
        ([["same"] * 12, range(10)], 0.0, "class0"),
    ],
)
def test_a_class_with_too_few_different_images(contents, val_fraction, name):
    with pytest.raises(DataError) as caught:
        make_split(dataset(contents), test_fraction=0.2, val_fraction=val_fraction)
    assert str(caught.value) == (
        f"the class {name} of data needs at least 2 different images, one to train on and one to test on, and has 1: "
        "add some, or remove the class"
    )


@pytest.mark.parametrize(("n_images", "n_val"), [(100, 80), (10, 8), (5, 4), (3, 2), (2, 0)])
def test_small_classes_share_the_validation_part(n_images, n_val):
    data = dataset([[f"{label}.{i}" for i in range(n_images)] for label in range(20)])
    parts = parts_of(make_split(data, test_fraction=0.2, val_fraction=0.05))
    assert len(parts["val"]) == n_val


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({}, "a new split of train or chips has one with --val-fraction 0.05"),
        ({"val_fraction": 0.05}, "--val-fraction 0.05 of so few images is none; add images, or choose a larger one"),
        # The command line refuses --val-fraction for these.
        ({"seed": None}, "divide the images into the parts train, val and test"),
    ],
)
def test_a_split_says_how_to_get_a_validation_part(changes, advice):
    split = dataclasses.replace(make_split(dataset([["a", "b"], ["c", "d"]]), test_fraction=0.2), **changes)
    assert split.validation_advice() == advice


@pytest.mark.parametrize("val_fraction", [0.0, 0.2])
def test_a_class_whose_images_are_all_in_other_classes_is_named(val_fraction):
    data = dataset([[*range(9), "x"], ["x", "y", "x"], ["y", *range(10, 20)]])
    with pytest.raises(DataError) as caught:
        make_split(data, test_fraction=0.2, val_fraction=val_fraction)
    assert str(caught.value) == (
        "every image of the class class1 is also in another class (such as class1/000.png, which is equal to "
        "class0/009.png): keep each image in one class only"
    )


@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.6, 0.95])
def test_three_different_images_are_enough_for_all_parts(fraction):
    data = dataset([["a", "b", "c"], ["d", "d", "d", "e", "f"]])
    for seed in range(10):
        parts = make_split(data, test_fraction=fraction, val_fraction=fraction, seed=seed)
        for label in (0, 1):
            assert all(any(image.label == label for image in parts.images(part)) for part in ("train", "test"))
        assert bool(parts.images("val")) == (fraction > 0.05)


def test_groups_of_equal_images_that_are_larger_than_the_test_part_are_tested_on():
    split = make_split(dataset([["a"] * 6 + ["b"] * 7, range(10)]), test_fraction=0.1)
    assert sorted(parts_of(split)["test"])[:6] == [f"class0/{i:03d}.png" for i in range(6)]


def test_two_images_are_enough_for_a_class():
    split = make_split(dataset([["a", "b"], ["c", "d"]]), test_fraction=0.2)
    assert {part: len(names) for part, names in parts_of(split).items()} == {"train": 2, "val": 0, "test": 2}


@pytest.fixture
def written(make_folder, tmp_path):
    """A data folder and the path of its split."""
    folder = make_folder()
    split = make_split(scan(folder), test_fraction=0.25, val_fraction=0.2, seed=9)
    write_document(tmp_path / "split.json", split, schema=SPLIT_SCHEMA)
    return folder, tmp_path / "split.json", split


def test_a_split_comes_back_from_its_file(written):
    folder, path, split = written
    assert read_split(path) == split
    assert match_split(read_split(path), scan(folder)) is not None
    content = json.loads(path.read_text(encoding="utf-8"))
    assert list(content) == ["schema", "seed", "test_fraction", "val_fraction", "classes", "files"]
    assert content["files"][0].keys() == {"name", "sha256", "part"}


def test_a_split_fits_a_copy_of_its_folder_elsewhere(written):
    folder, _, split = written
    moved = folder.rename(folder.with_name("moved"))
    assert match_split(split, scan(moved)) == split


def test_a_missing_file_is_named(written):
    folder, _, split = written
    (folder / "harbor" / "harbor05.png").unlink()
    with pytest.raises(SplitError) as caught:
        match_split(split, scan(folder))
    assert "1 file (harbor/harbor05.png) removed" in str(caught.value)


def test_a_changed_file_is_named(written):
    folder, _, split = written
    path = folder / "roofs" / "roofs02.png"
    path.write_bytes((folder / "roofs" / "roofs03.png").read_bytes())
    with pytest.raises(SplitError) as caught:
        match_split(split, scan(folder))
    assert "1 file (roofs/roofs02.png) altered" in str(caught.value)


def test_an_extra_file_is_named(written):
    folder, _, split = written
    (folder / "field" / "new.png").write_bytes(b"new")
    with pytest.raises(SplitError) as caught:
        match_split(split, scan(folder))
    assert str(caught.value) == (
        f"{folder} is not as it was when the split was made: 1 file (field/new.png) added; restore the files, or make "
        "a new split"
    )


def test_changes_are_counted_and_the_first_of_each_kind_named():
    before = [SplitFile(f"a/{i}.png", str(i), "train") for i in range(9)]
    now = [*before[5:8], SplitFile("a/8.png", "other", "test"), SplitFile("b/1.png", "1", "train")]
    assert describe_changes(before, now) == (
        "1 file (b/1.png) added, 5 files (a/0.png, a/1.png, a/2.png, ...) removed, 1 file (a/8.png) altered"
    )
    assert describe_changes(before, before) == ""


def test_files_in_other_parts_are_counted_if_the_choices_are_the_same(written):
    _, _, split = written
    changed = {"train": "val", "val": "train", "test": "test"}
    files = tuple(dataclasses.replace(f, part=changed[f.part]) if "harbor" in f.name else f for f in split.files)
    moved = sorted(f.name for f in files if "harbor" in f.name and f.part != "test")
    other = dataclasses.replace(split, files=files)
    assert describe_moves(split, split) == ""
    assert describe_moves(split, other) == f"6 files ({', '.join(moved[:3])}, ...) moved to another part"
    assert describe_moves(split, dataclasses.replace(other, seed=10)) == ""


def test_a_split_with_the_same_image_in_two_parts_is_rejected(written):
    folder, _, split = written
    train, test = (next(file for file in split.files if file.part == part) for part in ("train", "test"))
    (folder / test.name).write_bytes((folder / train.name).read_bytes())
    altered = dataclasses.replace(test, sha256=train.sha256)
    straddling = dataclasses.replace(split, files=tuple(altered if file == test else file for file in split.files))
    with pytest.raises(SplitError) as caught:
        match_split(straddling, scan(folder))
    first, second = sorted((train, test), key=lambda file: file.name)
    assert str(caught.value) == (
        f"the parts of the split share images: 1 pair ({first.name} ({first.part}) and {second.name} ({second.part})); "
        "the model would be tested on what it was trained on: keep each image in one part only"
    )


@pytest.mark.parametrize(
    ("classes", "differing"), [(("field", "harbor"), "roofs"), (("field", "harbor", "marsh", "roofs"), "marsh")]
)
def test_a_split_with_other_classes_does_not_fit(written, classes, differing):
    folder, _, split = written
    with pytest.raises(SplitError) as caught:
        match_split(dataclasses.replace(split, classes=classes), scan(folder))
    assert str(caught.value) == (
        f"the classes of the split are not those of {folder} (such as {differing}): "
        "pass the folder that was split, or make a new split"
    )


def by_hand(path, change=None, start=b""):
    """Write a split again as a person or another program may have written it, and read it."""
    content = json.loads(path.read_text(encoding="utf-8"))
    for file in content["files"] if change else ():
        change(file)
    content["classes"].reverse()
    path.write_bytes(start + json.dumps(content).encode())
    return read_split(path)


@pytest.mark.parametrize(
    "change",
    [
        lambda file: file.update(sha256=file["sha256"].upper()),
        lambda file: file.update(name=file["name"].replace("/", "\\")),
        lambda file: file.update(name=f"./{file['name']}"),
        lambda file: file.update(name=f".\\{file['name']}", sha256=f"{file['sha256']} "),
    ],
)
def test_a_split_may_be_spelled_in_other_ways(written, change):
    folder, path, split = written
    assert match_split(by_hand(path, change, start=b"\xef\xbb\xbf"), scan(folder)) == split


@pytest.mark.skipif(os.sep == "\\", reason="Windows has no such names")
def test_a_name_may_really_have_a_backslash(make_folder):
    folder = make_folder()
    (folder / "field" / "field00.png").rename(folder / "field" / "a\\b.png")
    split = make_split(scan(folder), test_fraction=0.25)
    assert match_split(split, scan(folder)) == split


@pytest.mark.parametrize("sha256", ["d41d8cd98f00b204e9800998ecf8427e", "the SHA-256 of the file", ""])
def test_what_is_no_sha256_is_named(written, sha256):
    folder, path, _ = written
    with pytest.raises(SplitError) as caught:
        match_split(by_hand(path, lambda file: file.update(sha256=sha256)), scan(folder))
    assert str(caught.value) == (
        f"the SHA-256 of field/field00.png in the split is {sha256!r}, expected 64 hexadecimal digits: make a new split"
    )


def test_a_split_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SplitError) as caught:
        read_split(tmp_path / "absent.json")
    assert str(caught.value) == f"{tmp_path / 'absent.json'} does not exist: expected a split.json"


def test_split_errors_are_of_both_families():
    assert issubclass(SplitError, DataError)
    assert issubclass(SplitError, DocumentError)


def test_a_missing_split_file(tmp_path):
    with pytest.raises(SplitError, match=r"split\.json"):
        read_split(tmp_path / "split.json")


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('"part": "val"', '"part": "exam"', "'exam'"),
        ("overfly.split/1", "overfly.split/9", "overfly.split/9"),
        ('"seed": 9', '"seed": "nine"', "'nine'"),
        ('"test_fraction": 0.25', '"test_fraction": 77.0', "77.0"),
        ('"val_fraction": 0.2', '"val_fraction": 1.0', "1.0"),
        ('"files": [', '"files": ', "JSON"),
    ],
)
def test_a_split_file_that_is_not_valid(written, old, new, named):
    _, path, split = written
    assert old in dump_document(split, schema=SPLIT_SCHEMA)
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(SplitError, match=r"split\.json") as caught:
        read_split(path)
    assert named in str(caught.value)


def test_an_unknown_part_cannot_be_made():
    with pytest.raises(ValueError, match="'all'") as caught:
        SplitFile("a/b.png", "0" * 64, "all")
    assert str(caught.value) == "the part 'all' is none of train, val, test"


def test_a_split_without_a_test_part_is_rejected(written):
    folder, _, split = written
    files = tuple(dataclasses.replace(file, part="train") for file in split.files)
    with pytest.raises(SplitError) as caught:
        match_split(dataclasses.replace(split, files=files), scan(folder))
    assert str(caught.value) == "the split has no file in its test part: make a new split"


def test_a_class_without_an_image_to_train_on_is_rejected(written):
    folder, _, split = written
    files = tuple(
        dataclasses.replace(file, part="test") if file.name.startswith("roofs/") else file for file in split.files
    )
    with pytest.raises(SplitError) as caught:
        match_split(dataclasses.replace(split, files=files), scan(folder))
    assert str(caught.value) == "the split has no file of roofs in its train part: make a new split"


def test_a_file_that_is_listed_twice_is_named(written):
    folder, _, split = written
    with pytest.raises(SplitError) as caught:
        match_split(dataclasses.replace(split, files=(*split.files, split.files[3])), scan(folder))
    assert str(caught.value) == f"the split lists {split.files[3].name} twice: make a new split"


def move_to_part_folders(folder, names=("train", "val", "test"), counts=(5, 1, 2)):
    """Move the images of each class into class folders within part folders; return the data folder."""
    for class_folder in sorted(folder.iterdir()):
        images = sorted(class_folder.iterdir())
        for name, n_images in zip(names, counts, strict=True):
            target = folder / name / class_folder.name
            target.mkdir(parents=True)
            for image in images[:n_images]:
                image.rename(target / image.name)
            del images[:n_images]
        for rest in images:
            rest.unlink()
        class_folder.rmdir()
    return folder


FRACTIONS = {"test_fraction": 0.2, "val_fraction": 0.0, "seed": 3}


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "Validation", "Testing"), ("TRAIN", "valid", "Test")]
)
def test_part_folders_are_the_split(make_folder, listener, names):
    folder = move_to_part_folders(make_folder(), names)
    heard = listener()
    split = choose_split(scan(folder), **FRACTIONS, reporter=heard)
    assert split.classes == ("field", "harbor", "roofs")
    _, val, test = names
    assert [image.name for image in split.images("val")] == [
        f"{val}/field/field05.png",
        f"{val}/harbor/harbor05.png",
        f"{val}/roofs/roofs05.png",
    ]
    assert [(image.name, image.label) for image in split.images("test")][2:4] == [
        (f"{test}/harbor/harbor06.png", 1),
        (f"{test}/harbor/harbor07.png", 1),
    ]
    assert len(split.images("train")) == 15
    assert (split.seed, split.test_fraction, split.val_fraction) == (None, 0.25, 3 / 18)
    in_order = ", ".join(sorted(names))
    assert heard.notes == [f"using the split given by the folders {in_order} of {folder}: 15 train, 3 val, 6 test"]
    assert given_split(folder, find_layout(folder).parts) == f"the folders {in_order} of {folder}"


def test_a_split_of_part_folders_comes_back_from_its_file(make_folder, tmp_path):
    folder = move_to_part_folders(make_folder())
    split = choose_split(scan(folder), **FRACTIONS)
    write_document(tmp_path / "split.json", split, schema=SPLIT_SCHEMA)
    assert choose_split(scan(folder), tmp_path / "split.json", **FRACTIONS) == split


def test_without_a_test_folder_the_validation_folder_is_the_test_part(make_folder, listener):
    folder = move_to_part_folders(make_folder(), ("train", "val"), (5, 3))
    heard = listener()
    split = choose_split(scan(folder), **FRACTIONS, reporter=heard)
    assert {part: len(names) for part, names in parts_of(split).items()} == {"train": 15, "val": 0, "test": 9}
    (note,) = heard.notes
    assert f"train, val (as the test part) of {folder}: 15 train, 0 val, 9 test" in note


def test_part_folders_without_validation(make_folder):
    split = choose_split(scan(move_to_part_folders(make_folder(), ("training_set", "test_set"), (6, 2))), **FRACTIONS)
    assert {part: len(names) for part, names in parts_of(split).items()} == {"train": 18, "val": 0, "test": 6}


def test_classes_that_are_not_tested_are_named(make_folder, listener):
    folder = move_to_part_folders(make_folder())
    for name in ("field", "roofs"):
        shutil.rmtree(folder / "test" / name)
    heard = listener()
    assert len(choose_split(scan(folder), **FRACTIONS, reporter=heard).images("test")) == 2
    assert heard.notes[1:] == ["the test part has no image of 2 classes (field, roofs)"]


def test_a_test_folder_without_an_image_is_named(make_folder):
    folder = move_to_part_folders(make_folder(), ("train", "test"), (8, 0))
    with pytest.raises(SplitError) as caught:
        choose_split(scan(folder), **FRACTIONS)
    assert str(caught.value) == f"the test part of {folder} has no image: add some, or remove the folder"


def test_an_image_in_two_part_folders_is_named(make_folder):
    folder = move_to_part_folders(make_folder())
    shutil.copy(folder / "train" / "harbor" / "harbor01.png", folder / "test" / "harbor" / "copy.png")
    with pytest.raises(SplitError) as caught:
        choose_split(scan(folder), **FRACTIONS)
    assert "1 pair" in str(caught.value)
    assert "train/harbor/harbor01.png" in str(caught.value)
    assert "test/harbor/copy.png" in str(caught.value)


def test_the_order_is_the_given_file_then_the_data_folders_file_then_its_part_folders(make_folder, tmp_path, listener):
    folder = move_to_part_folders(make_folder())
    data = scan(folder)
    by_hand = choose_split(data, **FRACTIONS)
    swap = {"train": "train", "val": "test", "test": "val"}
    in_folder, given = (
        dataclasses.replace(
            by_hand, files=tuple(dataclasses.replace(f, part=swap[f.part]) for f in by_hand.files), val_fraction=value
        )
        for value in (0.3, 0.4)
    )
    write_document(folder / "split.json", in_folder, schema=SPLIT_SCHEMA)
    write_document(tmp_path / "given.json", given, schema=SPLIT_SCHEMA)
    heard = listener()
    assert choose_split(data, tmp_path / "given.json", **FRACTIONS, reporter=heard) == given
    assert choose_split(data, **FRACTIONS, reporter=heard) == in_folder
    assert given_split(folder, find_layout(folder).parts) == str(folder / "split.json")
    (folder / "split.json").unlink()
    assert choose_split(data, **FRACTIONS, reporter=heard) == by_hand
    sources = (str(tmp_path / "given.json"), str(folder / "split.json"), f"test, train, val of {folder}")
    assert all(source in note for source, note in zip(sources, heard.notes, strict=True))


@pytest.mark.parametrize("content", ['{"train": ["a.png"]}', "no JSON"])
def test_a_split_file_of_another_program_in_the_data_folder_is_named(make_folder, content):
    folder = make_folder()
    (folder / "split.json").write_text(content)
    with pytest.raises(SplitError) as caught:
        choose_split(scan(folder), **FRACTIONS)
    path = folder / "split.json"
    assert str(caught.value).startswith(f"{path} ")
    assert str(caught.value).endswith(f". To divide the images in another way, rename {path}")
    with pytest.raises(SplitError) as caught:
        choose_split(scan(folder), path, **FRACTIONS)
    assert str(caught.value).count(str(path)) == 1


def test_a_folder_in_place_of_a_split_file_is_named(scenes, tmp_path):
    with pytest.raises(SplitError) as caught:
        choose_split(scan(scenes), tmp_path, **FRACTIONS)
    assert str(caught.value) == (
        f"{tmp_path} is a folder, expected a split.json: did you mean {tmp_path / 'split.json'}?"
    )


def test_a_folder_that_nothing_divides_is_divided_by_the_seed(scenes, listener):
    heard = listener()
    assert given_split(scenes, find_layout(scenes).parts) is None
    expected = make_split(scan(scenes), **FRACTIONS)
    assert choose_split(scan(scenes), **FRACTIONS, reporter=heard) == expected
    assert heard.notes == []


def test_a_class_whose_images_are_all_elsewhere_is_named_in_part_folders_too(make_folder):
    folder = make_folder()
    for path in (folder / "harbor").iterdir():
        shutil.copy(folder / "field" / path.name.replace("harbor", "field"), path)
    with pytest.raises(DataError, match="field06"):
        choose_split(scan(move_to_part_folders(folder)), **FRACTIONS)


def test_the_program_of_the_documentation_writes_a_split(make_folder, monkeypatch):
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?save_split.*?)```", page, re.DOTALL)
    folder = make_folder("images")
    monkeypatch.chdir(folder.parent)
    Path("test.txt").write_text("field/field01.png\nroofs/roofs07.png\n")
    exec(program, {})  # noqa: S102 - our own page
    split = choose_split(scan(folder), **FRACTIONS)
    assert [image.name for image in split.images("test")] == ["field/field01.png", "roofs/roofs07.png"]
    assert len(split.images("train")) == 22
