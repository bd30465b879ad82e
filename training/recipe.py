"""Recipes: every choice of a training in one frozen record."""

import dataclasses
import inspect
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from overfly.runtime.images.reading import ImageSpec

# ImageNet's channel statistics, with which torchvision's weights were trained.
_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# More is a slip of the keyboard, and beyond what PyTorch can count.
_MOST = 1_000_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a model is trained. Stored whole in ``run.json``.

    A field needs its entry below and nothing else: the option of ``overfly train`` is made from both.

    Attributes
    ----------
    model
        Its name in torchvision.
    image_size
        Height and width of the input in pixels.
    epochs
        Passes over the training part.
    batch_size
        Images in a step.
    precision
        ``fp32``, ``bf16`` (mixed, by autocast), or ``auto``: bf16 where the device has units for its matrices, else
        fp32.
    optimizer
        ``adam``, or ``adamw`` (decoupled weight decay).
    learning_rate
        Peak of the learning rate, after the warm-up.
    weight_decay
        Decay of weight matrices and filters; biases and batch-norm are left alone.
    warmup_fraction
        Part of all steps in which the learning rate climbs linearly from 0.
    schedule
        After the warm-up: ``constant``, or ``cosine`` down to 0.
    label_smoothing
        Probability mass spread over all classes in the cross-entropy.
    sam_rho
        Sharpness-aware minimisation takes a step's gradients this far uphill of the weights, which makes a step twice
        as long; 0 takes them at the weights.
    sam_fraction
        The part of all steps, rounded down and up to the last, in which sam_rho holds.
    batch_norm
        ``train`` takes each batch's mean and variance, ``frozen`` keeps those of the pretrained weights.
    frozen_fraction
        Which part of the convolutions, from the first on and rounded down, stays as pretrained.
    ema_decay
        Decay per step of the averaged weights that are evaluated and kept; 0 evaluates the weights themselves.
    keep
        Which epoch's weights the run ends with: ``last``, or ``best`` (of the highest accuracy on the
        validation part; of equals the latest, which has learned the longest at the lowest rate).
    dihedral
        Whether to turn by quarters and mirror at random: a scene seen from above has no upright.
    rotation
        Largest turn by a random angle, either way, in degrees; the corners show the scene mirrored at its border.
    min_crop
        Smallest side of a random square crop, as a fraction; 1 crops nothing.
    jitter
        Largest relative change of brightness and of contrast.
    test_fraction
        The part of each class to test on.
    val_fraction
        The part of each class left for training to validate on; 0 validates on none.
    """

    model: str = "mobilenet_v2"
    image_size: int = 128
    epochs: int = 40
    batch_size: int = 16
    precision: str = "auto"
    optimizer: str = "adamw"
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    warmup_fraction: float = 0.1
    schedule: str = "cosine"
    label_smoothing: float = 0.1
    sam_rho: float = 0.1
    sam_fraction: float = 0.5
    batch_norm: str = "train"
    frozen_fraction: float = 0.175
    ema_decay: float = 0.998
    keep: str = "last"
    dihedral: bool = True
    rotation: float = 180.0
    min_crop: float = 0.85
    jitter: float = 0.2
    test_fraction: float = 0.2
    val_fraction: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that can't be trained with, naming the field."""
        _require(self.precision in {"auto", "fp32", "bf16"}, "precision", self.precision, "auto, fp32 or bf16")
        _require(self.optimizer in {"adam", "adamw"}, "optimizer", self.optimizer, "adam or adamw")
        _require(self.schedule in {"constant", "cosine"}, "schedule", self.schedule, "constant or cosine")
        _require(self.batch_norm in {"train", "frozen"}, "batch_norm", self.batch_norm, "train or frozen")
        _require(0 <= self.frozen_fraction <= 1, "frozen_fraction", self.frozen_fraction, "in [0, 1]")
        _require(self.keep in {"last", "best"}, "keep", self.keep, "last or best")
        _require(1 <= self.epochs <= _MOST, "epochs", self.epochs, f"in [1, {_MOST}]")
        # Batch normalisation needs more than one value a channel, and five halvings leave 1 x 1 of 32 x 32.
        _require(2 <= self.batch_size <= _MOST, "batch_size", self.batch_size, f"in [2, {_MOST}]")  # noqa: PLR2004
        _require(32 <= self.image_size <= 4096, "image_size", self.image_size, "in [32, 4096]")  # noqa: PLR2004
        _require(0 < self.learning_rate <= 1, "learning_rate", self.learning_rate, "in (0, 1]")
        _require(0 <= self.sam_rho < math.inf, "sam_rho", self.sam_rho, "finite and at least 0")
        for name in ("weight_decay", "warmup_fraction", "label_smoothing", "ema_decay", "jitter", "val_fraction"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "in [0, 1)")
        _require(0 <= self.sam_fraction <= 1, "sam_fraction", self.sam_fraction, "in [0, 1]")
        _require(0 <= self.rotation <= 180, "rotation", self.rotation, "in [0, 180]")  # noqa: PLR2004
        _require(0 < self.min_crop <= 1, "min_crop", self.min_crop, "in (0, 1]")
        _require(0 < self.test_fraction < 1, "test_fraction", self.test_fraction, "in (0, 1)")

    @property
    def image(self) -> "ImageSpec":
        """The input that a model of this recipe takes."""
        # Here, as the command line reads the recipes for its help, which must not wait for numpy.
        from overfly.runtime.images.reading import ImageSpec

        return ImageSpec(self.image_size, _MEAN, _STD)


def _require(holds: bool, name: str, found: object, expected: str) -> None:
    """Raise a ValueError that names the field."""
    if not holds:
        raise ValueError(f"{name} is {found}, expected {expected}")


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
    """Return the recipe with those `changes` that are not None; the rest stays."""
    return dataclasses.replace(recipe, **{name: value for name, value in changes.items() if value is not None})  # type: ignore[arg-type]


def without_pretraining(recipe: Recipe) -> Recipe:
    """Return the recipe for weights drawn at random, of which nothing is worth keeping as it is."""
    return override(recipe, batch_norm="train", frozen_fraction=0.0)


def meanings() -> dict[str, str]:
    """Return what each field of a recipe means, as plain text, by name: the entries of the record's docstring."""
    _, _, entries = inspect.cleandoc(Recipe.__doc__ or "").partition("Attributes\n----------\n")
    found: dict[str, str] = {}
    for line in entries.splitlines():
        if not line.startswith(" "):
            name = line
        else:
            found[name] = f"{found.get(name, '')} {line.strip()}".strip().replace("`", "")
    return found
