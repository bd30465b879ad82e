"""Options that several commands share: what they accept, how the help shows them, and their earlier names."""

import re

import click
import pytest

from overfly.cli import options
from overfly.training.recipe import FIELDS

EARLIER = [(command, old, new) for command, names in options.RENAMED.items() for old, new in names.items()]


def parsed(decorator, *arguments):
    """Return the parameters that a command with one option gets from arguments."""
    command = decorator(click.Command("try", callback=lambda **_: None))
    return command.make_context("try", list(arguments)).params


def help_line(**attributes):
    """Return the help of an option as one line."""
    command = options.option("--value", help="A value.", **attributes)(click.Command("try"))
    return " ".join(command.get_help(click.Context(command)).partition("--value")[2].partition("--help")[0].split())


@pytest.mark.parametrize(("command", "old", "new"), EARLIER, ids=[" ".join(case[:2]) for case in EARLIER])
def test_an_option_of_an_earlier_version_names_what_replaced_it(overfly, command, old, new):
    overfly(command, "somewhere", old).assert_misused(old, new)


def test_the_sentence_for_an_option_of_an_earlier_version(overfly):
    assert overfly("bench", "bundle", "--peers").err.splitlines()[-1] == "Error: --peers is now --alternatives"


def test_what_replaced_an_option_of_train_is_a_field_of_the_recipe():
    names = {re.fullmatch(r"--set (\w+)=\w+", new)[1] for command, _, new in EARLIER if command == "train"}
    assert names < FIELDS.keys()


def test_an_earlier_name_is_unknown_to_other_commands(overfly):
    result = overfly("train", "data", "--peers")
    result.assert_misused("--peers")
    assert "--alternatives" not in result.err


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ({"type": click.IntRange(1), "default": 5}, "N A value. [default: 5; at least 1]"),
        ({"type": click.IntRange(0, 2**63 - 1), "default": 0}, "N A value. [default: 0; at least 0]"),
        ({"type": click.IntRange(32, 4096)}, "N A value. [at least 32, at most 4096]"),
        ({"type": options.Real(0, 1, True, True)}, "N A value. [above 0, below 1]"),
        ({"type": options.Real(0), "metavar": "POINTS"}, "POINTS A value. [at least 0]"),
        (
            {"type": options.PATH, "show_default": "the one that was used"},
            "PATH A value. [default: the one that was used]",
        ),
        ({"is_flag": True}, "A value."),
    ],
)
def test_the_help_shows_the_default_and_the_range_in_words(attributes, shown):
    assert help_line(**attributes) == shown


def test_pairs_become_a_dict():
    decorator = options.pairs("--set", "settings", metavar="NAME=VALUE", text="Any.")
    assert parsed(decorator, "--set", "a=1", "--set", "b=x=y") == {"settings": {"a": "1", "b": "x=y"}}
    assert parsed(decorator) == {"settings": {}}


def test_pairs_have_the_type_of_their_name():
    types = {"a_number": click.INT, "text": click.STRING}
    decorator = options.pairs("--set", "settings", metavar="NAME=VALUE", text="Any.", types=types)
    assert parsed(decorator, "--set", "a-number=1", "--set", "text=1") == {"settings": {"a_number": 1, "text": "1"}}
    wrong = {"a_number=x": "a_number", "a_numbr=1": "a_number", "zzz=1": "text", "text": "NAME=VALUE"}
    for pair, named in wrong.items():
        with pytest.raises(click.BadParameter) as caught:
            parsed(decorator, "--set", pair)
        assert named in caught.value.format_message()


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "few"])
def test_a_real_number_is_finite(text):
    with pytest.raises(click.BadParameter) as caught:
        options.Real(0, 1).convert(text, None, None)
    assert text in caught.value.format_message()


def test_an_empty_path_is_wrong_usage():
    with pytest.raises(click.BadParameter):
        options.PATH.convert("", None, None)
