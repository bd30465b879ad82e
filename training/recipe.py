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

# PyTorch's accelerators to train on, the preferred one first. Here, because the command line must not wait for PyTorch.
ACCELERATORS = ("cuda", "xpu")

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
        """Return whether a number is in the interval; NaN is in no interval."""
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
        One sentence or two, for the command line and the docstring.
    allowed
        The texts or the numbers that the field takes; for a Boolean, both of them.
    """

    help: str
    allowed: tuple[str, ...] | tuple[bool, ...] | Interval

    def __str__(self) -> str:
        """Return the allowed values in words, such as ``in [0, 1)`` or ``adam or adamw``."""
        if isinstance(self.allowed, Interval):
            return f"in {self.allowed}"
        *others, last = map(str, self.allowed)
        return f"{', '.join(others)} or {last}"


def _field(default: T, allowed: tuple[str, ...] | tuple[bool, ...] | Interval, text: str) -> T:
    """Declare a field with its default, its allowed values and its help; to type checkers it is the default."""
    return dataclasses.field(default=default, metadata={"spec": FieldSpec(text, allowed)})


_FRACTION = Interval(0, 1)
_POSITIVE = Interval(0, 1, low_open=True)
_BELOW_ONE = Interval(0, 1, high_open=True)
_INSIDE = Interval(0, 1, low_open=True, high_open=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a model is trained. Stored whole in ``run.json``.

    To add a choice, add a field here and its use in the training. Increase the number of `RUN_SCHEMA`, because old
    runs lack the field.

    Raises
    ------
    RecipeError
        If a value is not valid; the error's `field` is the name of the field.

    Examples
    --------
    >>> from overfly.training import Recipe
    >>> Recipe(epochs=5).batch_size
    32
    """

    model: str = _field("mobilenet_v2", tuple(MODELS), "Name of the model in torchvision.")
    # Five halvings reduce 32 x 32 to 1 x 1.
    image_size: int = _field(128, Interval(32, 4096), "Height and width of the input in pixels.")
    epochs: int = _field(40, Interval(1, _MOST), "Passes over the training part.")
    # Batch normalization needs more than one value per channel.
    batch_size: int = _field(32, Interval(2, _MOST), "Images per step.")
    batch_shares: int = _field(
        2,
        Interval(1, _MOST),
        "Shares of a batch: each is normalized by itself and, on a CPU, computed in a thread of its own.",
    )
    precision: str = _field(
        "auto",
        ("auto", "fp32", "bf16"),
        "Number format; bf16 is mixed; auto is fp32 on a CPU, and bf16 on a GPU that has it.",
    )
    optimizer: str = _field("adamw", ("adam", "adamw"), "Optimizer; adamw decouples the weight decay.")
    learning_rate: float = _field(1.5e-3, _POSITIVE, "Highest learning rate, reached after the warm-up.")
    weight_decay: float = _field(0.02, _BELOW_ONE, "Weight decay; biases and batch normalization have none.")
    warmup_fraction: float = _field(0.1, _BELOW_ONE, "Fraction of all steps in which the learning rate rises from 0.")
    schedule: str = _field(
        "cosine", ("constant", "cosine"), "Learning rate after the warm-up: constant, or a cosine down to 0."
    )
    label_smoothing: float = _field(0.1, _BELOW_ONE, "Label smoothing of the cross-entropy.")
    sam_rho: float = _field(
        0.1,
        Interval(0, math.inf, high_open=True),
        "SAM perturbation radius (rho); doubles the time of a step; 0 disables SAM.",
    )
    sam_fraction: float = _field(0.5, _FRACTION, "Fraction of all steps that use SAM; they are the last ones.")
    batch_norm: str = _field(
        "train",
        ("train", "frozen"),
        "Batch normalization with each batch's statistics, or the pretrained ones (frozen).",
    )
    frozen_fraction: float = _field(
        0.175, _FRACTION, "Fraction of the convolutions, from the first one on, that keep their pretrained weights."
    )
    ema_decay: float = _field(
        0.996,
        _BELOW_ONE,
        "Decay per step of the moving average of the weights, which is what the run keeps; 0 disables it.",
    )
    keep: str = _field(
        "last", ("last", "best"), "Epoch whose weights are kept: the last, or the best by validation accuracy."
    )
    dihedral: bool = _field(
        True, (True, False), "Rotate by quarter turns and mirror at random: an aerial image has no upright orientation."
    )
    rotation: float = _field(180.0, Interval(0, 180), "Largest random rotation in degrees, in both directions.")
    min_crop: float = _field(0.85, _POSITIVE, "Smallest side of a random square crop, as a fraction; 1 disables it.")
    jitter: float = _field(0.2, _BELOW_ONE, "Largest relative change of brightness and of contrast.")
    test_fraction: float = _field(0.2, _INSIDE, "Fraction of each class for the test part.")
    val_fraction: float = _field(
        0.05, _BELOW_ONE, "Fraction of each class, without its test images, for the validation part; 0 makes none."
    )

    def __post_init__(self) -> None:
        """Check every value."""
        for name, spec in FIELDS.items():
            value = getattr(self, name)
            if value not in spec.allowed:
                raise RecipeError(name, value, str(spec))
        # Batch normalization needs two images in each share.
        if self.batch_shares > max(1, self.batch_size // 2):
            expected = f"at most half of batch_size, {self.batch_size}: --set batch_shares=1 leaves batches whole"
            raise RecipeError("batch_shares", self.batch_shares, expected)

    @property
    def image(self) -> "ImageSpec":
        """The input that a model of this recipe takes."""
        # Imported here, because the command line reads the recipes for its help, which must not wait for numpy.
        from overfly.runtime.images.reading import ImageSpec

        return ImageSpec(self.image_size, _MEAN, _STD, reduce_first=True)


FIELDS: dict[str, FieldSpec] = {field.name: field.metadata["spec"] for field in dataclasses.fields(Recipe)}

_ATTRIBUTES = "\n".join(f"    {name}\n        {spec.help}" for name, spec in FIELDS.items())
Recipe.__doc__ = f"{Recipe.__doc__ or ''}\n    Attributes\n    ----------\n{_ATTRIBUTES}\n"


# The paper's section 3.2: batch size 16, 60 epochs, Adam, cross-entropy, learning rate 1e-5, an 80/20 split.
PAPER = Recipe(
    image_size=256,
    epochs=60,
    batch_size=16,
    batch_shares=1,
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
    val_fraction=0.0,
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
