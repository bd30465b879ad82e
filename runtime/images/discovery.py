"""Find image files in folders, by their names."""

import os
from collections.abc import Callable
from pathlib import Path

from overfly.runtime.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})


def find_images(paths: list[Path]) -> list[Path]:
    """Return the files among `paths`, and the images in and below the folders among them, sorted within a folder.

    The result may also have broken links and folders that can't be listed: `load_image` says what is wrong with each.

    Raises
    ------
    DataError
        If a path does not exist, or a folder has no image.
    """
    found: list[Path] = []
    for path in paths:
        if not os.path.lexists(path):
            raise DataError(f"{path} does not exist: expected an image or a folder of images")
        images = images_below(path) if path.is_dir() else [path]
        if not images:
            raise DataError(f"{path} has no image: expected files ending in {suffix_list()}")
        found += images
    return found


def images_below(folder: Path) -> list[Path]:
    """Return the images in and below a folder, and the folders that can't be listed, sorted."""
    unlistable: list[Path] = []
    files = visible_files(folder, lambda error: unlistable.append(Path(error.filename)))
    return sorted([path for path in files if is_image_name(path)] + unlistable)


def visible_files(folder: Path, on_error: Callable[[OSError], None] | None = None) -> list[Path]:
    """Return the files in and below `folder`, sorted, without those that are hidden or in a hidden folder.

    Links to folders are not followed, because they could form a loop.

    Parameters
    ----------
    folder
        The folder to list.
    on_error
        Called with the error for each folder that can't be listed. If it is None, the error is raised.
    """
    found: list[Path] = []
    for place, folders, names in os.walk(folder, onerror=on_error or _raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place, name) for name in names if not name.startswith(".")]
    return sorted(found)


def is_image_name(path: Path) -> bool:
    """Whether `path` has the suffix of an image, in any case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def suffix_list() -> str:
    """Return the accepted suffixes for a message."""
    return ", ".join(sorted(IMAGE_SUFFIXES))


def _raise(error: OSError) -> None:
    """Raise an error that `os.walk` would ignore."""
    raise error
