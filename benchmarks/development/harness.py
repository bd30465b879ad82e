"""What the benchmarks for developers share: their options, and a table of results with their limits."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol

from rich import box
from rich.console import Console
from rich.table import Table


class Result(Protocol):
    """A result with a limit: one row of the table.

    Attributes
    ----------
    columns
        Headers of `cells`; all results of a table have the same.
    """

    columns: ClassVar[tuple[str, ...]]

    @property
    def cells(self) -> tuple[str, ...]:
        """The figures and the limit, as text."""

    @property
    def is_met(self) -> bool:
        """Whether the result is within its limit."""

    def as_record(self) -> dict[str, object]:
        """Return all figures by name, for JSON."""


def make_parser(module: str, *, n_rounds: int | None = None) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark: ``--json``, and ``--rounds`` if it measures in rounds."""
    parser = argparse.ArgumentParser(prog=f"python -m overfly.benchmarks.development.{module}")
    if n_rounds is not None:
        parser.add_argument(
            "--rounds", type=positive, default=n_rounds, help="how often each side is measured; default: %(default)s"
        )
    parser.add_argument("--json", action="store_true", help="print a JSON array instead of a table")
    return parser


def add_data_options(parser: argparse.ArgumentParser) -> None:
    """Add what every benchmark that trains needs: the data folder and ``--weights``."""
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", default="imagenet", help="imagenet, none or a file; default: %(default)s")


def positive(text: str) -> int:
    """Return an option's value as a number of at least 1; the parser turns a ValueError into wrong usage."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small: expected at least 1")
    return number


def show(results: Sequence[Result], *, as_json: bool) -> None:
    """Print the results to standard output, as a table or as one JSON array."""
    if as_json:
        sys.stdout.write(json.dumps([result.as_record() for result in results], indent=2) + "\n")
    else:
        Console().print(results_table(results))


def results_table(results: Sequence[Result]) -> Table:
    """Return a table with a row for each result, and whether it is within its limit."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in (*results[0].columns, "met"):
        table.add_column(name, justify="left" if name in {"", "unit"} else "right")
    for result in results:
        table.add_row(*result.cells, "yes" if result.is_met else "no")
    return table
