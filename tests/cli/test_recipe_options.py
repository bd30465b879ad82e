"""A recipe is shown whole, and each of its fields can be set."""

import dataclasses
import re

import click
import pytest

from overfly.cli.recipe_options import changed_recipe
from overfly.cli.train import command
from overfly.training.models.registry import MODELS
from overfly.training.recipe import FIELDS, RECIPES

OWN = (
    "--model",
    "--epochs",
    "--batch-size",
    "--image-size",
    "--learning-rate",
    "--precision",
    "--test-fraction",
    "--val-fraction",
)
OTHERS = [name for name in FIELDS if f"--{name.replace('_', '-')}" not in OWN]


def chosen(*arguments):
    """The recipe that ``overfly train`` would follow, and the names of the changed fields."""
    # click keeps the help option of a command's first context, so that it must be made as the command line makes it.
    context = command.make_context("train", ["data", "--out", "run", *arguments], help_option_names=["-h", "--help"])
    given = context.params
    changes = {name: value for name, value in given.items() if name in FIELDS}
    return changed_recipe(given["recipe"], given["settings"], **changes)


@pytest.mark.parametrize(("start", "goal"), [("default", "paper"), ("paper", "default")])
def test_options_turn_one_recipe_into_the_other(start, goal):
    values = dataclasses.asdict(RECIPES[goal])
    settings = [part for name, value in values.items() for part in ("--set", f"{name}={value}")]
    assert chosen("--recipe", start) == (RECIPES[start], set())
    assert chosen("--recipe", start, *settings) == (RECIPES[goal], set(FIELDS))
    own = [part for flag in OWN for part in (flag, str(values[flag.strip("-").replace("-", "_")]))]
    rest = [part for name in OTHERS for part in ("--set", f"{name}={values[name]}")]
    assert chosen("--recipe", start, *own, *rest) == (RECIPES[goal], set(FIELDS))


def test_an_option_that_is_not_given_leaves_the_recipe_as_it_is():
    assert chosen("--recipe", "paper", "--epochs", "7")[0] == dataclasses.replace(RECIPES["paper"], epochs=7)
    # The default that the help shows is the default recipe's; given on the command line it is a change like any other.
    assert chosen("--recipe", "paper", "--image-size", "128")[0].image_size == 128


def test_set_takes_a_name_with_hyphens_and_of_two_values_the_last():
    assert chosen("--set", "sam-rho=0.3", "--set", "sam_rho=0", "--set", "dihedral=no")[0] == dataclasses.replace(
        RECIPES["default"], sam_rho=0.0, dihedral=False
    )


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("sam_roh=1", "sam_rho"),
        ("momentum=0.9", "frozen_fraction"),
        ("sam_rho", "NAME=VALUE"),
        ("sam_rho=-1", "sam_rho"),
        ("sam_rho=inf", "sam_rho"),
        ("sam_rho=", "sam_rho"),
        ("jitter=nan", "jitter"),
        ("optimizer=sgd", "adamw"),
        ("dihedral=perhaps", "dihedral"),
        ("epochs=0", "1000000"),
        ("epochs=1.5", "epochs"),
        ("=1", "NAME=VALUE"),
    ],
)
def test_a_wrong_setting_is_wrong_usage_and_names_the_field(overfly, setting, named):
    overfly("train", "data", "--out", "run", "--set", setting).assert_misused("--set", named)


def test_the_sentence_for_an_unknown_field(overfly):
    result = overfly("train", "data", "--out", "run", "--set", "sam_roh=1")
    assert result.err.splitlines()[-1] == (
        "Error: Invalid value for '--set': 'sam_roh' is unknown: did you mean sam_rho or sam_fraction?"
    )


def test_a_field_is_set_in_one_way_only():
    with pytest.raises(click.UsageError) as caught:
        chosen("--epochs", "3", "--set", "epochs=4")
    assert caught.value.message == "--epochs and --set epochs=VALUE set the same field: give one of them"


@pytest.mark.parametrize(("arguments", "name"), [((), "default"), (("default",), "default"), (("paper",), "paper")])
def test_a_recipe_is_shown_with_every_value_and_its_meaning(overfly, arguments, name):
    result = overfly("train", "--help-recipe", *arguments)
    result.assert_done()
    title, *lines = result.out.splitlines()
    assert title == f"Recipe {name}:"
    shown = re.findall(r"^  (\w+) = (\S+)  ", result.out, re.MULTILINE)
    assert shown == [(key, str(value)) for key, value in dataclasses.asdict(RECIPES[name]).items()]
    words = " ".join(" ".join(lines).split())
    for spec in FIELDS.values():
        assert f"{spec.help} Valid: {spec}." in words
    assert max(map(len, lines)) <= 80


def test_the_help_lists_the_options_of_the_recipe_apart_with_choices_and_defaults(overfly):
    usual, changing = overfly("train", "--help").out.split("Recipe (the defaults are those of --recipe default):")
    assert tuple(re.findall(r"^  (--[\w-]+)", changing, re.MULTILINE)) == (*OWN, "--set")
    for flag in ("--out", "--recipe", "--help-recipe", "--weights", "--seed", "--resume", "--json", "--help"):
        assert flag in usual
    for text in (*MODELS, "[auto|fp32|bf16]"):
        assert text in changing
    defaults = re.findall(r"\[default:\s+([^\];]+)", changing)
    assert defaults == ["mobilenet_v2", "40", "32", "128", "0.0015", "auto", "0.2", "0.05"]
