"""Class names as labels that clients can tell apart."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence

from overfly.runtime.errors import DataError

_WHITE_SPACE = re.compile(r"\s")


def model_api_label(class_name: str) -> str:
    """Return the label of a class in OpenVINO's Model API, which separates labels by white space."""
    return _WHITE_SPACE.sub("_", class_name)


def check_labels(classes: Sequence[str]) -> None:
    """Raise a DataError if two classes have the same label in OpenVINO's Model API."""
    for names in _groups(classes, model_api_label):
        raise DataError(
            f"the classes {names[0]!r} and {names[1]!r} have the same label in OpenVINO's Model API "
            f"({model_api_label(names[0])}), so its clients can't tell them apart: rename the folder of one of them, "
            "then train"
        )


def similar_labels(classes: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the groups of classes whose names differ only in case, in Unicode form or in blanks at the ends."""
    return _groups(classes, lambda name: unicodedata.normalize("NFC", name).casefold().strip())


def _groups(classes: Sequence[str], key: Callable[[str], str]) -> list[tuple[str, ...]]:
    """Return the groups of two or more classes with the same key."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        groups[key(name)].append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]
