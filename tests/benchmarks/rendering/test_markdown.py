"""The report as Markdown."""

from dataclasses import replace

import pytest

from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.rendering.markdown import escape, report_markdown
from overfly.benchmarks.results.records import Reason


def headings_of(markdown):
    return [line.removeprefix("## ") for line in markdown.splitlines() if line.startswith("## ")]


def test_the_markdown_is_the_golden_one(report, golden):
    markdown = report_markdown(report)
    assert markdown == golden("report.md", markdown)


def test_markdown_and_html_say_the_same(report):
    for text in (report_markdown(report), report_html(report)):
        for figure in ("VALID", "91.7", "2.50", "can't compile", "16.0", "5.50", "16.0x (16.0 to 16.0)"):
            assert figure in text.replace("&#39;", "'"), figure


def test_the_reasons_of_an_invalid_report_are_a_list(report):
    reasons = (Reason("no mains", "plug it in"), Reason("a core was busy", "close programs"))
    invalid = replace(report, validity=replace(report.validity, valid=False, reasons=reasons))
    lines = report_markdown(invalid).splitlines()
    assert "- failed: no mains; plug it in" in lines
    assert "- failed: a core was busy; close programs" in lines
    assert any(line.startswith("**Provisional: ") for line in lines)


def test_only_the_first_40_images_that_are_classified_differently_are_listed(report):
    baseline, row = report.rows[0].measurements, report.rows[4]
    others = tuple((p + 1) % 3 if i < 43 else p for i, p in enumerate(baseline.predictions))
    row = replace(row, measurements=replace(row.measurements, predictions=others))
    lines = report_markdown(replace(report, rows=(*report.rows[:4], row))).splitlines()
    assert (
        sum(line.startswith("| ") and line.rstrip(" |").endswith(("lost", "gained", "neither")) for line in lines) == 40
    )
    assert "... and 3 more in report.json." in lines


def test_if_all_images_are_classified_alike_none_is_listed(report):
    same = replace(report.rows[4], measurements=report.rows[0].measurements)
    lines = report_markdown(replace(report, rows=(*report.rows[:4], same))).splitlines()
    heading = lines.index("## Images classified differently by PyTorch fp32 and OpenVINO int8 CPU")
    assert lines[heading + 2] == "None."


@pytest.mark.parametrize("n_rows", [0, 1])
def test_without_a_row_that_worked_there_are_no_classes(report, nothing_recommended, n_rows):
    rows = report.rows[3:4][:n_rows]
    failed = replace(report, rows=rows, baseline=None, recommendation=nothing_recommended)
    markdown = report_markdown(failed)
    assert headings_of(markdown) == ["Results", *["Details"] * n_rows, "Machine", "Method"]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("forest <b>", "forest &#60;b&#62;"),
        ("storage & tanks | #1", "storage &#38; tanks &#124; \\#1"),
        ("a_b*c`d[e]~f\\g", "a\\_b\\*c\\`d\\[e\\]\\~f\\\\g"),
        ("two\nlines  here", "two lines here"),
    ],
)
def test_no_markup_is_seen_in_an_escaped_text(text, escaped):
    assert escape(text) == escaped


def test_each_of_several_bundles_has_its_own_details(several):
    markdown = report_markdown(several)
    lines = markdown.splitlines()
    assert lines[:3] == [
        "# small, large: benchmark report",
        "",
        "small: mobilenet\\_v2 at 64 x 64, large: mobilenet\\_v2 at 128 x 128",
    ]
    images = several.images
    baseline = "Baseline: large PyTorch fp32, the most accurate bundle in fp32."
    assert f"{baseline} Evaluated: {images.n_available} images ({images.source})." in lines
    assert headings_of(markdown)[:3] == ["Results", "Details of small", "Details of large"]
    heads = lines[lines.index("## Details of large") + 2]
    assert heads == "|  | large PyTorch fp32 | large OpenVINO fp32 CPU | large OpenVINO int8 CPU |"
