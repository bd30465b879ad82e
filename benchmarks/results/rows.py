"""From raw measurements to rows. All functions are pure."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from overfly.benchmarks.results.packed import unpack_rows
from overfly.benchmarks.results.row_records import (
    OK,
    Difference,
    Estimate,
    Execution,
    Measurements,
    Probe,
    Quality,
    Ratio,
    Row,
    RowSpec,
    Speed,
    ThroughputSample,
)
from overfly.benchmarks.results.statistics import (
    Labels,
    discordant,
    mcnemar_exact_p,
    paired_ratio,
    summarize_latency,
)
from overfly.runtime.evaluation.calibration import PROBABILITY_METRICS, Scores, ece_if_calibrated
from overfly.runtime.evaluation.intervals import (
    N_RESAMPLES,
    bootstrap_intervals,
    middle_95,
    probability_intervals,
)
from overfly.runtime.evaluation.metrics import confusion_matrix, summarize


def make_row(
    spec: RowSpec,
    execution: Execution,
    measurements: Measurements,
    truth: Labels,
    *,
    n_classes: int,
    probe: Probe | None = None,
    quality: Quality | None = None,
) -> Row:
    """Return the row of a model that was measured, not yet compared with the baseline.

    Parameters
    ----------
    spec, execution
        What was measured, and how it was computed.
    measurements
        Complete raw measurements.
    truth
        The true class indices, int64 of shape ``[N]``.
    n_classes
        The number of classes.
    probe
        Load times and memory; None if they were not measured.
    quality
        What `judge` returns for these measurements; None computes it.
    """
    counted = measurements.counted
    speed = Speed(
        latency_ms=summarize_latency(list(chain.from_iterable(counted.latency_rounds_ms))),
        throughput_ips=throughput(counted.throughput_rounds),
        file_latency_ms=summarize_latency(list(chain.from_iterable(counted.file_latency_rounds_ms))),
        file_throughput_ips=throughput(counted.file_throughput_rounds),
    )
    if quality is None:
        quality = judge(measurements, truth, n_classes=n_classes)
    return Row(spec, execution, OK, quality, speed, probe=probe, measurements=measurements)


def judge(measurements: Measurements, truth: Labels, *, n_classes: int) -> Quality:
    """Return how well a model classifies, from its predictions and logits; the arguments are those of `make_row`."""
    predictions = np.array(measurements.predictions, dtype=np.int64)
    confusion = confusion_matrix(truth, predictions, n_classes=n_classes)
    metrics, intervals = summarize(confusion), bootstrap_intervals(confusion)
    estimates = {name: Estimate(getattr(metrics, name), interval) for name, interval in intervals.items()}
    scores = Scores.of(unpack_rows(measurements.logits), truth)
    for name, interval in probability_intervals(scores).items():
        estimates[name] = Estimate(float(PROBABILITY_METRICS[name](scores, scores.once)), interval)
    if_calibrated = ece_if_calibrated(scores, n_draws=N_RESAMPLES)
    estimates["ece_if_calibrated"] = Estimate(float(if_calibrated.mean()), middle_95(if_calibrated))
    return Quality(**estimates, n_images=metrics.n_images)


def latency_ratio(measured: Measurements, reference: Measurements) -> Ratio:
    """Return how many times as fast as another row a row is, by the median latencies of the rounds that count."""
    return paired_ratio(medians_ms(reference.counted.latency_rounds_ms), medians_ms(measured.counted.latency_rounds_ms))


def throughput_ratio(measured: Measurements, reference: Measurements) -> Ratio:
    """Return the same by the throughputs."""
    return paired_ratio(rates_ips(measured.counted.throughput_rounds), rates_ips(reference.counted.throughput_rounds))


def throughput(samples: Sequence[ThroughputSample]) -> float:
    """Return images per second over all rounds: all images divided by all seconds."""
    return sum(sample.n_images for sample in samples) / sum(sample.seconds for sample in samples)


def medians_ms(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Return the median latency of each round."""
    return [float(np.median(samples)) for samples in rounds]


def rates_ips(samples: Sequence[ThroughputSample]) -> list[float]:
    """Return the throughput of each round in images per second."""
    return [sample.n_images / sample.seconds for sample in samples]


def compare_rows(rows: Sequence[Row], truth: Labels, baseline: int | None) -> list[Row]:
    """Return the rows with their differences to the baseline; the baseline and failed rows stay as they are.

    Parameters
    ----------
    rows
        The rows to compare.
    truth
        The true class indices, int64 of shape ``[N]``.
    baseline
        Index of the baseline; None compares nothing.
    """
    reference = None if baseline is None else rows[baseline].measurements
    if reference is None:
        return list(rows)
    return [
        row
        if i == baseline or row.measurements is None
        else replace(row, difference=_difference(row.measurements, truth, reference))
        for i, row in enumerate(rows)
    ]


def choose_baseline(rows: Sequence[Row]) -> int | None:
    """Return the index of the most accurate bundle's reference, the first of equally accurate ones; None without any.

    The reference of a bundle is PyTorch in eager mode if it worked, else the first plain fp32 row that did.
    """
    references: dict[str, tuple[int, float]] = {}
    for i, row in enumerate(rows):
        if row.quality is None or row.spec.variant != "fp32" or row.spec.configuration:
            continue
        if row.is_eager or row.spec.bundle not in references:
            references[row.spec.bundle] = i, row.quality.accuracy.value
    best = max(references.values(), key=lambda found: found[1], default=None)
    return None if best is None else best[0]


def _difference(measured: Measurements, truth: Labels, baseline: Measurements) -> Difference:
    """Return how a row differs from the baseline."""
    predictions = np.array(measured.predictions, dtype=np.int64)
    reference = np.array(baseline.predictions, dtype=np.int64)
    only_reference, only_row = discordant(truth, reference, predictions)
    images = only_row - only_reference
    return Difference(
        accuracy_pp=100 * images / len(truth),
        images=images,
        mcnemar_p=mcnemar_exact_p(only_reference, only_row),
        agreement=float((predictions == reference).mean()),
        latency_speedup=latency_ratio(measured, baseline),
        throughput_speedup=throughput_ratio(measured, baseline),
    )
