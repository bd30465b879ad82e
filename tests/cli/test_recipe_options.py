"""A recipe is shown whole, and each of its fields has an option."""

import dataclasses
import re

import pytest

from overfly.cli.recipe_options import changed_recipe
from overfly.cli.train import command
from overfly.training.models.registry import MODELS
from overfly.training.recipe import RECIPES, Recipe, meanings


def spelled(recipe):
    """The options that say every field of a recipe."""
    for name, value in dataclasses.asdict(recipe).items():
        flag = name.replace("_", "-")
        yield from (
            [f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else [f"--{flag}", str(value)]
        )


def chosen(*arguments):
    """The recipe that ``overfly train`` would follow."""
    # click keeps the help option of a command's first context, so that it must be made as the command line makes it.
    context = command.make_context("train", ["data", "--out", "run", *arguments], help_option_names=["-h", "--help"])
    given = context.params
    names = {field.name for field in dataclasses.fields(Recipe)}
    return changed_recipe(given["recipe"], {name: value for name, value in given.items() if name in names})


@pytest.mark.parametrize(("start", "goal"), [("default", "paper"), ("paper", "default")])
def test_options_turn_one_recipe_into_the_other(start, goal):
    assert chosen("--recipe", start) == RECIPES[start]
    assert chosen("--recipe", start, *spelled(RECIPES[goal])) == RECIPES[goal]
    assert chosen("--recipe", start, "--epochs", "7") == dataclasses.replace(RECIPES[start], epochs=7)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_shown_with_every_value_and_its_meaning(overfly, name):
    result = overfly("train", "--help-recipe", name)
    result.assert_done()
    title, *lines = result.out.splitlines()
    assert title == f"Recipe {name}:"
    shown = re.findall(r"^  (\w+) = (\S+)  ", result.out, re.MULTILINE)
    assert shown == [(key, str(value)) for key, value in dataclasses.asdict(RECIPES[name]).items()]
    words = " ".join(" ".join(lines).split())
    for text in meanings().values():
        assert text.split()[-1] in words
    assert max(map(len, lines)) <= 80


def test_the_help_lists_an_option_for_every_field_apart_from_the_others(overfly):
    usual, changing = overfly("train", "--help").out.split("Options that change the recipe (see --help-recipe):")
    flags = re.findall(r"^  (--[\w-]+)", changing, re.MULTILINE)
    assert flags == [f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Recipe)]
    assert "--dihedral / --no-dihedral" in changing
    for flag in ("--out", "--recipe", "--help-recipe", "--weights", "--seed", "--resume", "--json", "--help"):
        assert flag in usual
    for model in MODELS:
        assert model in changing
