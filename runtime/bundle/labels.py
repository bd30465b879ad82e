"""Class names as labels that clients can tell apart."""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Sequence

from overfly.runtime.errors import DataError

# The label of images and cells that do not look like the training images.
UNKNOWN = "unknown"

_WHITE_SPACE = re.compile(r"\s")
_BLANKS = re.compile(r"[\s_]+")
# Unicode's Default_Ignorable_Code_Point, as far as it is not of the category Cf (format): joiners, fillers, selectors.
_INVISIBLE = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0000-\U000e0fff]")


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
    """Return the groups of classes whose names look alike.

    They differ only in case, in their Unicode form (also in compatibility characters such as full-width letters), in
    blanks and underscores, or in invisible characters.
    """
    return _groups(classes, _look)


def _look(name: str) -> str:
    """Return a name without what people overlook."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    visible = "".join(c for c in _INVISIBLE.sub("", folded) if unicodedata.category(c) != "Cf")
    return _BLANKS.sub(" ", visible).strip()


def _groups(classes: Sequence[str], key: Callable[[str], str]) -> list[tuple[str, ...]]:
    """Return the groups of two or more classes with the same key."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        groups[key(name)].append(name)
    return [tuple(names) for names in groups.values() if len(names) > 1]
