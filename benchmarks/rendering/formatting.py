"""Figures and sentences of a report as text, the same in all views."""

from collections.abc import Callable
from typing import TypeVar

from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import OK, Difference, Ratio
from overfly.runtime.machine import MEBIBYTE

T = TypeVar("T")

NONE = "-"
NOT_SIGNIFICANT = "~"
_LARGE = 100
_SMALLEST_P = 0.001


def optional(value: T | None, text: Callable[[T], str]) -> str:
    """Return the text of a value, a dash for None."""
    return NONE if value is None else text(value)


def percent(fraction: float) -> str:
    """Return a fraction in percent with one decimal, without the sign; one image of 420 is 0.24 points."""
    return f"{100 * fraction:.1f}"


def decimal(value: float) -> str:
    """Return a figure in [-1, 1] with three decimals."""
    return f"{value:.3f}"


def p_value(value: float) -> str:
    """Return the p of a test with three decimals, or that it is smaller."""
    return "<0.001" if value < _SMALLEST_P else decimal(value)


def milliseconds(value: float) -> str:
    """Return milliseconds with about three significant digits."""
    return f"{value:.0f}" if value >= _LARGE else f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004


def rate(value: float) -> str:
    """Return images per second, as a whole number from 100 on."""
    return f"{value:,.0f}" if value >= _LARGE else f"{value:.1f}"


def mebibytes(n_bytes: int) -> str:
    """Return bytes as MiB."""
    size = n_bytes / MEBIBYTE
    return f"{size:.0f}" if size >= _LARGE else f"{size:.1f}"


def interval(bounds: tuple[float, float], text: Callable[[float], str]) -> str:
    """Return an interval, such as ``0.91 to 0.95``."""
    return " to ".join(map(text, bounds))


def image_difference(difference: Difference) -> str:
    """Return how many more images than the baseline are right, such as ``-2 ~``: ``~`` if it is not significant."""
    return _marked(f"{difference.images:+d}", is_significant=difference.is_significant) if difference.images else "0"


def image_difference_note(difference: Difference) -> str:
    """Return the same with its unit, such as ``-2 images ~``."""
    if difference.images == 0:
        return "same number right"
    text = f"{difference.images:+d} {'image' if abs(difference.images) == 1 else 'images'}"
    return _marked(text, is_significant=difference.is_significant)


def speedup(ratio: Ratio) -> str:
    """Return a ratio of speeds, such as ``14.2x``, with ``~`` if it is not significant."""
    return _marked(f"{_times(ratio.value)}x", is_significant=ratio.is_significant)


def speedup_note(ratio: Ratio) -> str:
    """Return a ratio of speeds as a phrase, such as ``14.2x as fast``."""
    return _marked(f"{_times(ratio.value)}x as fast", is_significant=ratio.is_significant)


def speedup_range(ratio: Ratio) -> str:
    """Return a ratio of speeds with the range of its rounds, such as ``14.2x (13.9 to 14.4)``."""
    return f"{speedup(ratio)} ({_times(ratio.low)} to {_times(ratio.high)})"


def _times(value: float) -> str:
    """Return a factor with one decimal, as a whole number from 100 on."""
    return f"{value:.0f}" if value >= _LARGE else f"{value:.1f}"


def _marked(text: str, *, is_significant: bool) -> str:
    """Return a text with a mark if what it says is not significant."""
    return text if is_significant else f"{text} {NOT_SIGNIFICANT}"


def images_sentence(report: Report) -> str:
    """Say which images were evaluated."""
    images = report.images
    if len(images.names) == images.n_available:
        return f"Evaluated: {images.n_available} images ({images.source})."
    part = f"{len(images.names)} of {images.n_available} images"
    return f"Evaluated: {part} ({images.source}), drawn evenly from the classes."


def validity_sentence(report: Report) -> str:
    """Say whether the figures can be relied on."""
    if report.validity.valid:
        return "VALID: every check of the measurement passed."
    n = len(report.validity.reasons)
    return f"INVALID for {n} {'reason' if n == 1 else 'reasons'}: the figures are only a rough estimate."


def recommendation_sentence(report: Report) -> str:
    """Return the recommendation; it is called provisional if the report is not valid."""
    sentence = report.recommendation.sentence
    return sentence if report.validity.valid else f"Provisional: {sentence}"


def failures(report: Report) -> list[str]:
    """Return a sentence for each row that failed."""
    return [f"{row.name} failed: {row.status}" for row in report.rows if row.status != OK]
