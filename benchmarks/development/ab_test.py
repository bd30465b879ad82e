"""A/B tests: overfly and what it is compared with, measured in turns."""

import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np


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

    columns: ClassVar[tuple[str, ...]] = ("", "overfly", "other", "unit", "ratio", "quartiles", "limit")

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

    @property
    def cells(self) -> tuple[str, ...]:
        """The medians of both sides, the median ratio, its quartiles, and its limit."""
        low, high = np.percentile(self.ratios, (25, 75))
        limit = f"at most {self.at_most}" if self.at_least is None else f"at least {self.at_least}"
        medians = [f"{statistics.median(side):.4g}" for side in (self.ours, self.theirs)]
        return self.name, *medians, self.unit, f"{self.ratio:.3f}", f"{low:.3f} to {high:.3f}", limit

    def as_record(self) -> dict[str, object]:
        """Return all figures by name, for JSON."""
        return {**asdict(self), "ratios": self.ratios, "ratio": self.ratio, "is_met": self.is_met}


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
