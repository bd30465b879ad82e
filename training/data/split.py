"""The split of a data set into training, validation and test part: stratified, seeded, recorded by file hash."""

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path, PurePosixPath

import numpy as np

from overfly.runtime.documents import read_document
from overfly.runtime.errors import DataError, SplitError
from overfly.runtime.files.access import describe_broken_link
from overfly.runtime.reporter import SILENT, Reporter, count_and_name
from overfly.training.data.dataset import Dataset, LabeledImage, group_by_content
from overfly.training.data.parts import PARTS, parts_named
from overfly.training.run_layout import SPLIT_FILE

SPLIT_SCHEMA = "overfly.split/1"

# With one or two validation images, a single wrong answer can take the temperature to its limit; and with fewer than
# these, a tenth or more of the known images are expected below the threshold of the known score.
_FEW_VALIDATION_IMAGES = 10

_SHA256 = re.compile(r"[0-9a-f]{64}")


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


@dataclass(frozen=True, slots=True)
class Split:
    """The content of ``split.json``.

    Attributes
    ----------
    seed
        Of the shuffle; None if a person divided the images.
    test_fraction
        Fraction of all images in the test part.
    val_fraction
        Fraction in the validation part, of the images that are not in the test part.
    classes
        Sorted by name.
    files
        In the order of the data folder.
    """

    seed: int | None
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
        # With part folders, the class is the second folder of a name. Part folders are never all named like classes.
        level = 0 if {file.name.partition("/")[0] for file in self.files} <= label.keys() else 1
        return [
            LabeledImage(file.name, label[file.name.split("/")[level]], file.sha256)
            for file in self.files
            if file.part == part
        ]

    def validation_advice(self) -> str:
        """Return how to get a validation part, for messages about a split that has none."""
        if self.seed is None:
            return "divide the images into the parts train, val and test"
        if self.val_fraction:
            return f"--val-fraction {self.val_fraction:g} of so few images is none; add images, or choose a larger one"
        return "a new split of train or chips has one with --val-fraction 0.05"

    def small_validation_part(self) -> str | None:
        """Return a clause for a note that says that the validation part is small; None if it is not."""
        n_images = len(self.images("val"))
        if n_images >= _FEW_VALIDATION_IMAGES:
            return None
        return f"the validation part has fewer than {_FEW_VALIDATION_IMAGES} images (it has {n_images})"


def given_split(folder: Path, parts: Mapping[str, str]) -> str | None:
    """Return what divides a data folder: the path of a ``split.json`` in it, or its part folders; None if nothing does.

    `parts` are those of the folder's `Layout`.
    """
    if (folder / SPLIT_FILE).is_file():
        return str(folder / SPLIT_FILE)
    named = (name if part in parts_named(name) else f"{name} (as the {part} part)" for name, part in parts.items())
    return f"the folders {', '.join(named)} of {folder}" if parts else None


def choose_split(
    dataset: Dataset,
    split_file: Path | None = None,
    *,
    test_fraction: float,
    val_fraction: float,
    seed: int,
    reporter: Reporter = SILENT,
) -> Split:
    """Return the split to train with.

    That is the one of `split_file`, else of a ``split.json`` in the data folder, else of its part folders, else a new
    one from the fractions and the seed. A note says where a given split comes from.

    Raises
    ------
    DataError
        If no such split can be made or used; see `make_split`, `match_split` and `split_of_parts`.
    """
    source = str(split_file) if split_file else given_split(dataset.folder, dataset.parts)
    if source is None:
        return make_split(dataset, test_fraction=test_fraction, val_fraction=val_fraction, seed=seed)
    _find_unambiguous(dataset)
    path = split_file or dataset.folder / SPLIT_FILE
    try:
        split = match_split(read_split(path), dataset) if split_file or path.is_file() else split_of_parts(dataset)
    except SplitError as error:
        if split_file or not path.is_file():
            raise
        raise SplitError(f"{error}. To divide the images in another way, rename {path}") from error
    images = {part: split.images(part) for part in PARTS}
    reporter.note(f"using the split given by {source}: {', '.join(f'{len(images[part])} {part}' for part in PARTS)}")
    tested = {image.label for image in images["test"]}
    if untested := [name for label, name in enumerate(split.classes) if label not in tested]:
        reporter.note(f"the test part has no image of {count_and_name(untested, 'class', 'classes')}")
    return split


def make_split(dataset: Dataset, *, test_fraction: float, val_fraction: float = 0.0, seed: int = 0) -> Split:
    """Divide a data set at random, each class in the same proportion.

    Small classes share the validation part: it may have no image of one of them. A class of two images gives it none.

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
        If a fraction is out of range, a class has fewer than two different images, or all images of a class are in
        other classes as well.
    """
    _check_fractions(test_fraction, val_fraction)
    unambiguous = _find_unambiguous(dataset)
    rng = np.random.default_rng(seed)
    parts: dict[str, str] = {}
    # Of an image: what rounding has kept from the validation part so far, or given to it if negative.
    rest = 0.0
    for label, class_name in enumerate(dataset.classes):
        images = [image for image in dataset.images if image.label == label]
        groups = list(group_by_content(images).values())
        shuffled = [groups[i] for i in rng.permutation(len(groups))]
        judged = [group for group in shuffled if group[0].sha256 in unambiguous]
        if len(groups) == 1:
            raise DataError(
                f"the class {class_name} of {dataset.folder} needs at least 2 different images, one to train on and "
                "one to test on, and has 1: add some, or remove the class"
            )
        # With a validation part, one image is left for it if there are three.
        n_left = min(len(groups) - 1, 2 if val_fraction else 1)
        n_test = min(round(len(images) * test_fraction), len(images) - n_left)
        # One group of equal images at least fits into the test part.
        n_test = max(n_test, min(map(len, judged)))
        share = (len(images) - n_test) * val_fraction + rest
        n_val = round(share)
        rest = share - n_val
        # One image is left to train on.
        parts |= _fill(judged, {"test": n_test, "val": min(n_val, len(images) - n_test - 1)})
    files = tuple(SplitFile(image.name, image.sha256, parts.get(image.name, "train")) for image in dataset.images)
    return Split(seed, test_fraction, val_fraction, dataset.classes, files)


def split_of_parts(dataset: Dataset) -> Split:
    """Return the split into which part folders, such as ``train`` and ``test``, divide a data set.

    Raises
    ------
    SplitError
        If the test part is empty, or images with the same content are in different parts.
    """
    files = tuple(SplitFile(image.name, image.sha256, dataset.part_of(image)) for image in dataset.images)
    n_images = Counter(file.part for file in files)
    if not n_images["test"]:
        raise SplitError(f"the test part of {dataset.folder} has no image: add some, or remove the folder")
    n_others = len(files) - n_images["test"]
    split = Split(None, n_images["test"] / len(files), n_images["val"] / n_others, dataset.classes, files)
    _check_usable(split)
    return split


def read_split(path: Path) -> Split:
    """Read a ``split.json``.

    Raises
    ------
    SplitError
        If it is missing or not valid.
    """
    if path.is_dir():
        raise SplitError(f"{path} is a folder, expected a split.json: did you mean {path / SPLIT_FILE}?")
    if not path.exists():
        raise SplitError(describe_broken_link(path) or f"{path} does not exist: expected a split.json")
    return read_document(path, Split, schema=SPLIT_SCHEMA, error=SplitError)


def match_split(split: Split, dataset: Dataset) -> Split:
    """Return `split` if the data folder holds exactly its files, unchanged.

    A split that a person or another program wrote may have its classes in another order, hashes in upper case, and
    paths as Windows writes them. The result has them as overfly writes them.

    Raises
    ------
    SplitError
        If the classes or the files are others, or if the split can't be used: a hash is none, a file is listed twice,
        images with the same content are in different parts, the test part is empty, or a class has no image to train
        on.
    """
    if tuple(sorted(split.classes)) != dataset.classes:
        differing = min(set(split.classes) ^ set(dataset.classes), default="one is listed twice")
        raise SplitError(
            f"the classes of the split are not those of {dataset.folder} (such as {differing}): "
            "pass the folder that was split, or make a new split"
        )
    names = {image.name for image in dataset.images}
    files = tuple(_as_written(file, names) for file in split.files)
    split = replace(split, classes=dataset.classes, files=files)
    if changes := describe_changes(split.files, dataset.images):
        raise SplitError(
            f"{dataset.folder} is not as it was when the split was made: {changes}; restore the files, or make a new "
            "split"
        )
    _check_usable(split)
    return split


def describe_changes(before: Iterable[SplitFile | LabeledImage], now: Iterable[SplitFile | LabeledImage]) -> str:
    """Return which files were added, removed and altered, such as ``1 file (a/b.png) added``; empty if none was."""
    old, new = ({file.name: file.sha256 for file in files} for files in (before, now))
    changes = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "altered": [name for name in old if new.get(name, old[name]) != old[name]],
    }
    return ", ".join(f"{count_and_name(names, 'file')} {change}" for change, names in changes.items() if names)


def describe_moves(before: Split, now: Split) -> str:
    """Return which files of a split are in another part now; empty if none is, or if the seed or fractions differ."""
    moved = sorted(file.name for file in {*before.files} - {*now.files})
    same_choices = replace(before, files=()) == replace(now, files=())
    return f"{count_and_name(moved, 'file')} moved to another part" if moved and same_choices else ""


def sample_evenly(images: Sequence[LabeledImage], n: int, *, seed: int) -> list[LabeledImage]:
    """Return `n` random images, or all if there are fewer, one from each class in turn."""
    rng = np.random.default_rng(seed)
    by_class: dict[int, list[LabeledImage]] = defaultdict(list)
    for i in rng.permutation(len(images)):
        by_class[images[i].label].append(images[i])
    rounds = zip_longest(*(by_class[label] for label in sorted(by_class)))
    return [image for one_of_each in rounds for image in one_of_each if image is not None][:n]


def _as_written(file: SplitFile, names: Collection[str]) -> SplitFile:
    """Return a file of a split with its name and hash as overfly writes them; raise a SplitError if it has no hash.

    `names` are those of the data folder: on Linux a file may really have a backslash in its name.
    """
    sha256 = file.sha256.strip().lower()
    if not _SHA256.fullmatch(sha256):
        raise SplitError(
            f"the SHA-256 of {file.name} in the split is {file.sha256!r}, expected 64 hexadecimal digits: make a new "
            "split"
        )
    name = file.name if file.name in names else PurePosixPath(file.name.replace("\\", "/")).as_posix()
    return SplitFile(name, sha256, file.part)


def _check_fractions(test_fraction: float, val_fraction: float) -> None:
    """Raise a DataError unless something is left to test on and to train on."""
    if not (0 < test_fraction < 1 and 0 <= val_fraction < 1):
        raise DataError(
            f"the test fraction {test_fraction} and validation fraction {val_fraction} must be in (0, 1) and [0, 1)"
        )


def _find_unambiguous(dataset: Dataset) -> set[str]:
    """Return the hashes of the images that are in one class only; raise a DataError if a class has none of them."""
    same_content = group_by_content(dataset.images)
    unambiguous = {sha256 for sha256, images in same_content.items() if len({image.label for image in images}) == 1}
    judged = {image.label for image in dataset.images if image.sha256 in unambiguous}
    for image in dataset.images:
        if image.label not in judged:
            other = next(twin for twin in same_content[image.sha256] if twin.label != image.label)
            raise DataError(
                f"every image of the class {dataset.classes[image.label]} is also in another class (such as "
                f"{image.name}, which is equal to {other.name}): keep each image in one class only"
            )
    return unambiguous


def _check_usable(split: Split) -> None:
    """Raise a SplitError if a file is repeated, parts share an image, or a part lacks what it needs."""
    name, count = Counter(file.name for file in split.files).most_common(1)[0]
    if count > 1:
        raise SplitError(f"the split lists {name} twice: make a new split")
    first: dict[str, SplitFile] = {}
    for file in split.files:
        first.setdefault(file.sha256, file)
    twins = [(first[file.sha256], file) for file in split.files if file.part != first[file.sha256].part]
    if pairs := [f"{one.name} ({one.part}) and {two.name} ({two.part})" for one, two in twins]:
        raise SplitError(
            f"the parts of the split share images: {count_and_name(pairs, 'pair')}; the model would be tested on what "
            "it was trained on: keep each image in one part only"
        )
    if not split.images("test"):
        raise SplitError("the split has no file in its test part: make a new split")
    trained = {image.label for image in split.images("train")}
    if untrained := [name for label, name in enumerate(split.classes) if label not in trained]:
        raise SplitError(f"the split has no file of {untrained[0]} in its train part: make a new split")


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
