"""What is special about arguments on Windows: wildcards, quotation marks and reserved names."""

import glob
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import click


def expand_wildcards(arguments: Sequence[str]) -> Iterator[str]:
    """Yield the arguments with ``*`` and ``?`` expanded as a shell does; Windows leaves that to the program.

    A name that exists is taken literally. Brackets are no wildcards on Windows: browsers write ``scene[1].png``.
    """
    for text in arguments:
        pattern = "" if os.path.lexists(text) else text.replace("[", "[[]")
        yield from sorted(glob.glob(pattern)) or [text]  # noqa: PTH207 - a Path would change the text


def check_quotes(arguments: Sequence[str]) -> None:
    r"""Raise a UsageError for an argument that swallowed the following ones.

    Windows reads ``"C:\my images\" --device CPU`` as one argument, because the backslash escapes the quotation mark.
    No path has a quotation mark there; only a value after ``NAME=`` may have one.
    """
    for text in arguments:
        if '"' in text and not re.match(r"[\w-]+=", text):
            path = text.partition('"')[0]
            raise click.UsageError(
                f"the argument {text} has a quotation mark in it, because a backslash stood before the closing one: "
                f'write "{path}" instead of "{path}\\"'
            )


def check_not_reserved(path: Path) -> None:
    """Raise a BadParameter if Windows reserves a name in the path for a device, such as ``con`` or ``nul.txt``."""
    from overfly.runtime.files.output_guards import windows_device

    if (device := windows_device(path)) is not None:
        raise click.BadParameter(f"Windows reserves the name {device!r} for a device; choose another one")
