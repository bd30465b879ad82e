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
    Hidden files and folders, such as the recycle bin, are left out.
    """
    for text in arguments:
        pattern = "" if os.path.lexists(text) else text.replace("[", "[[]")
        found = sorted(glob.glob(pattern))  # noqa: PTH207 - a Path would change the text
        yield from [path for path in found if _is_visible(Path(path), Path(text))] or [text]


def _is_visible(path: Path, pattern: Path) -> bool:
    """Whether nothing in a path that a wildcard stands for is hidden."""
    from overfly.runtime.images.discovery import is_passed_over

    # Not the drive: Windows hides the topmost folder of each, and the prefix of long paths, \\?\, has a question mark.
    names = [n for n, part in enumerate(pattern.parts) if part != pattern.anchor]
    expanded = [n for n in names if "*" in pattern.parts[n] or "?" in pattern.parts[n]]
    return not any(is_passed_over(Path(*path.parts[: n + 1])) for n in expanded)


def check_quotes(arguments: Sequence[str]) -> None:
    r"""Raise a UsageError for an argument that swallowed the following ones.

    Windows reads ``"C:\my images\" --device CPU`` as one argument, because the backslash escapes the quotation mark.
    No path has a quotation mark there; only a value of ``--set`` or ``--property`` may have one.
    """
    for text in arguments:
        if '"' in text and not re.match(r"(--(set|property)=)?\w+=", text):
            path = text.partition('"')[0]
            # C: without a backslash would be the current folder of the drive.
            remedy = f"{path}\\ without quotation marks" if path.endswith(":") else f'"{path}"'
            raise click.UsageError(
                f"the argument {text} has a quotation mark in it, because a backslash stood before the closing one: "
                f'write {remedy} instead of "{path}\\"'
            )


def check_not_reserved(path: Path) -> None:
    """Raise a BadParameter if Windows reserves a name in the path for a device, such as ``con`` or ``nul.txt``."""
    from overfly.runtime.files.output_guards import windows_device

    if (device := windows_device(path)) is not None:
        raise click.BadParameter(f"Windows reserves the name {device!r} for a device; choose another one")
