"""Compare reports of the same bundles and the same images, from several machines or several times."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import Ratio, Row
from overfly.benchmarks.results.rows import medians_ms, rates_ips
from overfly.benchmarks.results.statistics import center
from overfly.benchmarks.results.store import read_report
from overfly.runtime.errors import ComparisonError

COMPARISON_SCHEMA = "overfly.comparison/3"

_MIN_REPORTS = 2
# Manifest, backend, variant, configuration and device.
_RowKey = tuple[str, str, str, str, str]
# Digits of a hash that a message shows.
_N_HASH_DIGITS = 12


@dataclass(frozen=True, slots=True)
class ReportSource:
    """One of the reports: its path, machine and time, and whether it is VALID."""

    path: str
    host: str
    cpu: str
    timestamp: str
    valid: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """The figures of a row in one report.

    Attributes
    ----------
    execution_precision, accuracy, nll, brier, ece, latency_p50_ms, file_latency_p50_ms, throughput_ips
        As in the report's results table; the accuracy is a fraction.
    latency_speedup, throughput_speedup
        How many times as fast as in the first report; None in the first report. The rounds of two reports
        are not paired, so the interval goes from the low end here / the high end there to the high end here / the
        low end there, of the intervals of both.
    n_changed
        Number of images that are classified differently than in the first report; None in the first report,
        and if the two list the images in another order.
    """

    execution_precision: str | None
    accuracy: float
    nll: float
    brier: float
    ece: float
    latency_p50_ms: float
    file_latency_p50_ms: float
    throughput_ips: float
    latency_speedup: Ratio | None = None
    throughput_speedup: Ratio | None = None
    n_changed: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """A row in all reports, in their order; None if a report does not have the row, or if it failed there."""

    name: str
    entries: tuple[Entry | None, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison, as ``overfly compare --json`` prints it.

    `manifest_sha256` has the SHA-256 of the manifest of each bundle, in the order of the first report.
    """

    manifest_sha256: tuple[str, ...]
    images_sha256: str
    n_images: int
    reports: tuple[ReportSource, ...]
    lines: tuple[Line, ...]


def compare(paths: Sequence[Path]) -> Comparison:
    """Read reports and compare each with the first one.

    Parameters
    ----------
    paths
        At least two ``report.json``, or their folders.

    Raises
    ------
    DocumentError
        If a report is missing or can't be read, or if it was written by another version of overfly.
    ComparisonError
        If there are fewer than two, or if they differ in the bundles, the images or the labels.
    """
    if len(paths) < _MIN_REPORTS:
        raise ComparisonError(f"found {len(paths)} report, expected at least {_MIN_REPORTS}: add another report")
    reports = [read_report(path) for path in paths]
    for path, report in zip(paths[1:], reports[1:], strict=True):
        _check_same(paths[0], reports[0], path, report)
    # The folders of the bundles may have other names on the other machine: those of the first report that has a row.
    names: dict[_RowKey, str] = {}
    for report in reports:
        for row in report.rows:
            names.setdefault(_key(report, row), row.name)
    first = reports[0]
    return Comparison(
        manifest_sha256=tuple(bundle.manifest_sha256 for bundle in first.bundles),
        images_sha256=first.images.sha256,
        n_images=len(first.images.names),
        reports=tuple(
            ReportSource(
                path=str(path),
                host=report.environment.host,
                cpu=report.environment.cpu,
                timestamp=report.environment.timestamp,
                valid=report.validity.valid,
            )
            for path, report in zip(paths, reports, strict=True)
        ),
        lines=tuple(Line(name, tuple(_entry(key, report, first) for report in reports)) for key, name in names.items()),
    )


def _check_same(first_path: Path, first: Report, path: Path, report: Report) -> None:
    """Check that a report is of the same bundles, images and labels as the first one."""
    found, expected = (sorted(bundle.manifest_sha256 for bundle in of.bundles) for of in (report, first))
    if found != expected:
        hashes = (", ".join(sha256[:_N_HASH_DIGITS] for sha256 in of) for of in (found, expected))
        raise ComparisonError(
            f"{path} is of another bundle than {first_path} (manifest {next(hashes)}, expected {next(hashes)}): "
            "copy the bundle to both machines and bench it on each"
        )
    if first.images.sha256 != report.images.sha256:
        raise ComparisonError(
            f"{path} is of other images than {first_path} ({_images(report)}, expected {_images(first)}): "
            "bench both on the same data with the same --quick and --images"
        )
    if sorted(first.images.truth) != sorted(report.images.truth):
        raise ComparisonError(
            f"{path} has other labels than {first_path} for the same images (the numbers of images per class differ): "
            "bench both on the same data, with each image in the same class folder"
        )


def _images(report: Report) -> str:
    """Say which images a report is of."""
    return f"{len(report.images.names)} images with SHA-256 {report.images.sha256[:_N_HASH_DIGITS]}"


def _key(report: Report, row: Row) -> _RowKey:
    """Return what the same row has in common in all reports: its bundle, by the manifest, and what was measured."""
    spec, manifest_sha256 = row.spec, report.bundles[report.bundle_of(row)].manifest_sha256
    return manifest_sha256, spec.backend, spec.variant, spec.configuration, row.execution.device


def _entry(key: _RowKey, report: Report, first: Report) -> Entry | None:
    """Return the figures of a row in a report, compared with the first report."""
    row, reference = (next((row for row in of.rows if _key(of, row) == key), None) for of in (report, first))
    if row is None or row.quality is None or row.speed is None or row.measurements is None:
        return None
    entry = Entry(
        execution_precision=row.execution.execution_precision,
        accuracy=row.quality.accuracy.value,
        nll=row.quality.nll.value,
        brier=row.quality.brier.value,
        ece=row.quality.ece.value,
        latency_p50_ms=row.speed.latency_ms.p50,
        file_latency_p50_ms=row.speed.file_latency_ms.p50,
        throughput_ips=row.speed.throughput_ips,
    )
    if report is first or reference is None or reference.measurements is None:
        return entry
    here, there = row.measurements.counted, reference.measurements.counted
    same_order = report.images.names == first.images.names
    return replace(
        entry,
        latency_speedup=_ratio(medians_ms(there.latency_rounds_ms), medians_ms(here.latency_rounds_ms)),
        throughput_speedup=_ratio(rates_ips(here.throughput_rounds), rates_ips(there.throughput_rounds)),
        n_changed=sum(map(operator.ne, here.predictions, there.predictions)) if same_order else None,
    )


def _ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Return the ratio of two centers, with an interval from the intervals of both: the rounds are not paired."""
    (above, above_ends), (below, below_ends) = center(np.log(numerators)), center(np.log(denominators))
    if above_ends is None or below_ends is None:
        return Ratio(math.exp(above - below), None)
    low, high = above_ends[0] - below_ends[1], above_ends[1] - below_ends[0]
    return Ratio(math.exp(above - below), (math.exp(low), math.exp(high)))
