"""The split of a data set into training, validation and test part: stratified, seeded, recorded by file hash."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from overfly.runtime.documents import read_document
from overfly.runtime.errors import DataError, SplitError
from overfly.training.data.dataset import Dataset, LabeledImage, group_by_content

SPLIT_SCHEMA = "overfly.split/1"
PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class SplitFile:
    """An image's name, the hash of its content, and its part: ``train``, ``val`` or ``test``."""

    name: str
    sha256: str
    part: str

    def __post_init__(self) -> None:
        """Raise a ValueError if the part is unknown."""
        if self.part not in PARTS:
            raise ValueError(f"the part {self.part!r} is none of {', '.join(PARTS)}")

    @property
    def class_name(self) -> str:
        """The class: the first folder of the name."""
        return self.name.partition("/")[0]


@dataclass(frozen=True, slots=True)
class Split:
    """The content of ``split.json``."""

    seed: int
    test_fraction: float
    val_fraction: float
    classes: tuple[str, ...]
    files: tuple[SplitFile, ...]

    def __post_init__(self) -> None:
        """Raise a DataError, which is a ValueError, if a fraction is out of range."""
        _check_fractions(self.test_fraction, self.val_fraction)

    def images(self, part: str) -> list[LabeledImage]:
        """Return the images of a part, in the order of the split."""
        label = {name: i for i, name in enumerate(self.classes)}
        return [LabeledImage(f.name, label[f.class_name], f.sha256) for f in self.files if f.part == part]


def make_split(dataset: Dataset, *, test_fraction: float, val_fraction: float = 0.0, seed: int = 0) -> Split:
    """Divide a data set at random, each class in the same proportion.

    Files with the same content go to the same part. A content that is found in several classes goes to the training
    part, because no label of it could be judged fairly.

    Parameters
    ----------
    dataset
        The images to divide.
    test_fraction
        Fraction of each class to test on, in (0, 1).
    val_fraction
        Fraction to validate on, of what remains of each class *after* the test part is taken; in [0, 1).
    seed
        Seed of the shuffle.

    Raises
    ------
    DataError
        If a fraction is out of range, or a class has too few different images for its parts.
    """
    _check_fractions(test_fraction, val_fraction)
    rng = np.random.default_rng(seed)
    same_content = group_by_content(dataset.images)
    parts: dict[str, str] = {}
    for label, class_name in enumerate(dataset.classes):
        images = [image for image in dataset.images if image.label == label]
        groups = list(group_by_content(images).values())
        shuffled = [groups[i] for i in rng.permutation(len(groups))]
        n_test = max(1, round(len(images) * test_fraction))
        n_val = max(1, round((len(images) - n_test) * val_fraction)) if val_fraction else 0
        judged = [group for group in shuffled if all(i.label == label for i in same_content[group[0].sha256])]
        held_out = _fill(judged, {"test": n_test, "val": n_val})
        if "test" not in held_out.values() or len(held_out) == len(images):
            raise DataError(
                f"the class {class_name} of {dataset.folder} has too few different images ({len(groups)}) "
                "to train and test on: add some, or remove the class"
            )
        parts |= held_out
    files = tuple(SplitFile(image.name, image.sha256, parts.get(image.name, "train")) for image in dataset.images)
    return Split(seed, test_fraction, val_fraction, dataset.classes, files)


def read_split(path: Path) -> Split:
    """Read a ``split.json``.

    Raises
    ------
    SplitError
        If it is missing or not valid.
    """
    return read_document(path, Split, schema=SPLIT_SCHEMA, error=SplitError)


def match_split(split: Split, dataset: Dataset) -> Split:
    """Return `split` if the data folder holds exactly its files, unchanged.

    Raises
    ------
    SplitError
        If the split itself can't be used (see `_check_trainable`), or for the first file that is missing, changed, not
        in the split, or the same image as one in another part.
    """
    if split.classes != dataset.classes:
        differing = min(set(split.classes) ^ set(dataset.classes), default="their order")
        raise SplitError(
            f"the classes of the split are not those of {dataset.folder} (such as {differing}): "
            "pass the folder that was split, or make a new split"
        )
    _check_trainable(split)
    unmatched = {image.name: image.sha256 for image in dataset.images}
    first: dict[str, SplitFile] = {}
    for file in split.files:
        twin = first.setdefault(file.sha256, file)
        if twin.part != file.part:
            raise SplitError(
                f"{twin.name} ({twin.part}) and {file.name} ({file.part}) of the split are the same image, "
                "so the model would be tested on what it was trained on: make a new split"
            )
        if file.name not in unmatched:
            raise SplitError(
                f"{file.name} of the split is missing in {dataset.folder}: restore it, or make a new split"
            )
        if unmatched.pop(file.name) != file.sha256:
            raise SplitError(f"{file.name} in {dataset.folder} has changed since the split was made: restore it")
    if unmatched:
        raise SplitError(f"{min(unmatched)} in {dataset.folder} is not in the split: remove it, or make a new split")
    return split


def sample_evenly(images: Sequence[LabeledImage], n: int, *, seed: int) -> list[LabeledImage]:
    """Return `n` random images, or all if there are fewer, one from each class in turn."""
    rng = np.random.default_rng(seed)
    by_class: dict[int, list[LabeledImage]] = defaultdict(list)
    for i in rng.permutation(len(images)):
        by_class[images[i].label].append(images[i])
    rounds = zip_longest(*(by_class[label] for label in sorted(by_class)))
    return [image for one_of_each in rounds for image in one_of_each if image is not None][:n]


def _check_fractions(test_fraction: float, val_fraction: float) -> None:
    """Raise a DataError unless something is left to test on and to train on."""
    if not (0 < test_fraction < 1 and 0 <= val_fraction < 1):
        raise DataError(
            f"the test fraction {test_fraction} and validation fraction {val_fraction} must be in (0, 1) and [0, 1)"
        )


def _check_trainable(split: Split) -> None:
    """Raise a SplitError unless the test part and each class's train part have an image, and no file is repeated."""
    if not any(file.part == "test" for file in split.files):
        raise SplitError("the split has no file in its test part: make a new split")
    trained = {file.class_name for file in split.files if file.part == "train"}
    if untrained := set(split.classes) - trained:
        raise SplitError(f"the split has no file of {min(untrained)} in its train part: make a new split")
    name, count = Counter(file.name for file in split.files).most_common(1)[0]
    if count > 1:
        raise SplitError(f"the split lists {name} twice: make a new split")


def _fill(groups: list[list[LabeledImage]], wanted: dict[str, int]) -> dict[str, str]:
    """Assign whole groups to parts until each part has the number of images wanted.

    Returns the part of each assigned image by its name; what is left over has none.
    """
    remaining = dict(wanted)
    parts: dict[str, str] = {}
    for group in groups:
        part = next((part for part, n in remaining.items() if len(group) <= n), None)
        if part is not None:
            remaining[part] -= len(group)
            parts |= dict.fromkeys((image.name for image in group), part)
    return parts
