"""Where a data folder has its class folders: directly in it, or in the folders of a split such as train and test."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.errors import DataError
from overfly.runtime.files.access import describe_broken_link
from overfly.runtime.files.names import utf8_text
from overfly.runtime.images.discovery import FolderEntries, is_image_name, list_entries
from overfly.training.data.parts import differ_otherwise, part_folders, parts_named

_MIN_CLASSES = 2
_EXPECTED = "expected one folder for each class, with images in it"
# Unicode's categories of control characters, line and paragraph separators, and Python's stand-ins for bytes that are
# not UTF-8. A bundle could not write such a class name into its XML or on a line of its own.
_NOT_TEXT = {"Cc", "Cs", "Zl", "Zp"}


@dataclass(frozen=True, slots=True)
class Layout:
    """The class folders of a data folder.

    Attributes
    ----------
    classes
        Names of the classes, sorted.
    folders
        Every class folder, with the index of its class.
    parts
        The part of the split for each part folder, by its name. Empty if the class folders are directly in the data
        folder.
    outside
        Images that are in no class folder.
    passed_over
        Folders that are hidden or that a system made.
    """

    classes: tuple[str, ...]
    folders: tuple[tuple[Path, int], ...]
    parts: dict[str, str]
    outside: tuple[Path, ...]
    passed_over: tuple[Path, ...]


def find_layout(folder: Path) -> Layout:
    """Find the class folders of a data folder.

    The data folder is divided by a person if it has nothing but part folders, such as ``train``, ``val`` and ``test``,
    with class folders in them.

    Raises
    ------
    DataError
        If the folder is missing, has fewer than two classes or a class with an unusable name, or if it mixes class
        folders with part folders.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise DataError(
            describe_broken_link(folder) or f"the data folder {folder} can't be used: found {found}, {_EXPECTED}"
        )
    entries = list_entries(folder)
    inside = {path: list_entries(path) for path in entries.folders}
    parts = _find_parts(folder, inside)
    roots = inside if parts else {folder: entries}
    train = next((path for path in roots if parts.get(utf8_text(path.name)) == "train"), folder)
    classes = _check_classes(train, roots[train])
    if parts and parts.keys() <= set(classes):
        raise DataError(
            f"the class folders of {train} have the names of parts of a split ({', '.join(parts)}): pass {train} as "
            "the data folder, or rename them"
        )
    class_folders = [path for root in roots.values() for path in root.folders]
    for path in class_folders:
        if utf8_text(path.name) not in classes:
            raise DataError(
                f"the class folder {path} has no counterpart in {train}, so nothing can be trained for it: add one, or "
                "remove the folder"
            )
    everything = {folder: entries, **roots}.values()
    return Layout(
        classes,
        tuple((path, classes.index(utf8_text(path.name))) for path in class_folders),
        parts,
        tuple(path for content in everything for path in _images(content)),
        tuple(path for content in everything for path in content.passed_over),
    )


def _find_parts(folder: Path, inside: Mapping[Path, FolderEntries]) -> dict[str, str]:
    """Return the part for each part folder, by its name; empty if the folders are classes.

    `inside` has the content of each folder.

    Raises
    ------
    DataError
        If some of the folders look like the parts of a split, but not all of them can be.
    """
    named = part_folders(inside)
    others = [path.name for path in inside if path not in named]
    # A class may have the name of a part: "train" is a vehicle. Then its images are directly in its folder.
    if others and all(_images(inside[path]) for path in named):
        return {}
    if len(inside) < _MIN_CLASSES or not named:
        return {}
    parts = {utf8_text(path.name): parts_named(path.name)[0] for path in named}
    look = "folder {} of {} looks like a part" if len(named) == 1 else "folders {} of {} look like the parts"
    found = f"the {look.format(', '.join(parts), folder)} of a split"
    if others:
        raise DataError(
            f"{found}, but {others[0]} does not: keep nothing but class folders, or nothing but parts, in the data "
            "folder. If all are classes, move the images of each directly into its folder"
        )
    if problem := _problem_of_parts(parts, inside):
        raise DataError(f"{found}, but {problem}")
    if "test" not in parts.values():
        # The images that were kept apart are the only ones to test on; most public data sets call them so.
        return {name: "test" if part == "val" else part for name, part in parts.items()}
    return parts


def _problem_of_parts(parts: Mapping[str, str], inside: Mapping[Path, FolderEntries]) -> str | None:
    """Return why the folders can't be the parts of a split, and the remedy; None if they can."""
    if empty := [path.name for path, content in inside.items() if not content.folders]:
        return f"{empty[0]} has no class folder in it: add its class folders, or remove it"
    if unclear := [name for name in parts if len(parts_named(name)) > 1]:
        return f"{unclear[0]} may be {' or '.join(parts_named(unclear[0]))}: rename the folders to train, val and test"
    if differ_otherwise(parts):
        return (
            "their names differ in more than the part: rename the folders to train, val and test or, if they are "
            "classes, move the images of each directly into its folder"
        )
    if len(set(parts.values())) < len(parts):
        return "two of them are the same part: merge or remove one, and rename the folders to train, val and test"
    if "train" not in parts.values():
        return "none of them is the train part: add it, or pass a folder of class folders"
    return None


def _check_classes(folder: Path, entries: FolderEntries) -> tuple[str, ...]:
    """Return the names of the class folders in `folder`, sorted; raise a DataError if they can't be used."""
    classes = tuple(sorted(utf8_text(path.name) for path in entries.folders))
    if not classes:
        raise DataError(f"the data folder {folder} contains no class folder: {_EXPECTED}")
    for name in classes:
        if not _NOT_TEXT.isdisjoint(map(unicodedata.category, name)):
            raise DataError(
                f"the class folder {name!r} of {folder} can't name a class: the name contains control characters or "
                "bytes that are not UTF-8; rename it"
            )
    if len(classes) < _MIN_CLASSES:
        only = entries.folders[0]
        n_inside = len(list_entries(only).folders)
        remedy = f"did you mean {only}?" if n_inside >= _MIN_CLASSES else "add a second class"
        raise DataError(f"the data folder {folder} has one class ({classes[0]}), expected at least two: {remedy}")
    return classes


def _images(entries: FolderEntries) -> tuple[Path, ...]:
    """Return the images directly in a folder."""
    return tuple(filter(is_image_name, entries.files))
