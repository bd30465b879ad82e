"""Whether a report's figures can be relied on. Every reason against it comes with its remedy."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from overfly.benchmarks.results.conclusions import MAX_HALF_WIDTH, Conclusions
from overfly.benchmarks.results.records import BundleFacts, Environment, EvaluationSet, Reason, Validity
from overfly.benchmarks.results.row_records import OK, Row
from overfly.benchmarks.results.rows import medians_ms, rates_ips
from overfly.benchmarks.results.statistics import MIN_SAMPLES_P99, relative_range

# Enough for p50 and p90.
MIN_SAMPLES = 100
# About one of eight cores, or a third of one of two cores.
MAX_BACKGROUND_LOAD = 0.15
# Smaller changes are on every machine.
_NOTABLE_RANGE = 0.10


class _Check(NamedTuple):
    """A check of a report: what it found if nothing is wrong, and the reasons if something is."""

    passed: str
    reasons: list[Reason]


def validate(
    conclusions: Conclusions,
    images: EvaluationSet,
    environment: Environment,
    *,
    bundles: Sequence[BundleFacts],
    quick: bool,
) -> Validity:
    """Check how a report was measured; it is valid if no check finds a reason against it.

    Parameters
    ----------
    conclusions
        The rows, also those that failed, and what the report says about them.
    images
        The images on which they were evaluated.
    environment
        The machine.
    bundles
        The bundles that were measured.
    quick
        Whether it was a quick bench.
    """
    rows = conclusions.rows
    checks = [
        _check_baseline(rows),
        _check_images(images, bundles, quick=quick),
        _check_not_quick(rows, quick=quick),
        _check_samples(rows, quick=quick),
        *_check_ratios(conclusions, quick=quick),
        _check_machine(environment),
    ]
    reasons = tuple(reason for check in checks for reason in check.reasons)
    passed = tuple(check.passed for check in checks if not check.reasons)
    return Validity(not reasons, reasons, passed, (*_observe_images(images, bundles), *_observe(rows)))


def _check_baseline(rows: Sequence[Row]) -> _Check:
    """Check that there is a PyTorch row to compare with, and with several bundles one of each."""
    bundles = dict.fromkeys(row.spec.bundle for row in rows) or {"": None}
    eager = {row.spec.bundle: row for row in rows if row.is_eager}
    reasons = []
    for bundle in bundles:
        what = f"the PyTorch row of {bundle} is missing" if bundle else "the PyTorch baseline is missing"
        row = eager.get(bundle)
        if row is None:
            reasons.append(Reason(what, "pass --run RUN where PyTorch is installed"))
        elif row.status != OK:
            reasons.append(Reason(f"{what}: {row.status}", "fix that and rerun the bench"))
    return _Check(f"PyTorch was measured {'as the baseline' if len(bundles) == 1 else 'for each bundle'}", reasons)


def _check_images(images: EvaluationSet, bundles: Sequence[BundleFacts], *, quick: bool) -> _Check:
    """Check that the runs have seen none of the evaluated images, and that all images were evaluated."""
    several = len(bundles) > 1
    # INT8 is calibrated with training images, so they need no reason of their own.
    reasons = [
        Reason(
            f"the run{f' of {bundle.name}' if several else ''} was {use} on {n_seen} of the {len(images.names)} "
            "evaluated images",
            "pass the whole data folder of the training, of which the test part is evaluated, or other images",
        )
        for bundle in bundles
        for n_seen, use in ((bundle.n_train, "trained"), (bundle.n_val, "validated"))
        if n_seen
    ]
    if len(images.names) < images.n_available:
        reasons.append(
            Reason(
                f"{len(images.names)} of {images.n_available} images were evaluated",
                "run it without --quick and --images" if quick else "run it without --images",
            )
        )
    unseen = "no run has seen any of them" if several else "the run has seen none of them"
    return _Check(f"all {images.n_available} images were evaluated; {unseen}", reasons)


def _check_not_quick(rows: Sequence[Row], *, quick: bool) -> _Check:
    """Check that nothing was left out to save time."""
    compiled = "torch.compile, " if any(row.is_eager for row in rows) else ""
    what = f"{compiled}load times, memory and intervals were not measured"
    return _Check("nothing was left out to save time", [Reason(what, "run it without --quick")] if quick else [])


def _check_samples(rows: Sequence[Row], *, quick: bool) -> _Check:
    """Check that each row has enough samples for p50 and p90; p99 is not claimed without enough of them."""
    n, name = min(((row.speed.latency_ms.n, row.name) for row in rows if row.speed), default=(MIN_SAMPLES, ""))
    remedy = "run it without --quick" if quick else "the device is slow: use p50 as a rough figure only"
    reason = Reason(f"too few latency samples: {n} of {name}, expected at least {MIN_SAMPLES}", remedy)
    return _Check(f"at least {MIN_SAMPLES} latency samples of each row", [reason] if n < MIN_SAMPLES else [])


def _check_ratios(conclusions: Conclusions, *, quick: bool) -> Iterator[_Check]:
    """Check that the intervals of all ratios that the report claims are narrow; a quick bench has no intervals."""
    ratios = list(conclusions.ratios())
    known = [(ratio.half_width, name) for name, ratio in ratios if ratio.half_width is not None]
    remedy = "close other programs, let the machine cool down, and rerun the bench"
    if not known:
        if ratios and not quick:
            yield _Check("", [Reason("too few rounds counted for the intervals of the speed ratios", remedy)])
        return
    half_width, name = max(known)
    n_wide = sum(width > MAX_HALF_WIDTH for width, _ in known)
    reasons = [
        Reason(
            f"{n_wide} of {len(known)} speed ratios are uncertain by more than {MAX_HALF_WIDTH:.0%}: the {name} by "
            f"{half_width:.1%}",
            remedy,
        )
    ]
    yield _Check(
        f"{len(known)} speed ratios are known within {MAX_HALF_WIDTH:.0%}, the least certain within {half_width:.1%}",
        reasons if n_wide else [],
    )


def _check_machine(machine: Environment) -> _Check:
    """Check that no other program, battery or power-saving mode reduced the speed."""
    reasons = [
        Reason(
            f"other programs used {load:.1%} of the processor {when} the measurement, expected at most "
            f"{MAX_BACKGROUND_LOAD:.0%}",
            "close other programs and rerun the bench",
        )
        for load, when in ((machine.load_before, "before"), (machine.load_during, "during"))
        if load is not None and load > MAX_BACKGROUND_LOAD
    ]
    if machine.power_source == "battery":
        reasons.append(Reason("the machine ran on battery", "plug it in and rerun the bench"))
    if machine.power_saving is not None:
        reasons.append(
            Reason(
                f"the machine was saving power: {machine.power_saving}",
                "choose the mode for best performance and rerun the bench",
            )
        )
    return _Check("no other program, battery or power saving was found to slow the machine", reasons)


def _observe_images(images: EvaluationSet, bundles: Sequence[BundleFacts]) -> Iterator[str]:
    """Say how many images each bundle alone would have been evaluated on, if these are more."""
    if any(bundle.n_images > images.n_available for bundle in bundles):
        counts = ", ".join(f"{bundle.name} {bundle.n_images}" for bundle in bundles)
        yield f"the runs have different test images ({counts}): only the {images.n_available} in common were used"


def _observe(rows: Sequence[Row]) -> Iterator[str]:
    """Say how much the speed changed from round to round, and which rounds were set aside."""
    measured = [(row.name, row.measurements) for row in rows if row.measurements is not None]
    ranges = [
        (relative_range(values), name, what)
        for name, measurements in measured
        for what, values in (
            ("p50", medians_ms(measurements.counted.latency_rounds_ms)),
            ("throughput", rates_ips(measurements.counted.throughput_rounds)),
        )
    ]
    largest, name, what = max(ranges, default=(0.0, "", ""))
    if largest > _NOTABLE_RANGE:
        yield f"the speed changed by up to {largest:.0%} from round to round ({what} of {name})"
    counts = [(row.speed.latency_ms.n, row.name) for row in rows if row.speed and row.is_deployable]
    n, name = min(counts, default=(MIN_SAMPLES_P99, ""))
    if MIN_SAMPLES <= n < MIN_SAMPLES_P99:
        yield f"{name} has no p99: it has {n} latency samples, and p99 needs {MIN_SAMPLES_P99:,}"
    aside = measured[0][1].rounds_set_aside if measured else ()
    if aside:
        n_rounds = len(measured[0][1].latency_rounds_ms)
        yield (
            f"{len(aside)} of {n_rounds} rounds were set aside, because the latencies of a row spread more than usual; "
            "report.json has them"
        )
