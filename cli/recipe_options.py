"""The options that change a recipe, made from its fields, and the help that shows them."""

import difflib
from collections.abc import Callable
from typing import Any

import click
from click.core import ParameterSource
from click.decorators import FC

from overfly.cli import options
from overfly.training.recipe import FIELDS, RECIPES, Interval, Recipe, override

# The fields with an option of their own; all others are set by --set.
_OWN_OPTIONS = [
    "model",
    "epochs",
    "batch_size",
    "image_size",
    "learning_rate",
    "precision",
    "test_fraction",
    "val_fraction",
]


class RecipeCommand(click.Command):
    """A command whose help lists the options that change the recipe apart from the others."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write two lists of options."""
        given = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        changing = [option for option in given if option.name in {*_OWN_OPTIONS, "settings"}]
        usual = [option for option in given if option not in changing]
        for title, listed in (("Options", usual), ("Recipe (the defaults are those of --recipe default)", changing)):
            with formatter.section(title):
                formatter.write_dl([record for option in listed if (record := option.get_help_record(ctx))])


def recipe_options(function: FC) -> FC:
    """Add ``--recipe``, ``--help-recipe``, ``--set`` and the options of the most used fields.

    The command gets the parameters `recipe` (a name), `settings` (a dict, from ``--set``) and one for each field that
    has an option, None if it was not given. `changed_recipe` turns them into a recipe.
    """
    names = click.Choice(list(RECIPES))
    decorators: list[Callable[[FC], FC]] = [
        click.option("--recipe", type=names, default="default", show_default=True, help="The recipe to start from."),
        click.option(
            "--help-recipe",
            type=names,
            is_flag=False,
            flag_value="default",
            is_eager=True,
            expose_value=False,
            callback=_show,
            metavar="[NAME]",
            help=f"Show all fields of a recipe ({' or '.join(RECIPES)}) and exit.",
        ),
        *map(_option, _OWN_OPTIONS),
        click.option(
            "--set",
            "settings",
            multiple=True,
            metavar="NAME=VALUE",
            callback=lambda context, option, pairs: dict(_parse(pair, option, context) for pair in pairs),
            help="Set any field of the recipe, such as sam_rho=0; repeatable. --help-recipe lists the fields.",
        ),
        *(_renamed(name) for name in FIELDS if name not in _OWN_OPTIONS),
    ]
    # The last decorator is the first in the help.
    for decorate in reversed(decorators):
        function = decorate(function)
    return function


def changed_recipe(name: str, settings: dict[str, object], **changes: object) -> tuple[Recipe, set[str]]:
    """Return the named recipe with its changes, and the names of the changed fields.

    Parameters
    ----------
    name
        Of the recipe to start from.
    settings
        The changes by ``--set``.
    changes
        Those by the options of single fields; None is none.

    Raises
    ------
    click.UsageError
        If a field is set in both ways.
    """
    given = {field: value for field, value in changes.items() if value is not None}
    if twice := sorted(given.keys() & settings.keys()):
        raise click.UsageError(f"{_flag(twice[0])} and --set {twice[0]}=VALUE set the same field: give one of them")
    return override(RECIPES[name], **given, **settings), given.keys() | settings.keys()


def _option(name: str) -> Callable[[FC], FC]:
    """Return the option that sets a field. Its help shows a default, but its value is None unless it was given."""

    def only_if_given(context: click.Context, _option: click.Parameter, value: object) -> object:
        return None if context.get_parameter_source(name) is ParameterSource.DEFAULT else value

    return click.option(
        _flag(name),
        name,
        type=_value_type(name),
        default=getattr(RECIPES["default"], name),
        show_default=True,
        callback=only_if_given,
        help=FIELDS[name].help,
    )


def _renamed(name: str) -> Callable[[FC], FC]:
    """Return a hidden option that says how to set a field that had an option of its own in earlier versions."""
    if _kind(name) is not bool:
        return options.renamed(_flag(name), f"--set {name}=VALUE")
    on = options.renamed(_flag(name), f"--set {name}=true", is_flag=True)
    off = options.renamed(f"--no-{name.replace('_', '-')}", f"--set {name}=false", is_flag=True)
    return lambda function: on(off(function))


def _flag(name: str) -> str:
    """Return the option of a field."""
    return f"--{name.replace('_', '-')}"


def _kind(name: str) -> type:
    """Return the type of a field."""
    return type(getattr(RECIPES["default"], name))


def _value_type(name: str) -> "click.ParamType[Any]":
    """Return what converts and checks a text for a field."""
    allowed, kind = FIELDS[name].allowed, _kind(name)
    if kind is bool:
        return click.BOOL
    if not isinstance(allowed, Interval):
        return click.Choice(allowed)
    if kind is int:
        return click.IntRange(int(allowed.low), int(allowed.high))
    return options.Real(allowed.low, allowed.high, allowed.low_open, allowed.high_open)


def _parse(pair: str, option: click.Parameter, context: click.Context) -> tuple[str, Any]:
    """Return a field's name and its value from ``NAME=VALUE``."""
    name, equals, text = pair.partition("=")
    name = name.replace("-", "_")
    if not equals:
        raise click.BadParameter(f"{pair!r} is not NAME=VALUE", context, option)
    if name not in FIELDS:
        close = difflib.get_close_matches(name, FIELDS, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "--help-recipe lists the fields."
        raise click.BadParameter(f"a recipe has no field {name!r}: {hint}", context, option)
    try:
        return name, _value_type(name).convert(text, option, context)
    except click.BadParameter as error:
        raise click.BadParameter(error.message, context, param_hint=f"--set {name}") from None


def _show(context: click.Context, _: click.Parameter, name: str | None) -> None:
    """Print a recipe and end the command."""
    if name is None or context.resilient_parsing:
        return
    formatter = context.make_formatter()
    with formatter.section(f"Recipe {name}"):
        rows = [
            (f"{field} = {getattr(RECIPES[name], field)}", f"{spec.help} Valid: {spec}.")
            for field, spec in FIELDS.items()
        ]
        formatter.write_dl(rows)
    click.echo(formatter.getvalue(), nl=False)
    context.exit()
