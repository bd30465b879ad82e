"""The report in its four shapes, each a pure function of report.json."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from overfly.benchmarks.answer import choose
from overfly.benchmarks.html import report_html
from overfly.benchmarks.markdown import report_markdown
from overfly.benchmarks.probe import Probe
from overfly.benchmarks.report import (
    TEST_PART,
    BundleFacts,
    Environment,
    Judged,
    Raw,
    Reason,
    Report,
    Stretch,
    Verdict,
    read_report,
    write_report,
)
from overfly.benchmarks.rows import Identity, compare_rows, make_row
from overfly.benchmarks.table import report_table
from overfly.runtime.errors import DocumentError

CLASSES = ("beach", "forest <b>", "storage & tanks")
TRUTH = (0, 1, 2, 0, 1, 2)


def _row(backend, variant, predictions, ms):
    raw = Raw(predictions, ((ms,) * 500, (ms,) * 500), (Stretch(2000, ms),))
    identity = Identity(backend, variant, "CPU", "Some CPU", "f32", "f32", 2 << 20)
    return make_row(identity, raw, np.array(TRUTH), n_classes=3, probe=Probe()), raw


@pytest.fixture
def report():
    """Return a report with a baseline, an int8 row that takes image 1 for a beach, and a row that failed."""
    pairs = [_row("pytorch", "fp32", TRUTH, 50.0), _row("openvino", "int8", (0, 0, 2, 0, 1, 2), 2.5)]
    failed = make_row(
        Identity("openvino", "fp16", "GPU", "Some GPU", "auto", None, 1 << 20),
        Raw((), (), ()),
        np.array(TRUTH),
        n_classes=3,
        probe=Probe(),
        status="GPU can't compile the fp16 variant",
    )
    rows, raws = [row for row, _ in pairs] + [failed], [raw for _, raw in pairs] + [Raw((), (), ())]
    rows = compare_rows(rows, raws, np.array(TRUTH), 0)
    return Report(
        verdict=Verdict(False, (Reason("the machine ran on battery", "plug it in"),)),
        answer=choose(rows, 0, None),
        overfly="0.1.0",
        quick=False,
        bundle=BundleFacts("bundle", "f" * 64, "mobilenet_v2", 64),
        environment=Environment("Linux", "Some CPU", 2, 1 << 34, None, 0.0, {"python": "3.11"}, "2026-01-01T00:00"),
        classes=CLASSES,
        baseline=0,
        rows=tuple(rows),
        images=Judged(TEST_PART, tuple(f"{CLASSES[t]}/{i}.jpg" for i, t in enumerate(TRUTH)), TRUTH, "0" * 64),
        raw=tuple(raws),
    )


def test_it_comes_back_from_json_as_it_was(report, tmp_path):
    write_report(tmp_path, report)
    assert {path.name for path in tmp_path.iterdir()} == {"report.json", "report.md", "report.html"}
    assert read_report(tmp_path) == report
    text = (tmp_path / "report.json").read_text()
    (tmp_path / "report.json").write_text(text.replace('"quick"', '"quack"'))
    with pytest.raises(DocumentError, match="unknown key 'quack'"):
        read_report(tmp_path)


def test_parts_that_do_not_fit_together_are_refused(report):
    with pytest.raises(ValueError, match="not of the same length"):
        replace(report, raw=report.raw[:1])
    with pytest.raises(ValueError, match="is no row"):
        replace(report, baseline=7)


def test_the_table_shows_each_row_and_the_verdict(report):
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(report_table(report))
    text = console.export_text()
    lines = [line.split() for line in text.splitlines()]
    assert ["PyTorch", "fp32", "f32", "100.0%", "-", "1.000", "1.000", "50.0", "-", "40.0", "2.0"] in lines
    int8 = next(line for line in lines if line[:2] == ["OpenVINO", "int8"])
    assert int8[3:7] == ["f32", "83.3%", "-1", "~"]
    assert int8[9:] == ["2.50", "20.0x", "800", "2.0"]
    assert "INVALID" in text
    assert "the machine ran on battery; plug it in" in text
    assert "failed: GPU can't compile the fp16 variant" in text


def test_markdown_and_html_say_the_same(report):
    for text in (report_markdown(report), report_html(report)):
        for figure in ("INVALID", "plug it in", "83.3%", "2.50", "can't compile", "20.0"):
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
    # The one image that int8 takes for something else, with both answers.
    assert "Images with two answers: 1" in page
    assert page.count("<svg") >= 2
