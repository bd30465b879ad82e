"""Figures as text, alike in the table, the Markdown and the HTML; a dash where there is none."""

from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import OK, Difference, Latency, Ratio

NONE = "-"
_MEBIBYTE = 1 << 20
_LARGE = 100
_SMALLEST_P = 0.001


def percent(fraction: float | None) -> str:
    """Return a fraction as a percentage with one decimal: one image of 420 is 0.24 points."""
    return NONE if fraction is None else f"{100 * fraction:.1f}%"


def ratio(value: float | None) -> str:
    """Return a figure in [-1, 1] with three decimals."""
    return NONE if value is None else f"{value:.3f}"


def p_value(value: float | None) -> str:
    """Return the p of a test with three decimals, or that it is smaller than they can say."""
    return "<0.001" if value is not None and value < _SMALLEST_P else ratio(value)


def milliseconds(value: float | None) -> str:
    """Return milliseconds with three significant digits or so."""
    if value is None:
        return NONE
    return f"{value:.0f}" if value >= _LARGE else f"{value:.1f}" if value >= 10 else f"{value:.2f}"  # noqa: PLR2004


def p50(latency: Latency | None) -> str:
    """Return a median latency in milliseconds."""
    return milliseconds(None if latency is None else latency.p50)


def count(value: float | None) -> str:
    """Return a rate, rounded to a whole number from 100 on."""
    return NONE if value is None else f"{value:,.0f}" if value >= _LARGE else f"{value:.1f}"


def megabytes(n_bytes: int | None) -> str:
    """Return bytes as MiB."""
    if n_bytes is None:
        return NONE
    size = n_bytes / _MEBIBYTE
    return f"{size:.0f}" if size >= _LARGE else f"{size:.1f}"


def delta(difference: Difference | None) -> str:
    """Return the difference in images to the baseline, such as ``-2 ~``: ``~`` when it is not significant."""
    if difference is None:
        return NONE
    return f"{difference.images:+d}{'' if difference.is_significant else ' ~'}" if difference.images else "0"


def interval(bounds: tuple[float, float] | None) -> str:
    """Return a 95% interval of a fraction, in percent."""
    return NONE if bounds is None else f"{100 * bounds[0]:.1f} to {100 * bounds[1]:.1f}%"


def interval_of_ratio(bounds: tuple[float, float] | None) -> str:
    """Return a 95% interval of a figure in [-1, 1]."""
    return NONE if bounds is None else f"{bounds[0]:.3f} to {bounds[1]:.3f}"


def times(ratio: Ratio | None) -> str:
    """Return a ratio of speeds, such as ``14.2x``, with ``~`` where it is not significant."""
    return NONE if ratio is None else f"{_times(ratio.value)}x{'' if ratio.is_significant else ' ~'}"


def times_range(ratio: Ratio | None) -> str:
    """Return a ratio of speeds with the range of its rounds, such as ``14.2x (13.9 to 14.4)``."""
    return NONE if ratio is None else f"{times(ratio)} ({' to '.join(ends(ratio))})"


def ends(ratio: Ratio) -> tuple[str, str]:
    """Return the smallest and the largest of a ratio's rounds."""
    return _times(ratio.low), _times(ratio.high)


def _times(value: float) -> str:
    """Return how many times, with one decimal below 100."""
    return f"{value:.0f}" if value >= _LARGE else f"{value:.1f}"


def judged_sentence(report: Report) -> str:
    """Say which images were judged and how many."""
    n_judged, n_available = len(report.images.names), report.images.n_available
    some = f"{n_judged}" if n_judged == n_available else f"{n_judged} of {n_available}"
    drawn = "" if n_judged == n_available else ", drawn evenly from the classes"
    return f"Judged: {some} images, {report.images.source}{drawn}."


def verdict_sentence(report: Report) -> str:
    """Say the verdict in one sentence."""
    if report.validity.valid:
        return "VALID: every check of the measurement passed."
    n = len(report.validity.reasons)
    return f"INVALID for {n} {'reason' if n == 1 else 'reasons'}: take the figures as a rough picture."


def answer_sentence(report: Report) -> str:
    """Return the answer, called provisional when the report is not valid."""
    return report.recommendation.sentence if report.validity.valid else f"Provisional: {report.recommendation.sentence}"


def failures(report: Report) -> list[tuple[str, str]]:
    """Return the name and the reason of each row that failed."""
    return [(row.name, row.status) for row in report.rows if row.status != OK]
