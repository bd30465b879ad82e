"""What to deploy: the fastest row whose accuracy is good enough."""

from collections.abc import Sequence
from typing import NamedTuple

from overfly.benchmarks.results import number_format
from overfly.benchmarks.results.records import Recommendation, Report
from overfly.benchmarks.results.row_records import Difference, Quality, Ratio, Row, Speed
from overfly.runtime.bundle.variants import VARIANTS


class _Option(NamedTuple):
    """A row that can be deployed, with its figures."""

    row: Row
    quality: Quality
    speed: Speed


def recommend(rows: Sequence[Row], baseline: int | None, max_drop_pp: float | None) -> Recommendation:
    """Return the best OpenVINO rows for latency and for throughput.

    Parameters
    ----------
    rows
        Rows that were compared with the baseline.
    baseline
        Index of the baseline. If it is None, every row that worked qualifies.
    max_drop_pp
        How many percentage points of accuracy a row may lose against the baseline. None allows a loss that is not
        significant.
    """
    options = [_Option(row, row.quality, row.speed) for row in rows if row.is_deployable and row.quality and row.speed]
    qualified = [option for option in options if _qualifies(option.row.difference, max_drop_pp)]
    if not qualified:
        reason = "each loses too much accuracy" if options else "none worked"
        return Recommendation(None, None, max_drop_pp, f"No variant can be recommended: {reason}.")
    fastest = min(qualified, key=lambda option: option.speed.latency_ms.p50)
    widest = max(qualified, key=lambda option: option.speed.throughput_ips)
    sentence = _sentence(fastest, widest, "" if baseline is None else rows[baseline].name)
    return Recommendation(fastest.row.deployment, widest.row.deployment, max_drop_pp, sentence)


def gate_failure(report: Report) -> str | None:
    """Return why the report misses its ``max_drop_pp``; None if it keeps it, or if none was set.

    The most accurate INT8 row counts: if INT8 is wrong on one device, it may still be right on the others.
    """
    limit = report.recommendation.max_drop_pp
    if limit is None:
        return None
    drops = [
        (-row.difference.accuracy_pp, row.name)
        for row in report.rows
        if VARIANTS[row.spec.variant].is_quantized and row.is_deployable and row.difference is not None
    ]
    if not drops:
        return f"--max-drop {limit:g} can't be checked: no INT8 row could be compared with an fp32 row"
    drop, name = min(drops, key=lambda item: item[0])
    if drop <= limit:
        return None
    return f"{name} loses {drop:.2f} points of accuracy, more than --max-drop {limit:g} allows"


def _qualifies(difference: Difference | None, max_drop_pp: float | None) -> bool:
    """Whether a row's accuracy is good enough."""
    if difference is None:
        return True
    if max_drop_pp is not None:
        return -difference.accuracy_pp <= max_drop_pp
    return difference.accuracy_pp >= 0 or not difference.is_significant


def _sentence(fastest: _Option, widest: _Option, baseline: str) -> str:
    """Say what to deploy, how fast it is, and how its accuracy compares with the baseline's."""
    difference = fastest.row.difference
    times = f", {_times(difference.latency_speedup, baseline)}" if difference else ""
    latency = f"{number_format.milliseconds(fastest.speed.latency_ms.p50)} ms (p50{times})"
    difference = widest.row.difference
    times = f" ({_times(difference.throughput_speedup, baseline)})" if difference else ""
    rate = f"{number_format.rate(widest.speed.throughput_ips)} images per second{times}"
    if fastest.row is widest.row:
        return f"Deploy {fastest.row.place}: {latency} and {rate}; {_accuracy(fastest, baseline)}."
    return (
        f"For latency deploy {fastest.row.place}: {latency}; {_accuracy(fastest, baseline)}. "
        f"For throughput deploy {widest.row.place}: {rate}; {_accuracy(widest, baseline)}."
    )


def _times(ratio: Ratio, baseline: str) -> str:
    """Return how many times as fast as the baseline something is."""
    doubt = "" if ratio.is_significant else ", not significant"
    return f"{number_format.factor(ratio.value)} times as fast as {baseline}{doubt}"


def _accuracy(option: _Option, baseline: str) -> str:
    """Return a row's accuracy and the difference to the baseline's."""
    accuracy = f"accuracy {number_format.percent(option.quality.accuracy.value)}%"
    difference = option.row.difference
    if difference is None:
        return accuracy
    if difference.images == 0:
        return f"{accuracy}, the same as {baseline}"
    direction = "fewer" if difference.images < 0 else "more"
    doubt = f"significant (p = {difference.mcnemar_p:.2g})" if difference.is_significant else "not significant"
    return f"{accuracy}, {number_format.images(abs(difference.images))} {direction} right than {baseline}, {doubt}"
