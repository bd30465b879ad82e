"""The report in its shapes, each a pure function of report.json: golden files, its schema, and what makes no sense."""

import io
import json
import re
from dataclasses import asdict, replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from overfly.benchmarks.job import write_report
from overfly.benchmarks.rendering.charts import scatter
from overfly.benchmarks.rendering.formatting import p_value
from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.rendering.markdown import report_markdown
from overfly.benchmarks.rendering.terminal import print_report
from overfly.benchmarks.results.json_schema import report_schema
from overfly.benchmarks.results.records import Measurements, Probe, ThroughputSample
from overfly.benchmarks.results.rows import Identity, compare_rows, make_row
from overfly.benchmarks.results.store import REPORT_SCHEMA, read_report
from overfly.runtime.documents import dump_document
from overfly.runtime.errors import DocumentError

PUBLISHED = Path(__file__).parents[3] / "docs" / "report.schema.json"


def table_of(report):
    out = io.StringIO()
    print_report(report, Console(width=80, file=out))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def test_the_table_is_the_golden_one(report, golden):
    table = table_of(report)
    assert table == golden("table.txt", table)
    assert max(map(len, table.splitlines())) <= 80


def test_the_markdown_is_the_golden_one(report, golden):
    markdown = report_markdown(report)
    assert markdown == golden("report.md", markdown)


def numbers(value):
    """Return JSON with its floats rounded: the last digits of a sum depend on numpy's version."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, list):
        return [numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    return value


def test_the_json_is_the_golden_one(report, golden):
    # The samples are long, and every figure follows from them: they are held by a few of each row.
    content = json.loads(dump_document(report, schema=REPORT_SCHEMA))
    for raw in content["raw"]:
        for key in ("latency_rounds_ms", "file_latency_rounds_ms"):
            raw[key] = [samples[:5] for samples in raw[key]]
    text = json.dumps(numbers(content), indent=1) + "\n"
    assert json.loads(text) == json.loads(golden("report.json", text))


def test_its_figures_are_those_of_the_fakes(report):
    base, _, fp32, broken, int8 = report.rows
    assert [report.baseline, report.compared_row] == [0, 4]
    assert base.latency_ms.p50 == 40.0
    assert base.file_latency_ms.p50 == 43.0
    assert base.throughput_ips == pytest.approx(40)
    assert (base.accuracy, fp32.delta_images, fp32.agreement) == (pytest.approx(59 / 60), 0, 1.0)
    assert int8.latency_speedup.value == pytest.approx(16)
    assert int8.throughput_speedup.value == pytest.approx(20)
    assert int8.file_latency_ms.p50 == pytest.approx(5.5)
    # The four that int8 alone gets wrong: p is 2 * (1/2)**4.
    assert (int8.delta_images, int8.mcnemar_p) == (-4, 0.125)
    assert int8.latency_ms.n == 1020
    assert int8.latency_ms.p99 == pytest.approx(2.55)
    assert (broken.status, broken.accuracy) == ("GPU can't compile the fp16 variant", None)
    assert report.verdict.valid
    assert report.answer.sentence.startswith("Deploy int8 on CPU: 2.5 ms (p50, 16.0 times as fast as PyTorch fp32)")


def test_it_comes_back_from_json_as_it_was(report, tmp_path):
    write_report(tmp_path, report)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md", "report.html"}
    assert read_report(tmp_path) == report
    text = (tmp_path / "report.json").read_text()
    (tmp_path / "report.json").write_text(text.replace('"quick"', '"quack"'))
    with pytest.raises(DocumentError, match="unknown key 'quack'"):
        read_report(tmp_path)
    (tmp_path / "report.json").write_text(text.replace(REPORT_SCHEMA, "overfly.report/1"))
    with pytest.raises(
        DocumentError, match=r"has schema 'overfly.report/1', expected 'overfly.report/2'.*another version"
    ):
        read_report(tmp_path)


def test_the_published_schema_is_that_of_the_dataclasses_and_takes_the_report(report):
    schema = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert schema == report_schema(), "python -m overfly.benchmarks.results.json_schema > docs/report.schema.json"
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    content = json.loads(dump_document(report, schema=REPORT_SCHEMA))
    validator.validate(content)
    for change in ({"schema": "overfly.report/1"}, {"extra": 1}, {"quick": "no"}, {"baseline": 0.5}):
        assert not validator.is_valid({**content, **change}), change
    del content["rows"][0]["kappa"]
    assert not validator.is_valid(content)


def test_parts_that_do_not_fit_together_are_refused(report):
    with pytest.raises(ValueError, match="not of the same length"):
        replace(report, raw=report.raw[:1])
    with pytest.raises(ValueError, match="is no row"):
        replace(report, baseline=7)
    for change in ({"predictions": ()}, {"latency_rounds_ms": ()}, {"file_latency_rounds_ms": ((1.0,), ())}):
        with pytest.raises(ValueError, match="the row OpenVINO int8 CPU lacks some of what was measured of it"):
            replace(report, raw=(*report.raw[:4], replace(report.raw[4], **change)))
    with pytest.raises(ValueError, match="the backend is 'tvm'"):
        replace(report.rows[0], backend="tvm")


MILLISECONDS = st.floats(0.01, 1e3)
SECONDS = st.floats(1e-3, 10)


@st.composite
def measurements(draw):
    """Draw a truth and what two rows measured in the same rounds."""
    truth = draw(st.lists(st.integers(0, 2), min_size=1, max_size=30))
    n_rounds = draw(st.integers(1, 4))

    def rounds(of):
        return tuple(draw(st.lists(of, min_size=n_rounds, max_size=n_rounds)))

    def raw():
        samples = st.lists(MILLISECONDS, min_size=1, max_size=8).map(tuple)
        stretch = st.builds(ThroughputSample, st.integers(1, 500), SECONDS)
        predictions = draw(st.lists(st.integers(0, 2), min_size=len(truth), max_size=len(truth)))
        return Measurements(tuple(predictions), rounds(samples), rounds(stretch), rounds(samples), rounds(stretch))

    return truth, raw(), raw()


def quantile(samples, share):
    """The definition: linear between the ordered samples."""
    ordered = sorted(samples)
    position = share * (len(ordered) - 1)
    low = int(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)


@settings(deadline=None)
@given(measurements())
def test_every_figure_can_be_computed_again_from_the_raw_samples(drawn):
    truth, base_raw, raw = drawn
    identity = Identity("openvino", "int8", "", "CPU", "a CPU", "auto", 1, "f32", 2)
    pair = [make_row(identity, r, np.array(truth), n_classes=3, probe=Probe()) for r in (base_raw, raw)]
    _, row = compare_rows(pair, [base_raw, raw], np.array(truth), 0)
    n = len(truth)
    for latency, rounds in ((row.latency_ms, raw.latency_rounds_ms), (row.file_latency_ms, raw.file_latency_rounds_ms)):
        samples = [sample for part in rounds for sample in part]
        mean = sum(samples) / len(samples)
        assert (latency.n, latency.p99) == (len(samples), None)
        assert latency.p50 == pytest.approx(quantile(samples, 0.5))
        assert latency.p90 == pytest.approx(quantile(samples, 0.9))
        assert latency.mean == pytest.approx(mean)
        if len(samples) > 1:
            variance = sum((s - mean) ** 2 for s in samples) / (len(samples) - 1)
            assert latency.std == pytest.approx(variance**0.5, abs=1e-9)
    for rate, stretches in (
        (row.throughput_ips, raw.throughput_rounds),
        (row.file_throughput_ips, raw.file_throughput_rounds),
    ):
        assert rate == pytest.approx(sum(s.n_images for s in stretches) / sum(s.seconds for s in stretches))
    ratios = [
        quantile(b, 0.5) / quantile(a, 0.5)
        for a, b in zip(raw.latency_rounds_ms, base_raw.latency_rounds_ms, strict=True)
    ]
    speedup = row.latency_speedup
    assert (speedup.value, speedup.low, speedup.high) == pytest.approx(
        (quantile(ratios, 0.5), min(ratios), max(ratios))
    )
    right = [p == t for p, t in zip(raw.predictions, truth, strict=True)]
    base_right = [p == t for p, t in zip(base_raw.predictions, truth, strict=True)]
    assert row.accuracy == pytest.approx(sum(right) / n)
    assert row.delta_images == sum(right) - sum(base_right)
    assert row.delta_accuracy_pp == pytest.approx(100 * row.delta_images / n)
    assert row.agreement == pytest.approx(
        sum(a == b for a, b in zip(raw.predictions, base_raw.predictions, strict=True)) / n
    )
    low, high = row.accuracy_ci95
    assert 0 <= low <= row.accuracy + 1 / n
    assert row.accuracy - 1 / n <= high <= 1


def test_markdown_and_html_say_the_same(report):
    for text in (report_markdown(report), report_html(report)):
        for figure in ("VALID", "91.7%", "2.50", "can't compile", "16.0", "5.50", "its own choice"):
            assert figure in text.replace("&#39;", "'"), figure


def test_the_page_asks_nobody_for_anything_and_escapes_what_it_shows(report):
    page = report_html(report)
    assert not re.findall(r"(?:https?:)?//[a-z0-9]", page.replace("http://www.w3.org/2000/svg", ""))
    assert "<script" not in page
    assert "forest <b>" not in page
    assert "forest &lt;b&gt;" in page
    assert "storage &amp; tanks" in page


def test_the_page_shows_every_part(report):
    page = report_html(report)
    for heading in ("What to deploy", "Results", "Accuracy against latency", "Latency of single images", "F1 by class"):
        assert heading in page
    # The four images that int8 takes for something else, with both answers.
    assert "Images with two answers: 4" in page
    assert page.count("<svg") >= 2


def test_records_hold_only_what_json_has(report):
    json.dumps(asdict(report), allow_nan=False)


def test_rows_that_are_all_right_have_a_chart_too(report):
    # Their intervals have no width, and so the chart would have no height.
    rows = tuple(replace(row, accuracy=1.0, accuracy_ci95=(1.0, 1.0)) if row.accuracy else row for row in report.rows)
    perfect = replace(report, rows=rows)
    chart = scatter(perfect)
    assert [point.y for point in chart.points] == [14.0] * 4
    assert [tick.text for tick in chart.y_ticks] == ["99.5%", "100%"]
    assert "100.0% (100.0 to 100.0%) at 2.50 ms" in report_html(perfect)


def test_a_file_whose_name_is_not_utf_8_is_shown_by_its_number(report, tmp_path):
    # Image 7 is one of those with two answers, which the page lists.
    names = (*report.images.names[:7], "forest/\udcff.jpg", *report.images.names[8:])
    odd = replace(report, images=replace(report.images, names=names))
    write_report(tmp_path, odd)
    assert read_report(tmp_path) == odd
    for name in ("report.md", "report.html"):
        assert "udcff.jpg" in (tmp_path / name).read_text(encoding="utf-8"), name


def test_a_tiny_p_is_not_written_as_zero():
    assert [p_value(p) for p in (None, 0.0, 0.00099, 0.001, 1.0)] == ["-", "<0.001", "<0.001", "0.001", "1.000"]
