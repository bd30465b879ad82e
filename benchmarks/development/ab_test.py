"""Two sides measured in turns: the ratio of their figures, and whether it keeps to a limit."""

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure of ours beside one of theirs, round by round.

    Attributes
    ----------
    name, unit
        What is compared.
    ours, theirs
        A figure for each round.
    at_least, at_most
        What the ratio ours / theirs is to keep to; one of them is None.
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
    def kept(self) -> bool:
        """Whether the median keeps to the limit."""
        low = -np.inf if self.at_least is None else self.at_least
        high = np.inf if self.at_most is None else self.at_most
        return bool(low <= self.ratio <= high)


def show(comparisons: Sequence[Comparison], *, as_json: bool) -> None:
    """Print the comparisons on standard output, as a table or as one JSON array."""
    if as_json:
        sys.stdout.write(json.dumps([_as_dict(c) for c in comparisons], indent=2) + "\n")
    else:
        Console().print(table(comparisons))


def table(comparisons: Sequence[Comparison]) -> Table:
    """Return the comparisons as a table: medians, the ratio's median and quartiles, and whether it keeps the limit."""
    result = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("", "overfly", "other", "unit", "ratio", "quartiles", "limit", "kept"):
        result.add_column(name, justify="left" if name in {"", "unit"} else "right")
    for c in comparisons:
        low, high = np.percentile(c.ratios, (25, 75))
        limit = f"at most {c.at_most}" if c.at_least is None else f"at least {c.at_least}"
        medians = (f"{statistics.median(side):.4g}" for side in (c.ours, c.theirs))
        spread = f"{low:.3f} to {high:.3f}"
        result.add_row(c.name, *medians, c.unit, f"{c.ratio:.3f}", spread, limit, "yes" if c.kept else "no")
    return result


def in_turns(
    n_rounds: int, ours: Callable[[], float], theirs: Callable[[], float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Take turns, and in every other round the other way round; return the figures of each side."""
    figures: list[tuple[float, float]] = []
    for index in range(n_rounds):
        if index % 2 == 0:
            a, b = ours(), theirs()
        else:
            b, a = theirs(), ours()
        figures.append((a, b))
    return tuple(a for a, _ in figures), tuple(b for _, b in figures)


def _as_dict(comparison: Comparison) -> dict[str, object]:
    """Return a comparison with its ratio, for JSON."""
    fields = {name: getattr(comparison, name) for name in Comparison.__dataclass_fields__}
    return {**fields, "ratios": comparison.ratios, "ratio": comparison.ratio, "kept": comparison.kept}
