"""Find image files in folders, by their names."""

import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from overfly.runtime.errors import DataError
from overfly.runtime.files.access import explain_unreadable
from overfly.runtime.reporter import SILENT, Reporter, count_and_name

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp"})

# Files and folders that no person made: of Synology and QNAP, of macOS, its zip files and its file servers, of KDE, of
# Windows, of file systems, and of Python.
SYSTEM_NAMES = re.compile(
    r"@eaDir|#recycle|#snapshot|@Recycle|@Recently-Snapshot"
    r"|\._.*|\.DS_Store|\.fseventsd|\.localized|\.Spotlight-V100|\.Trashes|__MACOSX"
    r"|Network Trash Folder|Temporary Items|\.directory|desktop\.ini|(eh)?thumbs\.db|\$.*|RECYCLER"
    r"|System Volume Information|lost\+found|found\.\d{3}|__pycache__",
    re.IGNORECASE,
)
# Windows gives them with the names, without another call to the system.
_HAS_ATTRIBUTES = os.name == "nt"


@dataclass(frozen=True, slots=True)
class FolderEntries:
    """What is directly in a folder: visible files, visible folders, and the folders that are passed over.

    A link that leads nowhere may have led to a folder on a disk that is not mounted. So it is among the folders, unless
    its name is that of an image; listing it says where it leads.
    """

    files: list[Path]
    folders: list[Path]
    passed_over: list[Path]


@dataclass(frozen=True, slots=True)
class FolderContent:
    """The files in and below a folder.

    Attributes
    ----------
    files
        Without hidden files. Sorted part by part, with upper case first, so that the order is the same on each system.
    passed_over
        Folders that are hidden or that a system made; their content is not in `files`.
    unlistable
        The folders that can't be listed, each with the error that says why.
    """

    files: list[Path]
    passed_over: list[Path]
    unlistable: dict[Path, DataError]


def find_images(paths: list[Path], *, reporter: Reporter = SILENT) -> list[Path]:
    """Return the files among `paths`, and the images in and below the folders among them, sorted within a folder.

    The result may also have broken links and folders that can't be listed: reading each says what is wrong with it.
    A note counts the folders that were passed over.

    Raises
    ------
    DataError
        If a path does not exist, or a folder has no image.
    """
    found: list[Path] = []
    passed_over: list[Path] = []
    for path in paths:
        if not os.path.lexists(path):
            raise DataError(f"{path} does not exist: expected an image or a folder of images")
        if not path.is_dir():
            found.append(path)
            continue
        content = list_folder(path)
        images = _images_and_unlistable(content)
        if not images:
            raise DataError(f"{path} has no image: expected files ending in {suffix_list()}")
        found += images
        passed_over += content.passed_over
    if passed_over:
        reporter.note(passed_over_note(passed_over))
    return found


def images_below(folder: Path) -> list[Path]:
    """Return the images in and below a folder, and the folders that can't be listed, sorted."""
    return _images_and_unlistable(list_folder(folder))


def passed_over_note(folders: Sequence[object]) -> str:
    """Return a sentence that counts the folders that were passed over."""
    return f"passed over {count_and_name(folders, 'folder')}: hidden, or made by a system"


def list_folder(folder: Path) -> FolderContent:
    """List the files in and below `folder`.

    Links to folders are followed, and so are the junctions of Windows. A folder that can be reached in several ways is
    listed once: under its own path if it has one below `folder`, else under the first of its links. A link to a folder
    that contains the link is not followed, because it forms a circle.
    """
    files: list[Path] = []
    passed_over: list[Path] = []
    unlistable: dict[Path, DataError] = {}
    listed: set[str] = set()
    folders: list[Path] = [folder]
    links: list[Path] = []
    while folders or links:
        if not folders:  # only now, so that a folder below `folder` keeps its own path
            links = _sorted(links)
            folders = [links.pop(0)]
        place = folders.pop()
        real_place = os.path.realpath(place)
        if real_place in listed:
            continue
        listed.add(real_place)
        try:
            here = list_entries(place)
        except DataError as error:
            unlistable[place] = error
            continue
        files += here.files
        passed_over += here.passed_over
        for path in here.folders:
            target = os.path.realpath(path)
            if target == os.path.join(real_place, path.name):  # noqa: PTH118 - compares texts
                folders.append(path)
            elif not any(Path(os.path.realpath(parent)).is_relative_to(target) for parent in path.parents):
                links.append(path)
    return FolderContent(_sorted(files), _sorted(passed_over), unlistable)


def list_entries(folder: Path) -> FolderEntries:
    """List what is directly in `folder`, sorted.

    Raises
    ------
    DataError
        If it can't be listed.
    """
    files: list[Path] = []
    folders: list[Path] = []
    passed_over: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                hidden = _is_hidden(entry.name, partial(entry.stat, follow_symlinks=False))
                if not _is_folder(entry):
                    files += [] if hidden else [path]
                elif hidden or SYSTEM_NAMES.fullmatch(entry.name):
                    passed_over.append(path)
                else:
                    folders.append(path)
    except OSError as error:
        raise DataError(explain_unreadable(folder, error)) from error
    return FolderEntries(_sorted(files), _sorted(folders), _sorted(passed_over))


def is_passed_over(path: Path) -> bool:
    """Whether a file or folder is hidden, or one that a system made, so that nobody means it by a wildcard."""
    return _is_hidden(path.name, path.lstat) or SYSTEM_NAMES.fullmatch(path.name) is not None


def is_image_name(path: Path) -> bool:
    """Whether `path` has the suffix of an image, in any case."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def suffix_list() -> str:
    """Return the accepted suffixes for a message."""
    return ", ".join(sorted(IMAGE_SUFFIXES))


def _is_hidden(name: str, status: Callable[[], os.stat_result]) -> bool:
    """Whether a file or folder is hidden: by a dot, or on Windows by its attributes ``hidden`` or ``system``."""
    if name.startswith(".") or not _HAS_ATTRIBUTES:
        return name.startswith(".")
    attributes: int = status().st_file_attributes  # type: ignore[attr-defined,unused-ignore]
    return bool(attributes & (stat.FILE_ATTRIBUTE_HIDDEN | stat.FILE_ATTRIBUTE_SYSTEM))


def _images_and_unlistable(content: FolderContent) -> list[Path]:
    """Return the images of a folder, and the folders in it that can't be listed, sorted."""
    return _sorted([path for path in content.files if is_image_name(path)] + [*content.unlistable])


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder, a link to one, or something that can't be looked at and may be one."""
    try:
        if entry.is_dir():
            return True
        is_lost = entry.is_symlink() and not os.path.exists(entry.path)  # noqa: PTH110 - Path.exists may raise
    except OSError:
        is_lost = True
    # Emacs locks a file with a hidden link that leads nowhere.
    return is_lost and not (entry.name.startswith(".") or is_image_name(Path(entry.name)))


def _sorted(paths: list[Path]) -> list[Path]:
    """Return paths in the same order on each system: `Path` itself ignores the case on Windows."""
    return sorted(paths, key=lambda path: path.parts)
