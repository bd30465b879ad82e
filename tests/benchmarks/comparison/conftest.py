"""Reports of two machines, in folders."""

from dataclasses import replace

import pytest

from overfly.benchmarks.job import write_report
from overfly.benchmarks.results.row_records import ThroughputSample


def _slower(row, times):
    """Return the row of a machine that is `times` as slow, and classifies image 0 differently."""
    if row.speed is None:
        return row
    measured, latency = row.measurements, row.speed.latency_ms
    measurements = replace(
        measured,
        predictions=(1, *measured.predictions[1:]),
        latency_rounds_ms=tuple(tuple(ms * times for ms in samples) for samples in measured.latency_rounds_ms),
        throughput_rounds=tuple(ThroughputSample(s.n_images, s.seconds * times) for s in measured.throughput_rounds),
    )
    speed = replace(
        row.speed,
        latency_ms=replace(latency, p50=latency.p50 * times),
        throughput_ips=row.speed.throughput_ips / times,
    )
    return replace(row, speed=speed, measurements=measurements)


@pytest.fixture
def box(report, nothing_recommended):
    """Return the report of a machine that is half as fast, and has no ONNX Runtime."""
    machine = replace(report.environment, host="edge", cpu="Small CPU")
    rows = tuple(_slower(report.rows[i], 2.0) for i in (0, 2, 3, 4))
    return replace(report, environment=machine, rows=rows, recommendation=nothing_recommended)


@pytest.fixture
def saved(tmp_path):
    """A function that writes reports into folders of their own and returns them."""

    def call(*reports):
        folders = [tmp_path / f"report{i}" for i in range(len(reports))]
        for folder, report in zip(folders, reports, strict=True):
            folder.mkdir()
            write_report(folder, report)
        return folders

    return call
