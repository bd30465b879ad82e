"""A folder of labeled images: one sub-folder per class, with its images at any depth."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from overfly.runtime.errors import DataError, ImageError
from overfly.runtime.files.access import describe_broken_link
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.files.names import native_path, utf8_text
from overfly.runtime.images.discovery import is_image_name, list_folder, suffix_list
from overfly.runtime.images.reading import ImageBatch, ImageReader
from overfly.runtime.inference.pipeline import ThreadPool
from overfly.runtime.machine import decoding_threads, memory_bytes
from overfly.runtime.reporter import Progress
from overfly.training.data.layout import find_layout

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image file and its class.

    Attributes
    ----------
    name
        Path below the data folder, with forward slashes, as `overfly.runtime.files.names.utf8_text` returns it. Its
        first part is the class, or with part folders the second.
    label
        Index of the class.
    sha256
        Hash of the file's content.
    """

    name: str
    label: int
    sha256: str

    def path(self, folder: Path) -> Path:
        """Return the path of the file in a data folder."""
        return folder / native_path(self.name)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The classes of a data folder, in alphabetical order, and its images.

    Attributes
    ----------
    ignored
        Names of files in class folders that do not have the suffix of an image.
    parts
        The part of the split for each part folder, by its name. Empty if the class folders are directly in the data
        folder.
    outside
        Names of images that are in no class folder.
    passed_over
        Names of folders that are hidden or that a system made, with the images in them.
    """

    folder: Path
    classes: tuple[str, ...]
    images: tuple[LabeledImage, ...]
    ignored: tuple[str, ...] = ()
    parts: Mapping[str, str] = field(default_factory=dict)
    outside: tuple[str, ...] = ()
    passed_over: tuple[str, ...] = ()

    def part_of(self, image: LabeledImage) -> str:
        """Return the part of an image; only for data folders with part folders."""
        return self.parts[image.name.partition("/")[0]]


def scan(folder: Path, *, progress: Progress | None = None) -> Dataset:
    """Find the classes and images of a data folder, and hash every image.

    Parameters
    ----------
    folder
        The data folder; see `overfly.training.data.layout`. Links to folders are followed.
    progress
        Called with (images hashed, all images).

    Raises
    ------
    DataError
        If the folder is not laid out as expected, if a folder in it can't be listed, if a class has no image to train
        on, or if something with the name of an image is not a file.
    """
    layout = find_layout(folder)
    labeled: list[tuple[Path, int]] = []
    ignored: list[Path] = []
    passed_over = list(layout.passed_over)
    for class_folder, label in layout.folders:
        content = list_folder(class_folder)
        for error in content.unlistable.values():
            raise error
        found = [(path, label) for path in content.files if is_image_name(path)]
        if not found and layout.parts.get(utf8_text(class_folder.parent.name), "train") == "train":
            raise DataError(
                f"the class folder {class_folder} contains no image: expected files ending in {suffix_list()}; "
                "add some or remove the folder"
            )
        labeled += found
        ignored += [path for path in content.files if not is_image_name(path)]
        passed_over += content.passed_over
    for path, _ in labeled:
        if not path.is_file():
            raise DataError(
                describe_broken_link(path)
                or f"{path} can't be read: it is not a file, and not a link to one; remove it"
            )
    hashes = _map_threads(lambda item: sha256_file(item[0]), labeled, progress)

    def names(paths: Iterable[Path]) -> tuple[str, ...]:
        return tuple(utf8_text(path.relative_to(folder).as_posix()) for path in paths)

    images = tuple(
        LabeledImage(name, label, sha256)
        for name, (_, label), sha256 in zip(names(path for path, _ in labeled), labeled, hashes, strict=True)
    )
    return Dataset(
        folder,
        layout.classes,
        images,
        ignored=names(ignored),
        parts=layout.parts,
        outside=names(layout.outside),
        passed_over=names(passed_over),
    )


def group_by_content(images: Iterable[LabeledImage]) -> dict[str, list[LabeledImage]]:
    """Return images by the hash of their content, in the order in which each content is first seen."""
    groups: dict[str, list[LabeledImage]] = defaultdict(list)
    for image in images:
        groups[image.sha256].append(image)
    return groups


def decode(
    folder: Path, images: Iterable[LabeledImage], reader: ImageReader, *, progress: Progress | None = None
) -> ImageBatch:
    """Decode and resize images, with `decoding_threads` threads.

    Parameters
    ----------
    folder
        The data folder.
    images
        What to decode, in the order wanted.
    reader
        Reads and resizes each image.
    progress
        Called with (images decoded, all images).

    Returns
    -------
    ndarray
        uint8, shape ``[N, size, size, 3]``, RGB.

    Raises
    ------
    DataError
        If images can't be read: the message has their number, and the first of them with its reason. Also if the
        decoded images would not fit into memory.
    """
    items, size = list(images), reader.size
    reader.warn_once_in([folder])
    _check_memory(len(items), size)
    pixels = np.empty((len(items), size, size, 3), np.uint8)
    problems: list[ImageError] = []

    def load(item: tuple[int, LabeledImage]) -> None:
        try:
            pixels[item[0]] = reader.read(item[1].path(folder))
        except ImageError as error:
            problems.append(error)

    for _ in _map_threads(load, list(enumerate(items)), progress):
        pass
    if problems:
        first = min(problems, key=str)
        more = f" ({len(problems)} of {len(items)} images can't be read; this is the first)"
        raise DataError(f"{first}{more if len(problems) > 1 else ''}")
    return pixels


def decode_unchanged(
    folder: Path, images: Iterable[LabeledImage], reader: ImageReader, *, progress: Progress | None = None
) -> ImageBatch:
    """Check that the files are still those of the split, then decode them like `decode`.

    Raises
    ------
    DataError
        If a file is missing, has changed or can't be read.
    """
    items = list(images)
    for image in items:
        path = image.path(folder)
        if not path.is_file():
            raise DataError(
                describe_broken_link(path)
                or f"{path} of the run's split is missing: pass the folder that was trained on with --data"
            )
        if sha256_file(path) != image.sha256:
            raise DataError(f"{path} has changed since the run was trained: restore it, or train again")
    return decode(folder, items, reader, progress=progress)


def _check_memory(n_images: int, size: int) -> None:
    """Raise a DataError if decoded images would not fit into the machine's memory."""
    n_bytes, memory = n_images * size * size * 3, memory_bytes()
    if memory is not None and n_bytes > memory:
        raise DataError(
            f"{n_images:,} images of {size} x {size} pixels need {n_bytes / 2**30:.1f} GiB of memory, and this "
            f"machine has {memory / 2**30:.1f} GiB: choose a smaller image size or fewer images"
        )


def _map_threads(function: Callable[[Item], Result], items: list[Item], progress: Progress | None) -> Iterator[Result]:
    """Map in a thread pool, in order, and report progress. Hashing and decoding release the GIL."""
    with ThreadPool(decoding_threads()) as pool:
        for done, result in enumerate(pool.map(function, items), start=1):
            yield result
            if progress is not None:
                progress(done, len(items))
