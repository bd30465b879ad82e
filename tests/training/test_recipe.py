"""The paper's recipe to the letter, and no recipe that can't be trained."""

import dataclasses
import json
import subprocess
import sys

import pytest

from overfly.runtime.errors import RecipeError
from overfly.training.recipe import FIELDS, PAPER, RECIPES, Interval, Recipe, override, without_pretraining


def test_the_papers_hyperparameters():
    # Section 3.2 of the paper, and nothing that it does not mention.
    assert dataclasses.asdict(PAPER) == {
        "model": "mobilenet_v2",
        "image_size": 256,
        "epochs": 60,
        "batch_size": 16,
        "batch_shares": 1,
        "precision": "fp32",
        "optimizer": "adam",
        "learning_rate": 0.00001,
        "weight_decay": 0.0,
        "warmup_fraction": 0.0,
        "schedule": "constant",
        "label_smoothing": 0.0,
        "sam_rho": 0.0,
        "sam_fraction": 0.5,
        "batch_norm": "train",
        "frozen_fraction": 0.0,
        "ema_decay": 0.0,
        "keep": "last",
        "dihedral": False,
        "rotation": 0.0,
        "min_crop": 1.0,
        "jitter": 0.0,
        "test_fraction": 0.2,
        "val_fraction": 0.0,
    }
    assert RECIPES["paper"] is PAPER


def test_the_default_is_the_one_that_was_measured():
    # docs/default_recipe.md has the figures of these values; others need their own.
    assert dataclasses.asdict(RECIPES["default"]) == {
        "model": "mobilenet_v2",
        "image_size": 128,
        "epochs": 40,
        "batch_size": 32,
        "batch_shares": 2,
        "precision": "auto",
        "optimizer": "adamw",
        "learning_rate": 0.0015,
        "weight_decay": 0.02,
        "warmup_fraction": 0.1,
        "schedule": "cosine",
        "label_smoothing": 0.1,
        "sam_rho": 0.1,
        "sam_fraction": 0.5,
        "batch_norm": "train",
        "frozen_fraction": 0.175,
        "ema_decay": 0.996,
        "keep": "last",
        "dihedral": True,
        "rotation": 180.0,
        "min_crop": 0.85,
        "jitter": 0.2,
        "test_fraction": 0.2,
        "val_fraction": 0.05,
    }
    assert RECIPES["default"] == Recipe()
    assert len(RECIPES) == 2


def test_the_image_is_scaled_as_torchvisions_weights_were_trained():
    image = Recipe(image_size=64).image
    assert (image.size, image.mean, image.std) == (64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model", "lenet"),
        ("optimizer", "sgd"),
        ("precision", "fp16"),
        ("batch_norm", "none"),
        ("frozen_fraction", -0.1),
        ("frozen_fraction", 1.1),
        ("rotation", -1.0),
        ("rotation", 181.0),
        ("schedule", "step"),
        ("keep", "first"),
        ("image_size", 0),
        ("image_size", 31),
        ("image_size", 4097),
        ("epochs", 0),
        ("epochs", -5),
        ("batch_size", 0),
        ("batch_size", 1),
        ("batch_size", 10**20),
        ("epochs", 10**400),
        ("batch_shares", 0),
        ("batch_shares", 17),
        ("learning_rate", 2.0),
        ("learning_rate", 0.0),
        ("learning_rate", -1e-3),
        ("learning_rate", float("nan")),
        ("learning_rate", float("inf")),
        ("sam_rho", -0.1),
        ("sam_rho", float("inf")),
        ("sam_rho", float("nan")),
        ("sam_fraction", -0.1),
        ("sam_fraction", 1.1),
        ("weight_decay", -0.1),
        ("weight_decay", 1.0),
        ("warmup_fraction", 1.0),
        ("label_smoothing", 1.5),
        ("ema_decay", 1.0),
        ("jitter", -0.1),
        ("jitter", float("nan")),
        ("val_fraction", 1.0),
        ("min_crop", 0.0),
        ("min_crop", 1.1),
        ("test_fraction", 0.0),
        ("test_fraction", 1.0),
    ],
)
def test_an_invalid_value_is_an_error_with_the_fields_name(field, value):
    with pytest.raises(RecipeError) as caught:
        Recipe(**{field: value})
    assert caught.value.field == field
    with pytest.raises(ValueError, match=str(value)):
        override(Recipe(), **{field: value})


def test_the_sentences_of_the_error():
    for change, sentence in (
        ({"label_smoothing": 1.5}, "label_smoothing is 1.5, expected in [0, 1)"),
        ({"precision": "fp16"}, "precision is fp16, expected auto, fp32 or bf16"),
        (
            {"batch_shares": 17},
            "batch_shares is 17, expected at most half of batch_size, 32: --set batch_shares=1 leaves batches whole",
        ),
    ):
        with pytest.raises(RecipeError) as caught:
            Recipe(**change)
        assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image_size", 32),
        ("batch_size", 4),
        ("batch_shares", 16),
        ("epochs", 1),
        ("min_crop", 1.0),
        ("rotation", 180.0),
        ("jitter", 0.0),
        ("ema_decay", 0.0),
    ],
)
def test_the_last_valid_values(field, value):
    assert getattr(Recipe(**{field: value}), field) == value


def test_a_batch_of_two_is_not_divided():
    assert Recipe(batch_size=2, batch_shares=1).batch_size == 2
    with pytest.raises(RecipeError, match="batch_shares"):
        Recipe(batch_size=2)


def test_override_takes_what_is_given_and_keeps_the_rest():
    changed = override(PAPER, epochs=3, learning_rate=None, image_size=None, jitter=0.0)
    assert changed == dataclasses.replace(PAPER, epochs=3)
    assert PAPER.epochs == 60
    assert override(PAPER) == PAPER


def test_override_rejects_an_unknown_field():
    with pytest.raises(TypeError, match="momentum"):
        override(PAPER, momentum=0.9)


def test_a_recipe_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PAPER.epochs = 1
    assert not hasattr(PAPER, "__dict__")


def test_without_pretraining_nothing_stays_as_it_is():
    recipe = Recipe(batch_norm="frozen", frozen_fraction=0.5)
    assert without_pretraining(recipe) == dataclasses.replace(recipe, batch_norm="train", frozen_fraction=0.0)
    assert without_pretraining(PAPER) == PAPER


def test_every_field_has_help_and_its_valid_values():
    assert list(FIELDS) == [field.name for field in dataclasses.fields(Recipe)]
    for field in dataclasses.fields(Recipe):
        spec = FIELDS[field.name]
        assert spec.help[0].isupper()
        assert spec.help.endswith(".")
        assert spec.help in Recipe.__doc__
        assert isinstance(spec.allowed, Interval) == (field.type in {int, float})


def test_without_docstrings_the_help_and_the_checks_are_the_same():
    code = """
import json
from overfly.training.recipe import FIELDS, Recipe
assert False, "python -OO skips this line"
try:
    Recipe(batch_size=1)
except ValueError as error:
    print(json.dumps([error.field, {name: [spec.help, str(spec)] for name, spec in FIELDS.items()}]))
"""
    finished = subprocess.run([sys.executable, "-OO", "-c", code], capture_output=True, text=True, check=True)
    field, specs = json.loads(finished.stdout)
    assert field == "batch_size"
    assert specs == {name: [spec.help, str(spec)] for name, spec in FIELDS.items()}
