"""Which scenes train, which validate, which test: stratified, seeded, written down by file hash."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np

from overfly.runtime.documents import read_document
from overfly.runtime.errors import DataError, SplitError
from overfly.training.data.dataset import Dataset, LabelledImage

SPLIT_SCHEMA = "overfly.split/1"
PARTS = ("train", "val", "test")


@dataclass(frozen=True, slots=True)
class SplitFile:
    """A scene's name, the hash of its content, and its part: ``train``, ``val`` or ``test``."""

    name: str
    sha256: str
    part: str

    def __post_init__(self) -> None:
        """Refuse an unknown part."""
        if self.part not in PARTS:
            raise ValueError(f"the part {self.part!r} is none of {', '.join(PARTS)}")


@dataclass(frozen=True, slots=True)
class Split:
    """The content of ``split.json``."""

    seed: int
    test_fraction: float
    val_fraction: float
    classes: tuple[str, ...]
    files: tuple[SplitFile, ...]

    def images(self, part: str) -> list[LabelledImage]:
        """Return the scenes of a part, in the split's order."""
        index = {name: i for i, name in enumerate(self.classes)}
        return [
            LabelledImage(file.name, index[file.name.partition("/")[0]], file.sha256)
            for file in self.files
            if file.part == part
        ]


def make_split(dataset: Dataset, *, test_fraction: float, val_fraction: float = 0.0, seed: int = 0) -> Split:
    """Divide a data set at random, each class in the same proportion.

    Pictures with the same content go to the same part. A content that stands in several classes
    goes to the training part: it can't be judged fairly.

    Parameters
    ----------
    dataset
        What to divide.
    test_fraction
        The part of each class to test on, in (0, 1).
    val_fraction
        The part of each class *left for training* to validate on, in [0, 1).
    seed
        Seed of the shuffle.

    Raises
    ------
    DataError
        When a fraction is out of range, or a class has too few different pictures for its parts.
    """
    if not (0 < test_fraction < 1 and 0 <= val_fraction < 1):
        raise DataError(f"the test fraction {test_fraction} and validation fraction {val_fraction} must be in (0, 1)")
    rng = np.random.default_rng(seed)
    shared = _contents_in_several_classes(dataset.images)
    parts: dict[str, str] = {}
    for label, class_name in enumerate(dataset.classes):
        groups = _groups([s for s in dataset.images if s.label == label])
        order = [groups[i] for i in rng.permutation(len(groups))]
        free = [group for group in order if group[0].sha256 not in shared]
        n_scenes = sum(map(len, order))
        n_test = max(1, round(n_scenes * test_fraction))
        n_val = max(1, round((n_scenes - n_test) * val_fraction)) if val_fraction else 0
        parts |= _fill(free, {"test": n_test, "val": n_val})
        in_train = [s for group in order for s in group if s.name not in parts]
        if not in_train or "test" not in {parts.get(s.name) for group in free for s in group}:
            raise DataError(
                f"the class {class_name} of {dataset.folder} has too few different pictures ({len(groups)}) "
                "to train and test on: add some, or remove the class"
            )
    files = tuple(SplitFile(s.name, s.sha256, parts.get(s.name, "train")) for s in dataset.images)
    return Split(seed, test_fraction, val_fraction, dataset.classes, files)


def read_split(path: Path) -> Split:
    """Read a ``split.json``.

    Raises
    ------
    SplitError
        When it is missing or not valid.
    """
    return read_document(path, Split, schema=SPLIT_SCHEMA, error=SplitError)


def match_split(split: Split, dataset: Dataset) -> Split:
    """Return `split` if the data folder holds exactly its files, unchanged.

    Raises
    ------
    SplitError
        For the first file that is missing, altered, not in the split, there twice, or equal to one of another part,
        for a test part without files, and for a class without any to train on.
    """
    if split.classes != dataset.classes:
        differing = min(set(split.classes) ^ set(dataset.classes), default="their order")
        raise SplitError(
            f"the classes of the split are not those of {dataset.folder} (such as {differing}): "
            "pass the folder that was split, or make a new split"
        )
    _require_trainable(split)
    held = {scene.name: scene.sha256 for scene in dataset.images}
    first: dict[str, SplitFile] = {}
    for file in split.files:
        twin = first.setdefault(file.sha256, file)
        if twin.part != file.part:
            raise SplitError(
                f"{twin.name} ({twin.part}) and {file.name} ({file.part}) of the split are the same picture, "
                "so it would be judged by what it was trained on: make a new split"
            )
        if file.name not in held:
            raise SplitError(
                f"{file.name} of the split is missing in {dataset.folder}: restore it, or make a new split"
            )
        if held.pop(file.name) != file.sha256:
            raise SplitError(f"{file.name} in {dataset.folder} has changed since the split: restore it")
    if held:
        raise SplitError(f"{min(held)} in {dataset.folder} is not in the split: remove it, or make a new split")
    return split


def _require_trainable(split: Split) -> None:
    """Raise unless every class has a file to train on, something is tested, and no file is there twice."""
    if not (0 < split.test_fraction < 1 and 0 <= split.val_fraction < 1):
        raise SplitError(
            f"the split's test fraction {split.test_fraction} and validation fraction {split.val_fraction} must be in "
            "(0, 1) and [0, 1): make a new split"
        )
    if not any(file.part == "test" for file in split.files):
        raise SplitError("the split has no file in its test part: make a new split")
    trained = {file.name.partition("/")[0] for file in split.files if file.part == "train"}
    if untrained := set(split.classes) - trained:
        raise SplitError(f"the split has no file of {min(untrained)} in its train part: make a new split")
    if (twice := Counter(file.name for file in split.files).most_common(1)[0])[1] > 1:
        raise SplitError(f"the split has {twice[0]} twice: make a new split")


def sample_evenly(scenes: Sequence[LabelledImage], n: int, *, seed: int) -> list[LabelledImage]:
    """Return `n` scenes, or all if there are fewer, drawn from each class in turn."""
    rng = np.random.default_rng(seed)
    by_class: dict[int, list[LabelledImage]] = defaultdict(list)
    for i in rng.permutation(len(scenes)):
        by_class[scenes[i].label].append(scenes[i])
    rounds = zip_longest(*(by_class[label] for label in sorted(by_class)))
    return [scene for one_of_each in rounds for scene in one_of_each if scene is not None][:n]


def _groups(scenes: Iterable[LabelledImage]) -> list[list[LabelledImage]]:
    """Group scenes by content, in the order in which each content is first seen."""
    groups: dict[str, list[LabelledImage]] = defaultdict(list)
    for scene in scenes:
        groups[scene.sha256].append(scene)
    return list(groups.values())


def _contents_in_several_classes(scenes: Iterable[LabelledImage]) -> set[str]:
    """Return the hashes that stand under more than one label."""
    labels: dict[str, set[int]] = defaultdict(set)
    for scene in scenes:
        labels[scene.sha256].add(scene.label)
    return {sha256 for sha256, found in labels.items() if len(found) > 1}


def _fill(groups: list[list[LabelledImage]], wanted: dict[str, int]) -> dict[str, str]:
    """Assign whole groups to parts until each has as many scenes as wanted; the rest is not assigned."""
    left = dict(wanted)
    parts: dict[str, str] = {}
    for group in groups:
        part = next((p for p, n in left.items() if len(group) <= n), None)
        if part is not None:
            left[part] -= len(group)
            parts |= dict.fromkeys((scene.name for scene in group), part)
    return parts
