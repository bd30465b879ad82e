"""An A/B test of two implementations that are measured in turns: the ratio of their figures, and a limit for it."""

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
    def is_within_limit(self) -> bool:
        """Whether the median ratio is within the limit."""
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.at_most is None else self.at_most
        return bool(low <= self.ratio <= high)


def show(results: Sequence[ABResult], *, as_json: bool) -> None:
    """Print the results to standard output, as a table or as one JSON array."""
    if as_json:
        content = [
            {**asdict(r), "ratios": r.ratios, "ratio": r.ratio, "is_within_limit": r.is_within_limit} for r in results
        ]
        sys.stdout.write(json.dumps(content, indent=2) + "\n")
    else:
        Console().print(table(results))


def table(results: Sequence[ABResult]) -> Table:
    """Return a table: the medians of both sides, the median and quartiles of their ratio, the limit, and the result."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "overfly", "other", "unit", "ratio", "quartiles", "limit", "within limit"):
        shown.add_column(name, justify="left" if name in {"", "unit"} else "right")
    for r in results:
        low, high = np.percentile(r.ratios, (25, 75))
        shown.add_row(
            r.name,
            f"{statistics.median(r.ours):.4g}",
            f"{statistics.median(r.theirs):.4g}",
            r.unit,
            f"{r.ratio:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"at most {r.at_most}" if r.at_least is None else f"at least {r.at_least}",
            "yes" if r.is_within_limit else "no",
        )
    return shown


def measure_alternately(
    n_rounds: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Measure both sides in each round and return the figures of each side.

    The side that goes first changes every round, so that a machine that slows down affects both sides alike.
    """
    figures: list[tuple[float, float]] = []
    for index in range(n_rounds):
        if index % 2 == 0:
            a, b = ours(), theirs()
        else:
            b, a = theirs(), ours()
        figures.append((a, b))
    return tuple(a for a, _ in figures), tuple(b for _, b in figures)
