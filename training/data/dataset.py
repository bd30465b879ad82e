"""A folder of labelled scenes: one sub-folder for each class, pictures below it."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np

from overfly.runtime.errors import DataError, ImageError
from overfly.runtime.files.atomic import sha256_file
from overfly.runtime.images.reading import ImageBatch, is_image_name, load_image, suffix_list, visible_files
from overfly.runtime.machine import decoding_threads, memory_bytes

Progress = Callable[[int, int], None]
Item = TypeVar("Item")
Result = TypeVar("Result")

_MIN_CLASSES = 2
# Unicode's categories of control characters, line ends, paragraph ends, and Python's stand-ins for bytes that are no
# text: a bundle could not name such a class in its XML, or on one line of its own.
_NO_TEXT = {"Cc", "Cs", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class LabelledImage:
    """One labelled picture.

    Attributes
    ----------
    name
        Its path below the data folder, with forward slashes; the first part is the class.
    label
        The index of its class.
    sha256
        The hash of the file's content.
    """

    name: str
    label: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Dataset:
    """The classes, in alphabetical order, and the scenes of a data folder.

    Attributes
    ----------
    ignored
        Names of files in class folders that don't end like a picture.
    """

    folder: Path
    classes: tuple[str, ...]
    images: tuple[LabelledImage, ...]
    ignored: tuple[str, ...]


def scan(folder: Path, *, progress: Progress | None = None) -> Dataset:
    """Find the classes and pictures of a data folder and hash every picture.

    Hidden files and folders are passed over.

    Parameters
    ----------
    folder
        The data folder.
    progress
        Called with (pictures hashed, all pictures).

    Raises
    ------
    DataError
        When the folder is missing, has no class folder, only one, or one without a picture, or what is named like a
        picture is no file.
    """
    classes = _classes(folder)
    below = {c: visible_files(folder / c) for c in classes}
    images = {c: [p for p in paths if is_image_name(p)] for c, paths in below.items()}
    for name, paths in images.items():
        if not paths:
            raise DataError(
                f"the class folder {folder / name} holds no picture: expected files ending in {suffix_list()}; "
                "add some or remove the folder"
            )
    for path in chain.from_iterable(images.values()):
        if not path.is_file():
            raise DataError(f"{path} can't be read: it is no file, and links to none; remove it")
    labelled = [(path, label) for label, name in enumerate(classes) for path in images[name]]
    hashes = _map_threads(lambda item: sha256_file(item[0]), labelled, progress)
    scenes = [
        LabelledImage(path.relative_to(folder).as_posix(), label, sha256)
        for (path, label), sha256 in zip(labelled, hashes, strict=True)
    ]
    ignored = tuple(p.relative_to(folder).as_posix() for c in classes for p in below[c] if not is_image_name(p))
    return Dataset(folder, classes, tuple(scenes), ignored)


def decode(folder: Path, scenes: Iterable[LabelledImage], *, size: int, progress: Progress | None = None) -> ImageBatch:
    """Decode and resize scenes, once, with as many threads as there are processors.

    Parameters
    ----------
    folder
        The data folder.
    scenes
        The scenes, in the order wanted.
    size
        Height and width in pixels.
    progress
        Called with (pictures decoded, all pictures).

    Returns
    -------
    ndarray
        uint8, shape ``[N, size, size, 3]``, RGB.

    Raises
    ------
    DataError
        When pictures can't be read: how many, and the first of them with its reason.
    """
    items = list(scenes)
    _require_memory(len(items), size)
    images = np.empty((len(items), size, size, 3), np.uint8)
    problems: list[ImageError] = []

    def load(item: tuple[int, LabelledImage]) -> None:
        try:
            images[item[0]] = load_image(folder / item[1].name, size)
        except ImageError as error:
            problems.append(error)

    for _ in _map_threads(load, list(enumerate(items)), progress):
        pass
    if problems:
        first = min(problems, key=str)
        more = f" ({len(problems)} of {len(items)} pictures can't be read; this is the first)"
        raise DataError(f"{first}{more if len(problems) > 1 else ''}")
    return images


def decode_unchanged(
    folder: Path, scenes: Iterable[LabelledImage], *, size: int, progress: Progress | None = None
) -> ImageBatch:
    """Decode scenes like `decode`, after checking that their files are still those of the split.

    Raises
    ------
    DataError
        For the first file that is missing or altered.
    """
    items = list(scenes)
    for scene in items:
        path = folder / scene.name
        if not path.is_file():
            raise DataError(f"{path} of the run's split is missing: pass the folder that was trained on with --data")
        if sha256_file(path) != scene.sha256:
            raise DataError(f"{path} has changed since the run was trained: restore it, or train again")
    return decode(folder, items, size=size, progress=progress)


def _require_memory(n_images: int, size: int) -> None:
    """Raise a DataError if decoded images would not fit into the machine's memory."""
    n_bytes, memory = n_images * size * size * 3, memory_bytes()
    if memory is not None and n_bytes > memory:
        raise DataError(
            f"{n_images:,} pictures of {size} x {size} pixels take {n_bytes / 2**30:.1f} GiB of memory, and this "
            f"machine has {memory / 2**30:.1f}: choose a smaller image size or fewer pictures"
        )


def _classes(folder: Path) -> tuple[str, ...]:
    """Return the names of the class folders, sorted, or explain what is there instead."""
    layout = "expected one folder for each class, with pictures in it"
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(f"the data folder {folder} can't be used: found {found}, {layout}")
    classes = tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))
    for name in classes:
        if any(unicodedata.category(character) in _NO_TEXT for character in name):
            raise DataError(
                f"the class folder {name!r} of {folder} can't name a class: it holds control characters or bytes that "
                "are no UTF-8; rename it"
            )
    if not classes:
        raise DataError(f"the data folder {folder} holds no class folder: {layout}")
    if len(classes) < _MIN_CLASSES:
        only = folder / classes[0]
        inner = sum(p.is_dir() for p in only.iterdir())
        remedy = f"did you mean {only}?" if inner >= _MIN_CLASSES else "add a second class"
        raise DataError(f"the data folder {folder} has one class ({classes[0]}), expected at least two: {remedy}")
    return classes


def _map_threads(function: Callable[[Item], Result], items: list[Item], progress: Progress | None) -> Iterator[Result]:
    """Map in a thread pool (hashing and decoding release the GIL), in order, telling the progress."""
    with ThreadPoolExecutor(decoding_threads()) as pool:
        for done, result in enumerate(pool.map(function, items), start=1):
            yield result
            if progress is not None:
                progress(done, len(items))
