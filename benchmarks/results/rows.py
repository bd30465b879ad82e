"""From measurements to rows: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from overfly.benchmarks.results.records import OK, Latency, Measurements, Probe, Row, ThroughputSample
from overfly.benchmarks.results.statistics import (
    Labels,
    discordant,
    mcnemar_exact_p,
    paired_ratio,
    summarize_latency,
)
from overfly.runtime.evaluation.intervals import bootstrap_intervals
from overfly.runtime.evaluation.metrics import confusion_matrix, summarize


@dataclass(frozen=True, slots=True)
class Identity:
    """What a row is of.

    Attributes
    ----------
    requested_precision
        What it asks for, or will.
    size_bytes
        Of its files.
    execution_precision, n_threads
        What a loaded model tells; None before, and for one that could not be loaded.
    """

    backend: str
    variant: str
    configuration: str
    device: str
    device_name: str
    requested_precision: str
    size_bytes: int | None
    execution_precision: str | None = None
    n_threads: int | None = None


def make_row(
    identity: Identity, raw: Measurements, truth: Labels, *, n_classes: int, probe: Probe, status: str = OK
) -> Row:  # fmt: skip
    """Return the row of one model, not yet compared with any other.

    Parameters
    ----------
    identity
        What it is.
    raw
        What was measured; empty when the row failed.
    truth
        The right class indices, int64 of shape ``[N]``.
    n_classes
        How many classes there are.
    probe
        What a process of its own established.
    status
        ``ok``, or why the row failed.
    """
    row = _empty_row(identity, probe, status)
    if status != OK or not raw.predictions:
        return row
    predictions = np.array(raw.predictions, dtype=np.int64)
    confusion = confusion_matrix(truth, predictions, n_classes=n_classes)
    metrics, intervals = summarize(confusion), bootstrap_intervals(confusion)
    return replace(
        row,
        accuracy=metrics.accuracy,
        f1_macro=metrics.f1_macro,
        kappa=metrics.kappa,
        n_images=metrics.n_images,
        accuracy_ci95=intervals.accuracy,
        f1_macro_ci95=intervals.f1_macro,
        kappa_ci95=intervals.kappa,
        latency_ms=_latency(raw.latency_rounds_ms),
        file_latency_ms=_latency(raw.file_latency_rounds_ms),
        throughput_ips=throughput(raw.throughput_rounds),
        file_throughput_ips=throughput(raw.file_throughput_rounds),
    )


def throughput(stretches: Sequence[ThroughputSample]) -> float:
    """Return images per second over all stretches: all images by all seconds."""
    return sum(stretch.n_images for stretch in stretches) / sum(stretch.seconds for stretch in stretches)


def medians_ms(rounds: Sequence[Sequence[float]]) -> list[float]:
    """Return the median latency of each round."""
    return [float(np.median(samples)) for samples in rounds]


def rates_ips(stretches: Sequence[ThroughputSample]) -> list[float]:
    """Return the throughput of each round in images per second."""
    return [stretch.n_images / stretch.seconds for stretch in stretches]


def _latency(rounds: Sequence[Sequence[float]]) -> Latency:
    """Return the summary of the samples of all rounds."""
    return summarize_latency([sample for samples in rounds for sample in samples])


def compare_rows(rows: Sequence[Row], raws: Sequence[Measurements], truth: Labels, baseline: int | None) -> list[Row]:
    """Return the rows with their differences to the baseline; none for itself, nor for a row that failed."""
    if baseline is None:
        return list(rows)
    return [
        row if i == baseline or row.status != OK else _compared(row, raw, truth, raws[baseline])
        for i, (row, raw) in enumerate(zip(rows, raws, strict=True))
    ]


def choose_baseline(rows: Sequence[Row]) -> int | None:
    """Return PyTorch in eager mode if it worked, else the first plain fp32 row that did, else None."""
    worked = [i for i, row in enumerate(rows) if row.status == OK and row.variant == "fp32" and not row.configuration]
    return next((i for i in worked if rows[i].is_eager), worked[0] if worked else None)


def _compared(row: Row, raw: Measurements, truth: Labels, baseline: Measurements) -> Row:
    """Return a row with its differences to the baseline."""
    predictions = np.array(raw.predictions, dtype=np.int64)
    reference = np.array(baseline.predictions, dtype=np.int64)
    only_reference, only_row = discordant(truth, reference, predictions)
    delta_images = only_row - only_reference
    return replace(
        row,
        delta_accuracy_pp=100 * delta_images / len(truth),
        delta_images=delta_images,
        mcnemar_p=mcnemar_exact_p(only_reference, only_row),
        agreement=float((predictions == reference).mean()),
        latency_speedup=paired_ratio(medians_ms(baseline.latency_rounds_ms), medians_ms(raw.latency_rounds_ms)),
        throughput_speedup=paired_ratio(rates_ips(raw.throughput_rounds), rates_ips(baseline.throughput_rounds)),
    )


def _empty_row(identity: Identity, probe: Probe, status: str) -> Row:
    """Return a row of which nothing is measured."""
    return Row(
        backend=identity.backend,
        variant=identity.variant,
        configuration=identity.configuration,
        device=identity.device,
        device_name=identity.device_name,
        requested_precision=identity.requested_precision,
        execution_precision=identity.execution_precision,
        n_threads=identity.n_threads,
        accuracy=None,
        f1_macro=None,
        kappa=None,
        n_images=None,
        accuracy_ci95=None,
        f1_macro_ci95=None,
        kappa_ci95=None,
        delta_accuracy_pp=None,
        delta_images=None,
        mcnemar_p=None,
        agreement=None,
        latency_ms=None,
        latency_speedup=None,
        file_latency_ms=None,
        first_inference_ms=probe.first_inference_ms,
        throughput_ips=None,
        throughput_speedup=None,
        file_throughput_ips=None,
        load_ms=probe.load_ms,
        size_bytes=identity.size_bytes,
        peak_rss_bytes=probe.peak_rss_bytes,
        status=status,
    )
