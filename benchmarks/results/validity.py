"""Whether a report's figures can be relied on; every reason against it comes with its remedy."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from overfly.benchmarks.results.records import OK, OPENVINO, Environment, Judged, Measurements, Reason, Row, Verdict
from overfly.benchmarks.results.rows import medians_ms, rates_ips
from overfly.benchmarks.results.statistics import MIN_SAMPLES_P99, drift

# Enough for a p50 and a p90; the p99 of what it is compared with is not what anybody deploys.
MIN_BASELINE_SAMPLES = 100
# Repeated runs on an idle laptop stay within a few percent.
MAX_DRIFT = 0.10
# One of eight cores, or most of half a core of two.
MAX_BUSY = 0.15


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the verdict is made from.

    Attributes
    ----------
    n_calibration
        Judged images that also set the ranges of a quantised variant.
    """

    rows: Sequence[Row]
    raws: Sequence[Measurements]
    quick: bool
    environment: Environment
    images: Judged
    n_calibration: int


def judge(evidence: Evidence) -> Verdict:
    """Return the verdict: valid when no check finds a reason against it."""
    reasons = tuple(reason for check in _CHECKS for reason in check(evidence))
    return Verdict(not reasons, reasons)


def _baseline(evidence: Evidence) -> Iterator[Reason]:
    """Find the PyTorch row missing: there is nothing to compare with."""
    rows = [row for row in evidence.rows if row.is_eager]
    if not rows:
        yield Reason("the PyTorch baseline is missing", "pass --run RUN where PyTorch is installed")
    elif rows[0].status != OK:
        yield Reason(f"the PyTorch baseline is missing: {rows[0].status}", "mend that, and run the bench again")


def _calibration(evidence: Evidence) -> Iterator[Reason]:
    """Find images that set the INT8 ranges among those that judge them."""
    if evidence.n_calibration:
        yield Reason(
            f"{evidence.n_calibration} of the judged images were also used to calibrate INT8",
            "pass the data folder that the run was trained on, or pictures that are not in it",
        )


def _samples(evidence: Evidence) -> Iterator[Reason]:
    """Find rows with too few samples for their percentiles."""
    short = [
        (r.name, r.latency_ms.n, _wanted(r)) for r in evidence.rows if r.latency_ms and r.latency_ms.n < _wanted(r)
    ]
    if short:
        name, n, wanted = min(short, key=lambda item: item[1] / item[2])
        remedy = "run it without --quick" if evidence.quick else "the device is slow: take p50 for a rough figure only"
        yield Reason(f"too few latency samples: {n} of {name}, expected at least {wanted:,}", remedy)


def _wanted(row: Row) -> int:
    """Return how many latency samples a row should have."""
    return MIN_SAMPLES_P99 if row.backend == OPENVINO else MIN_BASELINE_SAMPLES


def _subset(evidence: Evidence) -> Iterator[Reason]:
    """Find that not all images were judged."""
    n_judged, n_available = len(evidence.images.names), evidence.images.n_available
    if n_judged < n_available:
        yield Reason(
            f"{n_judged} of {n_available} images were judged",
            "run it without --quick and --images" if evidence.quick else "run it without --images",
        )


def _left_out(evidence: Evidence) -> Iterator[Reason]:
    """Find what there is no time for in a quick look."""
    if evidence.quick:
        compiled = "torch.compile, " if any(row.is_eager for row in evidence.rows) else ""
        yield Reason(f"{compiled}load times and memory were not measured", "run it without --quick")


def _drift(evidence: Evidence) -> Iterator[Reason]:
    """Find rounds that differ: something else than the model was measured."""
    spreads = [
        (drift(values), row.name, what)
        for row, raw in zip(evidence.rows, evidence.raws, strict=True)
        for what, values in _by_round(raw)
    ]
    worst = max(spreads, default=(0.0, "", ""))
    if worst[0] > MAX_DRIFT:
        yield Reason(
            f"the rounds differ by up to {worst[0]:.0%} ({worst[2]} of {worst[1]}), expected at most {MAX_DRIFT:.0%}",
            "close other programs, let the machine cool down, and run the bench again",
        )


def _by_round(raw: Measurements) -> list[tuple[str, list[float]]]:
    """Return a row's median latency and its throughput, by round."""
    return [
        ("p50", medians_ms(raw.latency_rounds_ms)),
        ("throughput", rates_ips(raw.throughput_rounds)),
    ]


def _machine(evidence: Evidence) -> Iterator[Reason]:
    """Find other work, a battery, or a power-saving mode that takes speed away."""
    machine = evidence.environment
    for busy, when in ((machine.busy_fraction, "before it began"), (machine.busy_during_fraction, "with other work")):
        if busy is not None and busy > MAX_BUSY:
            yield Reason(
                f"the machine was busy {when}: {busy:.0%} of the processor, expected at most {MAX_BUSY:.0%}",
                "close other programs and run the bench again",
            )
    if machine.power_source == "battery":
        yield Reason("the machine ran on battery", "plug it in and run the bench again")
    if machine.power_saving is not None:
        yield Reason(
            f"the machine was saving power: {machine.power_saving}",
            "choose the mode for best performance and run the bench again",
        )


_CHECKS: tuple[Callable[[Evidence], Iterator[Reason]], ...] = (
    _baseline,
    _calibration,
    _subset,
    _left_out,
    _samples,
    _drift,
    _machine,
)
