"""The options that change a recipe, made from its fields, and the help that shows them."""

from collections.abc import Callable
from typing import Any

import click
from click.decorators import FC

from overfly.cli import options
from overfly.training.recipe import FIELDS, RECIPES, Interval, Recipe, override

# The fields with an option of their own; all others are set by --set.
OWN_FIELDS = (
    "model",
    "epochs",
    "batch_size",
    "image_size",
    "learning_rate",
    "precision",
    "test_fraction",
    "val_fraction",
)


class RecipeCommand(click.Command):
    """A command whose help lists the options that change the recipe apart from the others."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write two lists of options."""
        given = [option for option in self.get_params(ctx) if isinstance(option, click.Option)]
        changing = [option for option in given if option.name in {*OWN_FIELDS, "settings"}]
        usual = [option for option in given if option not in changing]
        for title, listed in (("Options", usual), ("Recipe (the defaults are those of --recipe default)", changing)):
            with formatter.section(title):
                formatter.write_dl([record for option in listed if (record := option.get_help_record(ctx))])


def recipe_options(function: FC) -> FC:
    """Add ``--recipe``, ``--help-recipe``, ``--set`` and the options of the most used fields.

    The command gets the parameters `recipe` (a name), `settings` (a dict, from ``--set``) and one for each field that
    has an option, None if it was not given. `changed_recipe` turns them into a recipe.
    """
    recipes = click.Choice(list(RECIPES))
    add_help = options.option(
        "--help-recipe",
        type=recipes,
        is_flag=False,
        flag_value="default",
        is_eager=True,
        expose_value=False,
        callback=_show,
        metavar="[NAME]",
        help=f"Show all fields of a recipe ({' or '.join(RECIPES)}) and exit.",
    )
    add_set = options.pairs(
        "--set",
        "settings",
        metavar="NAME=VALUE",
        types={name: _value_type(name) for name in FIELDS},
        text="Set any field of the recipe, such as sam_rho=0; may be repeated. --help-recipe lists the fields.",
    )
    # The option that is added last is the first in the help.
    function = add_set(function)
    for name in reversed(OWN_FIELDS):
        function = field_option(name, str(getattr(RECIPES["default"], name)))(function)
    add_recipe = options.option("--recipe", type=recipes, default="default", help="Recipe to start from.")
    return add_recipe(add_help(function))


def field_option(name: str, default: str) -> Callable[[FC], FC]:
    """Return the option of a field; its help shows `default`, and the command gets None if it was not given."""
    return options.option(_flag(name), name, type=_value_type(name), show_default=default, help=FIELDS[name].help)


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


def _flag(name: str) -> str:
    """Return the option of a field."""
    return f"--{name.replace('_', '-')}"


def _value_type(name: str) -> "click.ParamType[Any]":
    """Return what converts and checks a text for a field."""
    allowed, default = FIELDS[name].allowed, getattr(RECIPES["default"], name)
    if isinstance(default, bool):
        return click.BOOL
    if not isinstance(allowed, Interval):
        return click.Choice(allowed)
    if isinstance(default, int):
        return click.IntRange(int(allowed.low), int(allowed.high))
    return options.Real(allowed.low, allowed.high, allowed.low_open, allowed.high_open)


def _show(context: click.Context, _: click.Parameter, name: str | None) -> None:
    """Print a recipe and end the command."""
    if name is None or context.resilient_parsing:
        return
    formatter = context.make_formatter()
    values = {field: getattr(RECIPES[name], field) for field in FIELDS}
    with formatter.section(f"Recipe {name}"):
        formatter.write_dl([(f"{k} = {v}", f"{FIELDS[k].help} Valid: {FIELDS[k]}.") for k, v in values.items()])
    click.echo(formatter.getvalue(), nl=False)
    context.exit()
