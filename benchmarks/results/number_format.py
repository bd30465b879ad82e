"""Figures as text: the same in the tables, the charts and the recommendation."""

from collections.abc import Callable
from typing import TypeVar

from overfly.runtime.machine import MEBIBYTE

T = TypeVar("T")

NONE = "-"
_SMALLEST_P = 0.001


def optional(value: T | None, text: Callable[[T], str]) -> str:
    """Return the text of a value, a dash for None."""
    return NONE if value is None else text(value)


def percent(fraction: float) -> str:
    """Return a fraction in percent with one decimal, without the sign; one image of 420 is 0.24 points."""
    return f"{100 * fraction:.1f}"


def decimal(value: float) -> str:
    """Return a figure with three decimals."""
    return f"{value:.3f}"


def p_value(value: float) -> str:
    """Return the p of a test with three decimals, or that it is smaller."""
    return "<0.001" if value < _SMALLEST_P else decimal(value)


def milliseconds(value: float) -> str:
    """Return milliseconds with three significant digits, and at most two decimals."""
    return _three_digits(value, max_decimals=2)


def rate(value: float) -> str:
    """Return images per second with three significant digits, and at most one decimal."""
    return _three_digits(value, max_decimals=1)


def mebibytes(n_bytes: int) -> str:
    """Return bytes as MiB with three significant digits, and at most one decimal."""
    return _three_digits(n_bytes / MEBIBYTE, max_decimals=1)


def interval(bounds: tuple[float, float], text: Callable[[float], str]) -> str:
    """Return an interval, such as ``0.91 to 0.95``."""
    return " to ".join(map(text, bounds))


def factor(value: float) -> str:
    """Return a factor with three significant digits, and at most one decimal."""
    return _three_digits(value, max_decimals=1)


def _three_digits(value: float, *, max_decimals: int) -> str:
    """Return a number with three significant digits after it was rounded; one of four digits or more is not cut."""
    for decimals in range(max_decimals, 0, -1):
        if round(value, decimals) < 10 ** (3 - decimals):
            return f"{value:.{decimals}f}"
    return f"{value:,.0f}"


def images(number: int, sign: str = "d") -> str:
    """Return a number of images with its noun, such as ``1 image``; `sign` ``+d`` also shows a plus."""
    return f"{number:{sign}} {'image' if abs(number) == 1 else 'images'}"
