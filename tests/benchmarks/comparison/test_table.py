"""A comparison as a table for a terminal."""

from dataclasses import replace
from pathlib import Path

import pytest

from overfly.benchmarks.comparison.compare import Comparison, Entry, Line, ReportSource, compare
from overfly.benchmarks.comparison.table import comparison_table, print_comparison
from overfly.benchmarks.results.row_records import Ratio

SOURCE = ReportSource(path="here", host="box", cpu="Some CPU", timestamp="2026-01-02T03:04:05+00:00", valid=True)
HERE = Entry("f32", 0.9167, 0.3, 0.2, 0.1, 2.5, 5.5, 800.4)


def comparison_of(*lines, n_reports=2):
    return Comparison(("0" * 64,), "1" * 64, 60, (SOURCE,) * n_reports, lines)


def cells_of(comparison):
    """Return the texts of the table's lines."""
    columns = [list(column.cells) for column in comparison_table(comparison).columns]
    return [[str(cell) for cell in line] for line in zip(*columns, strict=True)]


@pytest.fixture
def two_reports(report, box, saved, monkeypatch, tmp_path):
    """The comparison of two reports, named by relative paths."""
    saved(report, box)
    monkeypatch.chdir(tmp_path)
    return compare([Path("report0"), Path("report1")])


def test_the_table_that_is_printed_is_the_golden_one(two_reports, golden, printed_by):
    table = printed_by(print_comparison, two_reports)
    assert table == golden("comparison.txt", table)


def test_the_first_report_has_three_columns_and_each_other_report_six():
    for n_reports in (2, 3):
        table = comparison_table(comparison_of(n_reports=n_reports))
        heads = [str(column.header).split() for column in table.columns]
        others = [["%"], ["other", "labels"], ["ms"], ["speed"], ["img/s"], ["speed"]]
        expected = [["model"], ["[1]", "%"], ["ms"], ["img/s"]]
        for number in range(2, n_reports + 1):
            expected += [[f"[{number}]", "%"], *others[1:]]
        assert heads == expected


def test_a_ratio_that_is_not_significant_has_a_mark():
    there = replace(
        HERE,
        latency_p50_ms=123.4,
        throughput_ips=99.94,
        latency_speedup=Ratio(1.26, (0.9, 1.5)),
        throughput_speedup=Ratio(14.16, (13.9, 14.4)),
        n_changed=3,
    )
    (line,) = cells_of(comparison_of(Line("OpenVINO int8 CPU", (HERE, there))))
    assert line == [
        "OpenVINO int8 CPU",
        *("91.7", "2.50", "800"),
        *("91.7", "3", "123", "1.3x ~", "99.9", "14.2x"),
    ]


def test_what_is_missing_is_a_dash():
    new = Entry(None, None, 0.3, 0.2, 0.1, 2.5, 5.5, 800.4)
    lines = cells_of(comparison_of(Line("failed here", (None, new)), Line("failed there", (HERE, None))))
    assert lines == [
        ["failed here", "-", "-", "-", "-", "-", "2.50", "-", "800", "-"],
        ["failed there", "91.7", "2.50", "800", "-", "-", "-", "-", "-", "-"],
    ]


def test_the_caption_names_each_report_with_its_machine_and_validity():
    sources = (SOURCE, replace(SOURCE, path="there", host="edge", cpu="Small CPU", valid=False))
    table = comparison_table(Comparison(("0" * 64,), "1" * 64, 60, sources, ()))
    assert str(table.title) == "60 images, one bundle, 2 reports"
    assert str(table.caption).splitlines()[:2] == [
        "[1] here: box, Some CPU, 2026-01-02T03:04:05+00:00, VALID",
        "[2] there: edge, Small CPU, 2026-01-02T03:04:05+00:00, INVALID",
    ]
