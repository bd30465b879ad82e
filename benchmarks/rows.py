"""From measurements to rows: pure functions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from overfly.benchmarks.probe import Probe
from overfly.benchmarks.report import OK, Raw, Row
from overfly.benchmarks.statistics import Labels, discordant, mcnemar_exact_p, summarise_latency, wilson_interval
from overfly.runtime.metrics import evaluate


@dataclass(frozen=True, slots=True)
class Identity:
    """What a row is of; `execution_precision` is None for one that could not be loaded."""

    backend: str
    variant: str
    device: str
    device_name: str
    requested_precision: str
    execution_precision: str | None
    size_bytes: int | None


def make_row(
    identity: Identity, raw: Raw, truth: Labels, *, n_classes: int, probe: Probe, status: str = OK
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
    metrics = evaluate(truth, predictions, n_classes=n_classes)
    return replace(
        row,
        accuracy=metrics.accuracy,
        f1_macro=metrics.f1_macro,
        kappa=metrics.kappa,
        n_images=metrics.n_images,
        accuracy_ci95=wilson_interval(int((predictions == truth).sum()), len(truth)),
        latency_ms=summarise_latency([sample for samples in raw.latency_rounds_ms for sample in samples]),
        throughput_ips=throughput(raw),
    )


def throughput(raw: Raw) -> float:
    """Return images per second over all stretches: all images by all seconds."""
    seconds = sum(stretch.seconds for stretch in raw.throughput_rounds)
    return sum(stretch.n_images for stretch in raw.throughput_rounds) / seconds


def compare_rows(rows: Sequence[Row], raws: Sequence[Raw], truth: Labels, baseline: int | None) -> list[Row]:
    """Return the rows with their differences to the baseline; none for itself, nor for a row that failed."""
    if baseline is None:
        return list(rows)
    reference = np.array(raws[baseline].predictions, dtype=np.int64)
    return [
        row if i == baseline or row.status != OK else _compared(row, raw, truth, reference)
        for i, (row, raw) in enumerate(zip(rows, raws, strict=True))
    ]


def choose_baseline(rows: Sequence[Row]) -> int | None:
    """Return the PyTorch row if it worked, else the first fp32 row that did, else None."""
    worked = [i for i, row in enumerate(rows) if row.status == OK and row.variant == "fp32"]
    return next((i for i in worked if rows[i].backend == "pytorch"), worked[0] if worked else None)


def _compared(row: Row, raw: Raw, truth: Labels, reference: Labels) -> Row:
    """Return a row with its differences to the baseline's predictions."""
    predictions = np.array(raw.predictions, dtype=np.int64)
    only_reference, only_row = discordant(truth, reference, predictions)
    delta_images = only_row - only_reference
    return replace(
        row,
        delta_accuracy_pp=100 * delta_images / len(truth),
        delta_images=delta_images,
        mcnemar_p=mcnemar_exact_p(only_reference, only_row),
        agreement=float((predictions == reference).mean()),
    )


def _empty_row(identity: Identity, probe: Probe, status: str) -> Row:
    """Return a row of which nothing is measured."""
    return Row(
        backend=identity.backend,
        variant=identity.variant,
        device=identity.device,
        device_name=identity.device_name,
        requested_precision=identity.requested_precision,
        execution_precision=identity.execution_precision,
        accuracy=None,
        f1_macro=None,
        kappa=None,
        n_images=None,
        accuracy_ci95=None,
        delta_accuracy_pp=None,
        delta_images=None,
        mcnemar_p=None,
        agreement=None,
        latency_ms=None,
        first_inference_ms=probe.first_inference_ms,
        throughput_ips=None,
        load_ms=probe.load_ms,
        size_bytes=identity.size_bytes,
        peak_rss_bytes=probe.peak_rss_bytes,
        status=status,
    )
