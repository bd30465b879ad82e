"""Recipes: every choice of a training in one frozen record."""

import dataclasses
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from overfly.runtime.errors import RecipeError
from overfly.training.models.registry import MODELS

if TYPE_CHECKING:
    from overfly.runtime.images.reading import ImageSpec

T = TypeVar("T")

# The channel statistics of ImageNet, with which torchvision's weights were trained.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# A larger number is a typing error, and beyond what PyTorch can count.
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers between two ends; an open end does not belong to them."""

    low: float
    high: float
    low_open: bool = False
    high_open: bool = False

    def __contains__(self, number: float) -> bool:
        """Return whether a number is in the interval; not-a-number is in none."""
        above = number > self.low if self.low_open else number >= self.low
        below = number < self.high if self.high_open else number <= self.high
        return above and below

    def __str__(self) -> str:
        """Return the interval in mathematical notation, such as ``[0, 1)``."""
        return f"{'(' if self.low_open else '['}{self.low}, {self.high}{')' if self.high_open else ']'}"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """What a field of `Recipe` means and which values it takes: stored in the field's metadata.

    Attributes
    ----------
    help
        One or two sentences, used by the command line and in the docstring.
    choices
        The texts that the field takes; empty for any other type.
    interval
        The numbers that the field takes; None for any other type.
    """

    help: str
    choices: tuple[str, ...] = ()
    interval: Interval | None = None

    @property
    def values(self) -> str:
        """The valid values in words, such as ``in [0, 1)`` or ``adam or adamw``; for a Boolean, both."""
        if self.interval is not None:
            return f"in {self.interval}"
        *others, last = self.choices or ("True", "False")
        return f"{', '.join(others)} or {last}"


def _field(default: T, text: str, *, choices: tuple[str, ...] = (), interval: Interval | None = None) -> T:
    """Declare a field with its default and its help; to type checkers it is the default."""
    return dataclasses.field(default=default, metadata={"spec": FieldSpec(text, choices, interval)})


_POSITIVE_FRACTION = Interval(0, 1, low_open=True)
_FRACTION = Interval(0, 1)
_LESS_THAN_ONE = Interval(0, 1, high_open=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is trained. Stored whole in ``run.json``.

    To add a choice, add a field here and its use in the training; raise `RUN_SCHEMA`, because old runs lack it.

    Raises
    ------
    RecipeError
        If a value is not valid; the error's `field` is the name of the field.
    """

    model: str = _field("mobilenet_v2", "Name of the model in torchvision.", choices=tuple(MODELS))
    # Five halvings reduce 32 x 32 to 1 x 1.
    image_size: int = _field(128, "Height and width of the input in pixels.", interval=Interval(32, 4096))
    epochs: int = _field(40, "Passes over the training part.", interval=Interval(1, _MOST))
    # Batch normalization needs more than one value per channel.
    batch_size: int = _field(16, "Images per step.", interval=Interval(2, _MOST))
    precision: str = _field(
        "auto",
        "Number format of the training: fp32, bf16 (mixed precision), or auto: bf16 if the device has matrix "
        "units for it, else fp32.",
        choices=("auto", "fp32", "bf16"),
    )
    optimizer: str = _field("adamw", "Optimizer; adamw decouples the weight decay.", choices=("adam", "adamw"))
    learning_rate: float = _field(
        1e-3,
        "Highest learning rate, reached after the warm-up.",
        interval=_POSITIVE_FRACTION,
    )
    weight_decay: float = _field(
        0.02,
        "Weight decay of matrices and filters; biases and batch normalization have none.",
        interval=_LESS_THAN_ONE,
    )
    warmup_fraction: float = _field(
        0.1,
        "Fraction of all steps in which the learning rate rises linearly from 0.",
        interval=_LESS_THAN_ONE,
    )
    schedule: str = _field(
        "cosine",
        "Learning rate after the warm-up: constant, or a cosine down to 0.",
        choices=("constant", "cosine"),
    )
    label_smoothing: float = _field(
        0.1,
        "Label smoothing of the cross-entropy: the probability that is spread over all classes.",
        interval=_LESS_THAN_ONE,
    )
    sam_rho: float = _field(
        0.1,
        "SAM perturbation radius (rho); doubles the time of a step; 0 disables SAM.",
        interval=Interval(0, math.inf, high_open=True),
    )
    sam_fraction: float = _field(
        0.5,
        "Fraction of all steps, at the end of the training, that use SAM.",
        interval=_FRACTION,
    )
    batch_norm: str = _field(
        "train",
        "Statistics of batch normalization: train uses those of each batch, frozen those of the pretrained weights.",
        choices=("train", "frozen"),
    )
    frozen_fraction: float = _field(
        0.175,
        "Fraction of the convolutions, counted from the input and rounded down, that keep their pretrained weights.",
        interval=_FRACTION,
    )
    ema_decay: float = _field(
        0.998,
        "Decay per step of the moving average of the weights, which is evaluated and kept; 0 disables it.",
        interval=_LESS_THAN_ONE,
    )
    keep: str = _field(
        "last",
        "Epoch whose weights are kept: last, or best by validation accuracy; of equal epochs, the latest.",
        choices=("last", "best"),
    )
    dihedral: bool = _field(
        True,
        "Rotate by quarter turns and mirror at random: an image taken from above has no upright.",
    )
    rotation: float = _field(
        180.0,
        "Largest random rotation in degrees, in both directions; the corners show the mirrored image.",
        interval=Interval(0, 180),
    )
    min_crop: float = _field(
        0.85,
        "Smallest side of the random square crop, as a fraction of the image; 1 disables cropping.",
        interval=_POSITIVE_FRACTION,
    )
    jitter: float = _field(0.2, "Largest relative change of brightness and of contrast.", interval=_LESS_THAN_ONE)
    test_fraction: float = _field(
        0.2,
        "Fraction of each class for the test part.",
        interval=Interval(0, 1, low_open=True, high_open=True),
    )
    val_fraction: float = _field(
        0.0,
        "Fraction of each class, after the test part is taken, for the validation part; 0 means no such part.",
        interval=_LESS_THAN_ONE,
    )

    def __post_init__(self) -> None:
        """Check every value."""
        for name, spec in FIELDS.items():
            value = getattr(self, name)
            if (spec.choices and value not in spec.choices) or (spec.interval and value not in spec.interval):
                raise RecipeError(name, value, spec.values)

    @property
    def image(self) -> "ImageSpec":
        """The input that a model of this recipe takes."""
        # Imported here, because the command line reads the recipes for its help, which must not wait for numpy.
        from overfly.runtime.images.reading import ImageSpec

        return ImageSpec(self.image_size, _MEAN, _STD)


FIELDS: dict[str, FieldSpec] = {field.name: field.metadata["spec"] for field in dataclasses.fields(Recipe)}

_ATTRIBUTES = "\n".join(f"    {name}\n        {spec.help}" for name, spec in FIELDS.items())
Recipe.__doc__ = f"{Recipe.__doc__}\n    Attributes\n    ----------\n{_ATTRIBUTES}\n"


# The paper's section 3.2: batch size 16, 60 epochs, Adam, cross-entropy, learning rate 1e-5, an 80/20 split.
PAPER = Recipe(
    image_size=256,
    epochs=60,
    precision="fp32",
    optimizer="adam",
    learning_rate=1e-5,
    weight_decay=0.0,
    warmup_fraction=0.0,
    schedule="constant",
    label_smoothing=0.0,
    sam_rho=0.0,
    batch_norm="train",
    frozen_fraction=0.0,
    ema_decay=0.0,
    dihedral=False,
    rotation=0.0,
    min_crop=1.0,
    jitter=0.0,
)

RECIPES = {"default": Recipe(), "paper": PAPER}


def override(recipe: Recipe, **changes: object) -> Recipe:
    """Return a copy of the recipe with the `changes` that are not None.

    Raises
    ------
    RecipeError
        If a value is not valid.
    TypeError
        If a recipe has no field of that name.
    """
    return dataclasses.replace(recipe, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]


def without_pretraining(recipe: Recipe) -> Recipe:
    """Return the recipe for random initial weights: nothing is frozen, because there is nothing worth keeping."""
    return override(recipe, batch_norm="train", frozen_fraction=0.0)
