"""The parts of a split, and the folders that stand for them, known by their names and by the folders in them."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from overfly.runtime.files.names import utf8_text
from overfly.runtime.images.discovery import FolderEntries, is_image_name

PARTS = ("train", "val", "test")

# One group for each of `PARTS`. Also Training, valid, test_set, train-images and so on.
_PART_NAME = re.compile(
    r"(?:(train|training)|(val|valid|validation)|(test|testing))(?:[ _-]?(?:set|data|images))?", re.IGNORECASE
)
# Also those of UcmTrain and train2017.
_WORDS = re.compile(r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+")
_FILLERS = {"set", "data", "images"}
# A split needs two classes, so its parts have two folders in common.
_MIN_SHARED = 2


def parts_named(name: str) -> tuple[str, ...]:
    """Return the parts that a name has words of: one for ``UCM_train``, two for ``train_val``, mostly none."""
    whole = _part_of_word(name)
    words = [whole] if whole else map(_part_of_word, _WORDS.findall(utf8_text(name)))
    return tuple(dict.fromkeys(filter(None, words)))


def n_parts(names: Iterable[str]) -> int:
    """Return how many parts of a split have a word in one of the names."""
    return len({part for name in names for part in parts_named(name)})


def differ_otherwise(names: Iterable[str]) -> bool:
    """Whether names of parts differ in other words, too; a name without any, such as ``train``, does not count."""
    return len({_rest_of_name(name) for name in names} - {()}) > 1


def part_folders(inside: Mapping[Path, FolderEntries]) -> list[Path]:
    """Return the folders that look like the parts of a split, sorted.

    Those are the folders that are called like a part. Other names must have the word of a part, such as ``UCM_train``
    and ``UCM_test``, and there must be more than one part; most of the folders in them must be the same, and either the
    rest of their names is the same as well, or there is nothing else in the data folder.

    Parameters
    ----------
    inside
        All folders of the data folder, with what is directly in them.
    """
    plain = [path for path in inside if _part_of_word(path.name)]
    named = [path for path in inside if parts_named(path.name)]
    names = [path.name for path in named]
    if n_parts(names) < 2:  # noqa: PLR2004 - nothing is divided
        return plain
    if not shared_folders([{folder.name for folder in inside[path].folders} for path in named]):
        return plain
    is_all = len(named) == len(inside) and not any(map(is_image_name, (f for p in named for f in inside[p].files)))
    return named if is_all or not differ_otherwise(names) else plain


def shared_folders(folders: Collection[Collection[str]]) -> list[str]:
    """Return the names of the folders that the parts of a split would have in common, sorted.

    Empty if they are no parts: if fewer than two of them have folders, if one has less than half of its folders in
    common with the one that has most, or if there are fewer than two such folders.

    Parameters
    ----------
    folders
        For each of the parts, the names of the folders in it. A part without folders does not matter.
    """
    sets = [{name.casefold() for name in names} for names in folders if names]
    most = max(sets, key=len, default=set())
    shared = set().union(*(names & most for names in sets if names is not most))
    is_split = len(shared) >= _MIN_SHARED and all(len(names & most) * 2 >= len(names) for names in sets)
    return sorted(name for name in max(folders, key=len) if name.casefold() in shared) if is_split else []


def _rest_of_name(name: str) -> tuple[str, ...]:
    """Return the words of a name that say nothing of a part."""
    words = [] if _part_of_word(name) else _WORDS.findall(name)
    return tuple(word.casefold() for word in words if not _part_of_word(word) and word.casefold() not in _FILLERS)


def _part_of_word(word: str) -> str | None:
    """Return the part that a word or a whole name stands for."""
    match = _PART_NAME.fullmatch(word)
    return PARTS[match.lastindex - 1] if match and match.lastindex else None
