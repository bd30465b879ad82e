"""The options that change a recipe, made from its fields, and the help that shows them."""

import dataclasses
from collections.abc import Callable
from typing import Any

import click
from click.decorators import FC

from overfly.training.models.registry import MODELS
from overfly.training.recipe import RECIPES, Recipe, meanings, override

_FIELDS = {field.name: field for field in dataclasses.fields(Recipe)}


class RecipeCommand(click.Command):
    """A command whose help lists the options that change the recipe apart from the others."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write two lists of options."""
        given = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        changing = [option for option in given if option.name in _FIELDS]
        usual = [option for option in given if option.name not in _FIELDS]
        for title, options in (("Options", usual), ("Options that change the recipe (see --help-recipe)", changing)):
            with formatter.section(title):
                formatter.write_dl([record for option in options if (record := option.get_help_record(ctx))])


def recipe_options(function: FC) -> FC:
    """Add ``--recipe``, ``--help-recipe`` and an option for every field of a recipe, each None unless given."""
    texts = meanings()
    # The last decorator is the first in the help.
    for name, field in reversed(_FIELDS.items()):
        function = _option(field, texts.get(name, ""))(function)
    names = click.Choice(list(RECIPES))
    show = click.option(
        "--help-recipe",
        type=names,
        is_eager=True,
        expose_value=False,
        callback=_show,
        help="Show every choice of a recipe and exit.",
    )
    choose = click.option(
        "--recipe", type=names, default="default", show_default=True, help="All choices of the training."
    )
    return choose(show(function))


def changed_recipe(name: str, changes: dict[str, object]) -> Recipe:
    """Return the named recipe with those `changes` that are not None; what it refuses is a wrong usage."""
    try:
        return override(RECIPES[name], **changes)
    except ValueError as error:
        field, _, _ = str(error).partition(" ")
        raise click.BadParameter(str(error), param_hint=_flag(field)) from None


def _option(field: "dataclasses.Field[Any]", meaning: str) -> Callable[[FC], FC]:
    """Return the option that sets a field."""
    flag = _flag(field.name)
    if field.type is bool:
        return click.option(f"{flag}/--no-{flag.removeprefix('--')}", field.name, default=None, help=meaning)
    kind = click.Choice(list(MODELS)) if field.name == "model" else field.type
    return click.option(flag, field.name, type=kind, help=meaning)


def _flag(name: str) -> str:
    """Return the option of a field."""
    return f"--{name.replace('_', '-')}"


def _show(context: click.Context, _: click.Parameter, name: str | None) -> None:
    """Print a recipe and end the command."""
    if name is None or context.resilient_parsing:
        return
    formatter = context.make_formatter()
    texts, choices = meanings(), dataclasses.asdict(RECIPES[name])
    with formatter.section(f"Recipe {name}"):
        formatter.write_dl([(f"{field} = {value}", texts.get(field, "")) for field, value in choices.items()])
    click.echo(formatter.getvalue(), nl=False)
    context.exit()
