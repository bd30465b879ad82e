"""Reports side by side: the same bundle, judged on the same images, on several machines or at several times."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import Measurements, Ratio, Row
from overfly.benchmarks.results.rows import medians_ms, rates_ips
from overfly.benchmarks.results.store import read_report
from overfly.runtime.errors import ComparisonError

COMPARISON_SCHEMA = "overfly.comparison/1"

_MIN_REPORTS = 2
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Source:
    """One of the reports: where it was read from, the machine, when, and whether it calls itself VALID."""

    path: str
    host: str
    cpu: str
    timestamp: str
    valid: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """A row as one report has it; None is what that report did not establish.

    Attributes
    ----------
    latency_p50_ms, file_latency_p50_ms, throughput_ips
        Of the model alone, from file to label, and of the model alone with many images.
    latency_speedup, throughput_speedup
        How many times as fast as in the first report. The rounds of two reports are not pairs: the
        range is from the worst round here by the best there to the best here by the worst there.
    n_changed
        Images with another answer than in the first report.
    """

    execution_precision: str | None
    accuracy: float | None
    latency_p50_ms: float | None
    file_latency_p50_ms: float | None
    throughput_ips: float | None
    latency_speedup: Ratio | None
    throughput_speedup: Ratio | None
    n_changed: int | None


@dataclass(frozen=True, slots=True)
class Line:
    """A row, and what each report says of it, in their order; None where a report has no such row that worked."""

    name: str
    entries: tuple[Entry | None, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """What ``overfly compare --json`` prints."""

    manifest_sha256: str
    images_sha256: str
    n_images: int
    reports: tuple[Source, ...]
    lines: tuple[Line, ...]


def compare(paths: Sequence[Path]) -> Comparison:
    """Read reports and put them side by side.

    Parameters
    ----------
    paths
        At least two ``report.json``, or the folders that hold them.

    Raises
    ------
    DocumentError
        When one is missing, not valid, or of another version of overfly.
    ComparisonError
        When there are fewer than two, or they are not of the same bundle, images and labels.
    """
    if len(paths) < _MIN_REPORTS:
        raise ComparisonError(f"found {len(paths)} report, expected at least two: name another one")
    reports = [read_report(path) for path in paths]
    for path, report in zip(paths[1:], reports[1:], strict=True):
        _refuse_other(paths[0], reports[0], path, report)
    names = list(dict.fromkeys(row.name for report in reports for row in report.rows))
    first = reports[0]
    return Comparison(
        manifest_sha256=first.bundle.manifest_sha256,
        images_sha256=first.images.sha256,
        n_images=len(first.images.names),
        reports=tuple(_source(path, report) for path, report in zip(paths, reports, strict=True)),
        lines=tuple(Line(name, tuple(_entry(name, report, first) for report in reports)) for name in names),
    )


def _refuse_other(first_path: Path, first: Report, path: Path, report: Report) -> None:
    """Refuse a report that is not of the first one's bundle and images."""
    ours, theirs = first.bundle, report.bundle
    if ours.manifest_sha256 != theirs.manifest_sha256:
        raise ComparisonError(
            f"{path} is of another bundle than {first_path} (manifest {theirs.manifest_sha256[:_SHOWN]}, expected "
            f"{ours.manifest_sha256[:_SHOWN]}): copy the same bundle to both machines, and bench it there"
        )
    if first.images.sha256 != report.images.sha256:
        raise ComparisonError(
            f"{path} judged other images than {first_path} ({_images(report)}, expected {_images(first)}): "
            "bench both on the same data, and both with or without --quick and --images"
        )
    if sorted(first.images.truth) != sorted(report.images.truth):
        raise ComparisonError(
            f"{path} judged the images of {first_path} by other labels (they have other numbers of images of a class): "
            "bench both on the same data, with each picture in the same class folder"
        )


def _images(report: Report) -> str:
    """Say which images a report judged."""
    return f"{len(report.images.names)} with contents {report.images.sha256[:_SHOWN]}"


def _source(path: Path, report: Report) -> Source:
    """Return the record of a report."""
    machine = report.environment
    return Source(str(path), machine.host, machine.cpu, machine.timestamp, report.validity.valid)


def _entry(name: str, report: Report, first: Report) -> Entry | None:
    """Return what a report says of the row with this name, beside what the first one says."""
    row, reference_row = _find(name, report), _find(name, first)
    if row is None or row.speed is None or row.measurements is None:
        return None
    measured = row.measurements
    reference = reference_row.measurements if reference_row else None
    latency_speedup = throughput_speedup = n_changed = None
    if reference is not None and report is not first:
        latency_speedup = _ratio(medians_ms(reference.latency_rounds_ms), medians_ms(measured.latency_rounds_ms))
        throughput_speedup = _ratio(rates_ips(measured.throughput_rounds), rates_ips(reference.throughput_rounds))
        # Where the reports list the images in another order, the predictions can't be compared.
        n_changed = _n_changed(reference, measured) if first.images.names == report.images.names else None
    return Entry(
        execution_precision=row.execution.execution_precision,
        accuracy=row.quality.accuracy.value if row.quality else None,
        latency_p50_ms=row.p50_ms,
        file_latency_p50_ms=row.speed.file_latency_ms.p50,
        throughput_ips=row.speed.throughput_ips,
        latency_speedup=latency_speedup,
        throughput_speedup=throughput_speedup,
        n_changed=n_changed,
    )


def _find(name: str, report: Report) -> Row | None:
    """Return the row with this name."""
    return next((row for row in report.rows if row.name == name), None)


def _ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Return the ratio of two medians over rounds that are no pairs, and the furthest that any two rounds give."""
    return Ratio(
        float(np.median(numerators) / np.median(denominators)),
        min(numerators) / max(denominators),
        max(numerators) / min(denominators),
    )


def _n_changed(first: Measurements, second: Measurements) -> int:
    """Count the images with another predicted class."""
    return sum(a != b for a, b in zip(first.predictions, second.predictions, strict=True))
