"""What makes two trainings the same."""

import dataclasses
import hashlib
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.documents import dump_document
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.images.depth import ValueRange
from overfly.runtime.images.reading import ImageSpec
from overfly.training.data.split import SPLIT_SCHEMA, Split
from overfly.training.recipe import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingIdentity:
    """All that decides the weights of a training, apart from the machine: equal identities are the same training.

    Attributes
    ----------
    recipe
        The recipe that was really used: without frozen layers for random initial weights, and with the fractions of the
        split.
    weights
        See `weights_identity`.
    value_range
        The values that become 0 and 255 in images of more than 8 bits; None keeps their highest 8 bits.
    split_sha256
        See `split_sha256`; it covers the names, the contents and the parts of all images.
    """

    recipe: Recipe
    seed: int
    weights: str
    split_sha256: str
    value_range: ValueRange | None = None

    @property
    def image(self) -> ImageSpec:
        """How images become the model's input."""
        return dataclasses.replace(self.recipe.image, value_range=self.value_range)

    def first_difference(self, other: "TrainingIdentity") -> tuple[str, object, object] | None:
        """Return the name of the first choice that differs, its value here and in `other`; None if they are the same.

        The choices are the fields of the recipe, then the other fields.
        """
        ours, theirs = _choices(self), _choices(other)
        return next(((name, ours[name], theirs[name]) for name in ours if ours[name] != theirs[name]), None)


def weights_identity(weights: str) -> str:
    """Return ``imagenet``, ``none``, or ``sha256:`` and the hash of the weights file, wherever it is."""
    return weights if weights in {"imagenet", "none"} else f"sha256:{sha256_file(Path(weights))}"


def split_sha256(split: Split) -> str:
    """Return the SHA-256 of a split's ``split.json``."""
    return hashlib.sha256(dump_document(split, schema=SPLIT_SCHEMA).encode()).hexdigest()


def _choices(identity: TrainingIdentity) -> dict[str, object]:
    """Return all choices of a training by name."""
    choices = dataclasses.asdict(identity)
    # A saved state holds it as JSON, which has no tuples.
    choices["value_range"] = None if identity.value_range is None else tuple(identity.value_range)
    return {**choices.pop("recipe"), **choices}
