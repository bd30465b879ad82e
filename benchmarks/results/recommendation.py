"""What to deploy: the fastest row that costs no more accuracy than allowed."""

from collections.abc import Sequence

from overfly.benchmarks.results.records import Answer, Choice, Ratio, Report, Row
from overfly.benchmarks.results.statistics import SIGNIFICANCE
from overfly.runtime.evaluation.recommendation import (
    Placement,
    Recommendation,
    delete_recommendation,
    save_recommendation,
)


def choose(rows: Sequence[Row], baseline: int | None, max_drop_pp: float | None) -> Answer:
    """Return the best OpenVINO rows for latency and for throughput.

    Parameters
    ----------
    rows
        Compared with the baseline.
    baseline
        Index of the baseline, None when there is none; the accuracy then sets no bound.
    max_drop_pp
        How many percentage points of accuracy a row may lose against the baseline. None allows
        what is not significant.
    """
    worked = [row for row in rows if row.is_deployable]
    fit = [row for row in worked if _qualifies(row, max_drop_pp)]
    if not fit:
        reason = "each loses too much accuracy" if worked else "none worked"
        return Answer(None, None, max_drop_pp, f"No variant can be recommended: {reason}.")
    quickest = min(fit, key=_p50_ms)
    widest = max(fit, key=lambda row: row.throughput_ips or 0.0)
    reference = None if baseline is None else rows[baseline]
    sentence = _sentence(quickest, widest, reference)
    return Answer(_choice(quickest), _choice(widest), max_drop_pp, sentence)


def keep_answer(report: Report) -> None:
    """Keep the answer of a full bench where `overfly predict` finds it on this machine.

    What judged some of the images only is not kept, a quick look included: with few images no loss
    is significant, and it must not replace what a full bench established. An INVALID report is, and
    is called that: on a box without PyTorch there is no other.
    """
    if report.quick or len(report.images.names) < report.images.n_available:
        return
    latency, throughput = (_placement(report, choice) for choice in (report.answer.latency, report.answer.throughput))
    if latency is None or throughput is None:
        delete_recommendation(report.bundle.manifest_sha256)
        return
    machine = report.environment
    save_recommendation(
        Recommendation(
            manifest_sha256=report.bundle.manifest_sha256,
            host=machine.host,
            cpu=machine.cpu,
            latency=latency,
            throughput=throughput,
            valid=report.verdict.valid,
            timestamp=machine.timestamp,
        )
    )


def _placement(report: Report, choice: Choice | None) -> Placement | None:
    """Return a choice with the full name of its device."""
    rows = (row for row in report.rows if row.is_deployable and _choice(row) == choice)
    return next((Placement(row.variant, row.device, row.device_name) for row in rows), None)


def gate_failure(report: Report) -> str | None:
    """Return why the report misses its ``max_drop_pp``, or None when it keeps it or none was set.

    The best INT8 row counts: one device with wrong INT8 kernels does not condemn the others.
    """
    limit = report.answer.max_drop_pp
    if limit is None:
        return None
    drops = [
        (-row.delta_accuracy_pp, row)
        for row in report.rows
        if row.variant == "int8" and row.is_deployable and row.delta_accuracy_pp is not None
    ]
    if not drops:
        return f"--max-drop {limit:g} can't be checked: no INT8 row could be compared with an fp32 row"
    drop, row = min(drops, key=lambda item: item[0])
    if drop <= limit:
        return None
    return f"{row.name} loses {drop:.2f} points of accuracy, more than --max-drop {limit:g} allows"


def _qualifies(row: Row, max_drop_pp: float | None) -> bool:
    """Whether a row's accuracy is good enough."""
    if row.delta_accuracy_pp is None or row.mcnemar_p is None:
        return True
    if max_drop_pp is not None:
        return -row.delta_accuracy_pp <= max_drop_pp
    return row.delta_accuracy_pp >= 0 or row.mcnemar_p >= SIGNIFICANCE


def _p50_ms(row: Row) -> float:
    """Return the median latency."""
    return row.latency_ms.p50 if row.latency_ms else float("inf")


def _choice(row: Row) -> Choice:
    """Return what names a row for deployment."""
    return Choice(row.variant, row.device)


def _sentence(quickest: Row, widest: Row, reference: Row | None) -> str:
    """Say the choices, with their figures and their price."""
    apposition = _times(quickest.latency_speedup, reference)
    latency = f"{_p50_ms(quickest):.1f} ms (p50{f', {apposition}' if apposition else ''})"
    apposition = _times(widest.throughput_speedup, reference)
    stream = f"{widest.throughput_ips or 0:.0f} images a second{f' ({apposition})' if apposition else ''}"
    if quickest is widest:
        return f"Deploy {_place(quickest)}: {latency} and {stream}; {_price(quickest, reference)}."
    return (
        f"For latency deploy {_place(quickest)}: {latency}; {_price(quickest, reference)}. "
        f"For throughput deploy {_place(widest)}: {stream}; {_price(widest, reference)}."
    )


def _place(row: Row) -> str:
    """Return the variant and the device."""
    return f"{row.variant} on {row.device}"


def _times(ratio: Ratio | None, reference: Row | None) -> str:
    """Return how many times faster than the reference something is; empty where that is not known."""
    if ratio is None or reference is None:
        return ""
    doubt = "" if ratio.is_significant else ", which the rounds do not agree on"
    return f"{ratio.value:.1f} times as fast as {reference.name}{doubt}"


def _price(row: Row, reference: Row | None) -> str:
    """Say what a row costs in accuracy."""
    accuracy = f"accuracy {100 * (row.accuracy or 0):.1f}%"
    if reference is None or row.delta_images is None or row.mcnemar_p is None:
        return accuracy
    if row.delta_images == 0:
        return f"{accuracy}, the same as {reference.name}"
    count = abs(row.delta_images)
    direction = "fewer" if row.delta_images < 0 else "more"
    chance = ", not significant" if row.mcnemar_p >= SIGNIFICANCE else f", significant (p = {row.mcnemar_p:.2g})"
    return f"{accuracy}, {count} {'image' if count == 1 else 'images'} {direction} right than {reference.name}{chance}"
