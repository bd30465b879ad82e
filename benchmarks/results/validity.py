"""Whether a report's figures can be relied on. Every reason against it comes with its remedy."""

from collections.abc import Iterator, Sequence

from overfly.benchmarks.results.backends import BACKENDS
from overfly.benchmarks.results.records import Environment, EvaluationSet, Reason, Validity
from overfly.benchmarks.results.row_records import OK, Row
from overfly.benchmarks.results.rows import medians_ms, rates_ips
from overfly.benchmarks.results.statistics import MIN_SAMPLES_P99, relative_range

# Enough for p50 and p90. Nobody deploys the rows that are only measured for comparison, so their p99 is not needed.
MIN_BASELINE_SAMPLES = 100
# Repeated runs on an idle laptop stay within a few percent.
MAX_RELATIVE_RANGE = 0.10
# About one of eight cores, or a third of one of two cores.
MAX_BACKGROUND_LOAD = 0.15


def validate(rows: Sequence[Row], images: EvaluationSet, environment: Environment, *, quick: bool) -> Validity:
    """Check how a report was measured; it is valid if no check finds a reason against it.

    Parameters
    ----------
    rows
        All rows, also those that failed.
    images
        The images on which they were evaluated.
    environment
        The machine.
    quick
        Whether it was a quick bench.
    """
    reasons = (
        *_check_baseline(rows),
        *_check_images(images, quick=quick),
        *_check_not_quick(rows, quick=quick),
        *_check_samples(rows, quick=quick),
        *_check_rounds(rows),
        *_check_machine(environment),
    )
    return Validity(not reasons, reasons)


def _check_baseline(rows: Sequence[Row]) -> Iterator[Reason]:
    """Check that there is a PyTorch row to compare with."""
    row = next((row for row in rows if row.is_eager), None)
    if row is None:
        yield Reason("the PyTorch baseline is missing", "pass --run RUN where PyTorch is installed")
    elif row.status != OK:
        yield Reason(f"the PyTorch baseline is missing: {row.status}", "fix that and rerun the bench")


def _check_images(images: EvaluationSet, *, quick: bool) -> Iterator[Reason]:
    """Check that the run has seen none of the evaluated images, and that all images were evaluated."""
    # INT8 is calibrated with training images, so they need no reason of their own.
    for n_seen, use in ((images.n_train, "trained"), (images.n_val, "validated")):
        if n_seen:
            yield Reason(
                f"the run was {use} on {n_seen} of the {len(images.names)} evaluated images",
                "pass the whole data folder of the training, of which the test part is evaluated, or other images",
            )
    if len(images.names) < images.n_available:
        yield Reason(
            f"{len(images.names)} of {images.n_available} images were evaluated",
            "run it without --quick and --images" if quick else "run it without --images",
        )


def _check_not_quick(rows: Sequence[Row], *, quick: bool) -> Iterator[Reason]:
    """Check that nothing was skipped to save time."""
    if quick:
        compiled = "torch.compile, " if any(row.is_eager for row in rows) else ""
        yield Reason(f"{compiled}load times and memory were not measured", "run it without --quick")


def _check_samples(rows: Sequence[Row], *, quick: bool) -> Iterator[Reason]:
    """Check that each row has enough samples for its percentiles."""
    counts = [
        (row.name, row.speed.latency_ms.n, MIN_SAMPLES_P99 if facts.is_deployable else MIN_BASELINE_SAMPLES)
        for row in rows
        if row.speed is not None and (facts := BACKENDS[row.spec.backend])
    ]
    short = [(name, n, wanted) for name, n, wanted in counts if n < wanted]
    if short:
        name, n, wanted = min(short, key=lambda item: item[1] / item[2])
        remedy = "run it without --quick" if quick else "the device is slow: use p50 as a rough figure only"
        yield Reason(f"too few latency samples: {n} of {name}, expected at least {wanted:,}", remedy)


def _check_rounds(rows: Sequence[Row]) -> Iterator[Reason]:
    """Check that the rounds agree: if they differ, something other than the model was measured."""
    ranges = [
        (relative_range(values), row.name, what)
        for row in rows
        if row.measurements is not None
        for what, values in (
            ("p50", medians_ms(row.measurements.latency_rounds_ms)),
            ("throughput", rates_ips(row.measurements.throughput_rounds)),
        )
    ]
    largest, name, what = max(ranges, default=(0.0, "", ""))
    if largest > MAX_RELATIVE_RANGE:
        yield Reason(
            f"the rounds differ by up to {largest:.1%} ({what} of {name}), expected at most {MAX_RELATIVE_RANGE:.0%}",
            "close other programs, let the machine cool down, and rerun the bench",
        )


def _check_machine(machine: Environment) -> Iterator[Reason]:
    """Check that no other program, battery or power-saving mode reduced the speed."""
    for load, when in ((machine.load_before, "before"), (machine.load_during, "during")):
        if load is not None and load > MAX_BACKGROUND_LOAD:
            yield Reason(
                f"other programs used {load:.1%} of the processor {when} the measurement, expected at most "
                f"{MAX_BACKGROUND_LOAD:.0%}",
                "close other programs and rerun the bench",
            )
    if machine.power_source == "battery":
        yield Reason("the machine ran on battery", "plug it in and rerun the bench")
    if machine.power_saving is not None:
        yield Reason(
            f"the machine was saving power: {machine.power_saving}",
            "choose the mode for best performance and rerun the bench",
        )
