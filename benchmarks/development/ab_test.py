"""What the benchmarks for developers share: A/B tests in turns, their options, and their table of limits."""

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class ABResult:
    """One figure of overfly (``ours``) and of what it is compared with (``theirs``), round by round.

    Attributes
    ----------
    name, unit
        What was measured.
    ours, theirs
        One figure per round.
    at_least, at_most
        The limit of the ratio ours / theirs; one of the two is None.
    """

    name: str
    unit: str
    ours: tuple[float, ...]
    theirs: tuple[float, ...]
    at_least: float | None = None
    at_most: float | None = None

    @property
    def ratios(self) -> tuple[float, ...]:
        """Ours / theirs in each round."""
        return tuple(a / b for a, b in zip(self.ours, self.theirs, strict=True))

    @property
    def ratio(self) -> float:
        """The median of the rounds' ratios."""
        return statistics.median(self.ratios)

    @property
    def is_met(self) -> bool:
        """Whether the median ratio is within the limit."""
        return self.ratio <= self.at_most if self.at_most is not None else self.ratio >= (self.at_least or 0.0)


def make_parser(module: str, *, n_rounds: int) -> argparse.ArgumentParser:
    """Return a parser with the options of every benchmark: ``--rounds`` and ``--json``."""
    parser = argparse.ArgumentParser(prog=f"python -m overfly.benchmarks.development.{module}")
    parser.add_argument(
        "--rounds", type=positive, default=n_rounds, help="how often each side is measured; default: %(default)s"
    )
    parser.add_argument("--json", action="store_true", help="print a JSON array instead of a table")
    return parser


def positive(text: str) -> int:
    """Return an option's value as a number of at least 1; the parser turns a ValueError into wrong usage."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is too small: expected at least 1")
    return number


def show(results: Sequence[ABResult], *, as_json: bool) -> None:
    """Print the results to standard output, as a table or as one JSON array."""
    if as_json:
        content = [{**asdict(r), "ratios": r.ratios, "ratio": r.ratio, "is_met": r.is_met} for r in results]
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
    else:
        Console().print(results_table(results))


def results_table(results: Sequence[ABResult]) -> Table:
    """Return a table: the medians of both sides, the median ratio, its quartiles and limit, and whether it is met."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "overfly", "other", "unit", "ratio", "quartiles", "limit", "met"):
        table.add_column(name, justify="left" if name in {"", "unit"} else "right")
    for r in results:
        low, high = np.percentile(r.ratios, (25, 75))
        limit = f"at most {r.at_most}" if r.at_least is None else f"at least {r.at_least}"
        medians = [f"{statistics.median(side):.4g}" for side in (r.ours, r.theirs)]
        met = "yes" if r.is_met else "no"
        table.add_row(r.name, *medians, r.unit, f"{r.ratio:.3f}", f"{low:.3f} to {high:.3f}", limit, met)
    return table


def measure_alternately(
    n_rounds: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure both sides in each round and return the figures of each side.

    The side that goes first changes every round, so that a machine that slows down affects both sides alike.
    """
    figures: tuple[list[float], list[float]] = ([], [])
    for index in range(n_rounds):
        for side in (0, 1) if index % 2 == 0 else (1, 0):
            figures[side].append((ours, theirs)[side]())
    return tuple(figures[0]), tuple(figures[1])
