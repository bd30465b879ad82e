"""Which images are evaluated: the test part, found by content, or all of another folder."""

from types import SimpleNamespace

import pytest

from overfly.benchmarks.measurement.evaluation_images import (
    count_seen,
    describe_images,
    find_calibration_images,
    select_common_images,
    select_images,
    subsample,
)
from overfly.benchmarks.results.records import ALL_IMAGES, COMMON_IMAGES, EVERY_TEST_PART, TEST_FOLDER, TEST_PART
from overfly.runtime.documents import write_document
from overfly.runtime.errors import DataError
from overfly.training.data.dataset import Dataset, LabeledImage
from overfly.training.data.parts import PARTS
from overfly.training.data.split import SPLIT_SCHEMA, Split, SplitFile
from overfly.training.run_layout import SPLIT_FILE


def dataset(tmp_path, names):
    classes = tuple(sorted({name.partition("/")[0] for name in names}))
    images = tuple(LabeledImage(name, classes.index(name.partition("/")[0]), f"hash-{name}") for name in names)
    return Dataset(tmp_path, classes, images, ())


def manifest(test, calibration=(), train=(), val=()):
    variants = {"int8": SimpleNamespace(calibration=SimpleNamespace(sha256=calibration))}
    provenance = SimpleNamespace(test_sha256=test, train_sha256=train, val_sha256=val)
    return SimpleNamespace(classes=("beach", "forest"), provenance=provenance, variants=variants)


def test_the_test_part_is_found_by_content_and_nothing_else_is_evaluated(tmp_path):
    data = dataset(tmp_path, ["beach/a", "beach/b", "forest/c"])
    source, images = select_images(data, manifest(["hash-forest/c", "hash-beach/a"]))
    assert source == TEST_PART
    assert [(s.name, s.label) for s in images] == [("forest/c", 1), ("beach/a", 0)]


def test_half_a_test_part_is_an_error_and_none_of_it_another_data_set(tmp_path):
    data = dataset(tmp_path, ["forest/c", "forest/d"])
    with pytest.raises(DataError) as caught:
        select_images(data, manifest(["hash-forest/c", "gone"]))
    assert str(caught.value) == (
        f"{tmp_path} lacks 1 of the 2 test images of the bundle: pass the data folder that the run was trained on, "
        "unchanged, or a folder with none of its images"
    )
    source, images = select_images(data, manifest(["gone"]))
    assert source == ALL_IMAGES
    # The folder's class 0 is the bundle's class 1: matched by name.
    assert [(s.name, s.label) for s in images] == [("forest/c", 1), ("forest/d", 1)]
    found = describe_images(source, images, n_available=3)
    assert (found.n_available, found.truth) == (3, (1, 1))


def images_of(*sha256):
    return [LabeledImage(f"beach/{i}", 0, digits * 64) for i, digits in enumerate(sha256)]


@pytest.mark.parametrize(
    ("train", "val", "seen"),
    [
        ((), (), (0, 0)),
        (("a" * 16,), (), (1, 0)),
        ((), ("b" * 16,), (0, 1)),
        (("a" * 16, "b" * 16), ("b" * 16,), (2, 1)),
    ],
)
def test_images_of_the_training_and_the_validation_part_are_counted(tmp_path, train, val, seen):
    assert count_seen(images_of("a", "b", "c"), manifest([], train=train, val=val), tmp_path) == seen


def test_a_bundle_of_an_earlier_version_takes_the_hashes_from_the_split_of_the_run(tmp_path, caplog):
    images, earlier = images_of("a", "b", "c"), manifest([], train=None, val=None)
    files = tuple(SplitFile(f"beach/{part}", digit * 64, part) for digit, part in zip("abc", PARTS, strict=True))
    split = Split(0, 0.3, 0.3, ("beach",), files)
    write_document(tmp_path / SPLIT_FILE, split, schema=SPLIT_SCHEMA)
    assert count_seen(images, earlier, tmp_path, run=tmp_path) == (1, 1)
    assert not caplog.records
    assert count_seen(images, earlier, tmp_path) == (0, 0)
    assert "the bundle is of an earlier version" in caplog.text
    count_seen(images, earlier, tmp_path, bundle="small")
    assert "small is of an earlier version" in caplog.text


def test_an_image_that_is_there_twice_counts_twice(tmp_path):
    assert count_seen(images_of("a", "a", "c"), manifest([], train=("a" * 16,)), tmp_path) == (2, 0)


@pytest.mark.parametrize(("train", "val", "counts"), [("ab", "", (2, 0)), ("a", "b", (1, 1)), ("", "ab", (0, 2))])
def test_if_the_run_has_seen_all_of_them_that_is_an_error(tmp_path, train, val, counts):
    parts = ([digit * 16 for digit in part] for part in (train, val))
    with pytest.raises(DataError) as caught:
        count_seen(images_of("a", "b"), manifest([], train=next(parts), val=next(parts)), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert "trained on {} and validated on {}".format(*counts) in str(caught.value)


def test_another_data_set_with_part_folders_is_evaluated_on_its_test_part(tmp_path):
    names = ["Testing/beach/a", "Testing/forest/b", "Training/beach/c", "Training/forest/d"]
    images = tuple(LabeledImage(name, int("forest" in name), f"hash-{name}") for name in names)
    parts = {"Training": "train", "Testing": "test"}
    data = Dataset(tmp_path, ("beach", "forest"), images, parts=parts)
    source, chosen = select_images(data, manifest(["gone"]))
    assert source == TEST_FOLDER
    assert [(image.name, image.label) for image in chosen] == [("Testing/beach/a", 0), ("Testing/forest/b", 1)]
    # If the run was trained on it, its own test part is known.
    source, chosen = select_images(data, manifest(["hash-Training/forest/d"]))
    assert (source, [image.name for image in chosen]) == (TEST_PART, ["Training/forest/d"])


def test_a_subset_is_even_seeded_and_in_order():
    images = [LabeledImage(f"{label}/{i}", label, f"{label}-{i}") for i in range(20) for label in (0, 0, 1)]
    few = subsample(images, 10)
    assert [s.label for s in few].count(0) == [s.label for s in few].count(1) == 5
    assert few == subsample(images, 10) != subsample(images, 10, seed=1)
    assert [images.index(s) for s in few] == sorted(images.index(s) for s in few)
    assert subsample(images, 60) == images
    assert sorted(s.label for s in subsample(images, 1)) == [0, 1]


def test_the_calibration_images_are_found_by_content(tmp_path):
    data = dataset(tmp_path, ["beach/a", "forest/c", "forest/d"])
    assert [s.name for s in find_calibration_images(data, manifest([], ("hash-forest/d", "hash-beach/a")))] == [
        "forest/d",
        "beach/a",
    ]
    with pytest.raises(DataError) as caught:
        find_calibration_images(data, manifest([], ("gone", "hash-beach/a")))
    assert str(caught.value) == (
        f"{tmp_path} lacks 1 of the 2 images that calibrated the bundle: pass the data folder that the run was "
        "trained on"
    )


def test_an_unknown_class_is_an_error(tmp_path):
    with pytest.raises(DataError) as caught:
        select_images(dataset(tmp_path, ["swamp/a", "beach/b"]), manifest([]))
    assert str(caught.value) == (
        f"the class swamp of {tmp_path} is not one of the bundle's 2 classes (beach, forest): rename or remove its "
        "folder"
    )


@pytest.fixture
def four_images(tmp_path):
    """A data folder with two images of each class."""
    return dataset(tmp_path, ["beach/a", "beach/b", "forest/c", "forest/d"])


def hashes(*names):
    return [f"hash-{name}" for name in names]


def test_bundles_with_the_same_test_part_are_evaluated_on_it(four_images):
    a, b = hashes("beach/a", "forest/c"), hashes("forest/c", "beach/a")
    source, images, counts = select_common_images(four_images, {"one": manifest(a), "two": manifest(b)})
    assert (source, [image.name for image in images], counts) == (EVERY_TEST_PART, ["beach/a", "forest/c"], [2, 2])
    # One bundle is evaluated as before, and so are several on another folder.
    assert select_common_images(four_images, {"one": manifest(a)}) == (TEST_PART, images, [2])
    source, images, counts = select_common_images(four_images, {"one": manifest(["x"]), "two": manifest(["y"])})
    assert (source, len(images), counts) == (ALL_IMAGES, 4, [4, 4])


def test_of_different_test_parts_only_the_images_in_common_are_evaluated(four_images):
    a, b = hashes("beach/a", "beach/b", "forest/c"), hashes("forest/d", "forest/c", "beach/b")
    source, images, counts = select_common_images(four_images, {"one": manifest(a), "two": manifest(b)})
    assert (source, [image.name for image in images], counts) == (COMMON_IMAGES, ["beach/b", "forest/c"], [3, 3])
    # A bundle of another data set has no test part here.
    source, images, counts = select_common_images(four_images, {"one": manifest(["x"]), "two": manifest(b)})
    assert (source, sorted(image.name for image in images)) == (COMMON_IMAGES, ["beach/b", "forest/c", "forest/d"])
    assert counts == [4, 3]


def test_an_error_names_the_bundle_if_there_are_several(four_images):
    manifests = {"one": manifest(hashes("beach/a", "forest/c")), "two": manifest([*hashes("beach/a"), "gone"])}
    with pytest.raises(DataError, match="lacks 1 of the 2 test images of two: "):
        select_common_images(four_images, manifests)
    with pytest.raises(DataError, match="lacks 1 of the 2 test images of the bundle: "):
        select_common_images(four_images, {"two": manifests["two"]})


@pytest.mark.parametrize(
    ("other", "n_common", "missing"),
    [
        (("beach/b", "forest/c"), 1, "beach"),
        (("beach/b", "forest/d"), 0, "beach"),
        (("beach/a", "forest/d"), 1, "forest"),
    ],
)
def test_test_parts_without_an_image_of_a_class_in_common_are_an_error(four_images, other, n_common, missing):
    manifests = {"one": manifest(hashes("beach/a", "forest/c")), "two": manifest(hashes(*other))}
    with pytest.raises(DataError) as caught:
        select_common_images(four_images, manifests)
    assert f"(one 2, two 2), {n_common} in common and none of the class {missing}:" in str(caught.value)
