"""Reports side by side, and what may not stand there."""

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from overfly.benchmarks.comparison.compare import compare
from overfly.benchmarks.comparison.table import comparison_table
from overfly.benchmarks.job import write_report
from overfly.benchmarks.results.row_records import Ratio, ThroughputSample
from overfly.cli import run
from overfly.runtime.errors import ComparisonError, DocumentError


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
def box(report):
    """Return the report of a machine that is half as fast, and has no ONNX Runtime."""
    machine = replace(report.environment, host="edge", cpu="Small CPU")
    return replace(report, environment=machine, rows=tuple(_slower(report.rows[i], 2.0) for i in (0, 2, 3, 4)))


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


def test_each_row_stands_beside_its_like(report, box, saved):
    comparison = compare(saved(report, box))
    assert [source.host for source in comparison.reports] == ["box", "edge"]
    lines = {line.name: line.entries for line in comparison.lines}
    assert list(lines) == [row.name for row in report.rows]
    assert lines["ONNX Runtime fp32"][1] is None
    assert lines["OpenVINO fp16 GPU"] == (None, None)
    here, there = lines["OpenVINO int8 CPU"]
    assert (here.latency_p50_ms, here.latency_speedup, here.n_changed) == (2.5, None, None)
    assert there.latency_speedup == Ratio(pytest.approx(0.5), pytest.approx(0.5), pytest.approx(0.5))
    assert there.throughput_speedup.value == pytest.approx(0.5)
    assert there.n_changed == 1


def test_the_range_of_a_ratio_is_as_wide_as_any_two_rounds_make_it(report, saved):
    def with_latencies(*rounds_ms):
        measurements = replace(report.rows[4].measurements, latency_rounds_ms=tuple((ms,) for ms in rounds_ms))
        return replace(report, rows=(*report.rows[:4], replace(report.rows[4], measurements=measurements)))

    comparison = compare(saved(with_latencies(2.0, 2.5, 3.0), with_latencies(2.0, 2.0, 4.0)))
    ratio = comparison.lines[4].entries[1].latency_speedup
    assert ratio == Ratio(1.25, 0.5, 1.5)
    assert not ratio.is_significant


def test_the_table_is_the_golden_one(report, box, saved, golden, monkeypatch, tmp_path):
    saved(report, box)
    monkeypatch.chdir(tmp_path)
    out = io.StringIO()
    Console(width=80, file=out).print(comparison_table(compare([Path("report0"), Path("report1")])))
    text = "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"
    assert text == golden("comparison.txt", text)


def test_what_is_not_comparable_is_refused_with_the_reason(report, saved):
    other_bundle = replace(report, bundle=replace(report.bundle, manifest_sha256="1" * 64))
    other_images = replace(report, images=replace(report.images, sha256="2" * 64))
    truth = (1, *report.images.truth[1:])
    other_labels = replace(report, images=replace(report.images, truth=truth))
    a, b, c, d = saved(report, other_bundle, other_images, other_labels)
    with pytest.raises(ComparisonError, match=r"report1 .*report0 .*111111111111"):
        compare([a, b])
    with pytest.raises(ComparisonError, match=r"report2 .*60 images .*222222222222"):
        compare([a, a, c])
    with pytest.raises(ComparisonError, match=r"report3 .*labels .*report0"):
        compare([a, d])
    with pytest.raises(ComparisonError, match="found 1 report, expected at least 2"):
        compare([a])
    path = b / "report.json"
    path.write_text(path.read_text().replace("overfly.report/3", "overfly.report/9"))
    with pytest.raises(DocumentError, match=r"schema 'overfly\.report/9'"):
        compare([a, b])


def test_the_command_prints_json_or_exits_with_1(report, box, saved, capsys):
    a, b = map(str, saved(report, box))
    assert run(["compare", a, f"{b}/report.json", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["schema"] == "overfly.comparison/1"
    assert content["lines"][4]["entries"][1]["n_changed"] == 1
    assert run(["compare", a, f"{b}-not-there"]) == 1
    assert "is missing" in capsys.readouterr().err
    assert run(["compare", a]) == 1
    assert capsys.readouterr().err.startswith("overfly: found 1 report")
