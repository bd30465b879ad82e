"""What to deploy: the fastest row whose accuracy is good enough."""

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from overfly.benchmarks.results import number_format
from overfly.benchmarks.results.records import Lead, Recommendation, Report
from overfly.benchmarks.results.row_records import Difference, Measurements, Quality, Ratio, Row, Speed
from overfly.benchmarks.results.rows import latency_ratio, throughput_ratio
from overfly.runtime.bundle.variants import VARIANTS


class _Option(NamedTuple):
    """A row that can be deployed, with its figures."""

    row_index: int
    row: Row
    quality: Quality
    speed: Speed
    measurements: Measurements


def recommend(rows: Sequence[Row], baseline: int | None, max_drop_pp: float | None) -> Recommendation:
    """Return the best OpenVINO rows of all bundles for latency and for throughput.

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
    options = [
        _Option(index, row, row.quality, row.speed, row.measurements)
        for index, row in enumerate(rows)
        if row.is_deployable and row.quality and row.speed and row.measurements
    ]
    qualified = [option for option in options if _qualifies(option.row.difference, max_drop_pp)]
    if not qualified:
        reason = "each loses too much accuracy" if options else "none worked"
        return Recommendation(None, None, None, None, max_drop_pp, f"No variant can be recommended: {reason}.")
    fastest, *slower = sorted(qualified, key=lambda option: option.speed.latency_ms.p50)
    widest, *narrower = sorted(qualified, key=lambda option: -option.speed.throughput_ips)
    latency_lead = _lead(fastest, slower, latency_ratio)
    throughput_lead = _lead(widest, narrower, throughput_ratio)
    baseline_name = "" if baseline is None else rows[baseline].name
    if fastest.row is widest.row:
        sentence = (
            f"Deploy {fastest.row.place}: {_latency(fastest, latency_lead, baseline_name)} and "
            f"{_throughput(widest, throughput_lead, baseline_name)}; {_accuracy(fastest, baseline_name)}."
        )
    else:
        sentence = (
            f"For latency deploy {fastest.row.place}: {_latency(fastest, latency_lead, baseline_name)}; "
            f"{_accuracy(fastest, baseline_name)}. "
            f"For throughput deploy {widest.row.place}: {_throughput(widest, throughput_lead, baseline_name)}; "
            f"{_accuracy(widest, baseline_name)}."
        )
    return Recommendation(fastest.row_index, widest.row_index, latency_lead, throughput_lead, max_drop_pp, sentence)


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


def _lead(
    best: _Option, others: Sequence[_Option], ratio: Callable[[Measurements, Measurements], Ratio]
) -> Lead | None:
    """Compare the best option with the next one, if there is one."""
    if not others:
        return None
    return Lead(others[0].row.name, ratio(best.measurements, others[0].measurements))


def _latency(option: _Option, lead: Lead | None, baseline: str) -> str:
    """Return an option's latency, and how it compares with the baseline's and the next best."""
    times = "".join(f", {text}" for text in _comparisons(option, "latency_speedup", lead, baseline))
    return f"{number_format.milliseconds(option.speed.latency_ms.p50)} ms (p50{times})"


def _throughput(option: _Option, lead: Lead | None, baseline: str) -> str:
    """Return the same for an option's throughput."""
    times = ", ".join(_comparisons(option, "throughput_speedup", lead, baseline))
    rate = f"{number_format.rate(option.speed.throughput_ips)} images per second"
    return f"{rate} ({times})" if times else rate


def _comparisons(option: _Option, speedup: str, lead: Lead | None, baseline: str) -> Iterator[str]:
    """Say how many times as fast as the baseline and as the next best an option is."""
    difference = option.row.difference
    if difference is not None:
        yield _times(getattr(difference, speedup), baseline)
    # Without PyTorch, the next best may be the baseline.
    if lead is not None and (difference is None or lead.next_best != baseline):
        yield _times(lead.ratio, lead.next_best)


def _times(ratio: Ratio, other: str) -> str:
    """Return how many times as fast as another row something is."""
    doubt = "" if ratio.is_significant else ", not significant"
    return f"{number_format.factor(ratio.value)} times as fast as {other}{doubt}"


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
