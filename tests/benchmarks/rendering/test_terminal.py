"""The report as a table for a terminal."""

from dataclasses import replace

from overfly.benchmarks.rendering import formatting
from overfly.benchmarks.rendering.terminal import print_report, report_table
from overfly.benchmarks.results.records import Reason


def names_of(report):
    return [str(cell) for cell in report_table(report).columns[0].cells]


def test_the_table_that_is_printed_is_the_golden_one(report, golden, printed_by):
    table = printed_by(print_report, report)
    assert table == golden("table.txt", table)


def test_the_names_have_the_device_only_if_there_are_several(report, nothing_recommended):
    assert names_of(report) == [row.name for row in report.rows]
    on_cpu = replace(report, rows=(*report.rows[:3], report.rows[4]), recommendation=nothing_recommended)
    assert names_of(on_cpu) == ["PyTorch fp32", "ONNX Runtime fp32", "OpenVINO fp32", "OpenVINO int8"]
    assert str(report_table(on_cpu).title) == "mobilenet_v2 on CPU (Some CPU)"


def test_a_row_that_failed_is_dim_and_its_reason_is_in_the_caption(report):
    table = report_table(report)
    assert [row.style for row in table.rows] == [None, None, None, "dim", None]
    (failure,) = formatting.failures(report)
    assert failure in str(table.caption).splitlines()


def test_the_reasons_of_an_invalid_report_come_first(report):
    reasons = (Reason("no mains", "plug it in"),)
    invalid = replace(report, validity=replace(report.validity, valid=False, reasons=reasons))
    lines = str(report_table(invalid).caption).splitlines()
    assert lines[0].startswith("INVALID for 1 reason")
    assert lines[1] == "  failed: no mains; plug it in"
    assert lines[2] == f"  passed: {report.validity.passed[0]}"
    assert any(line.startswith("Provisional: ") for line in lines)


def test_the_table_of_several_bundles_is_the_golden_one(several, golden, printed_by):
    table = printed_by(print_report, several)
    assert table == golden("several.txt", table)
