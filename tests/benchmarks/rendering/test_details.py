"""Details: names that tell the rows apart, and the figures that the results table leaves out."""

from dataclasses import replace

from overfly.benchmarks.rendering.columns import COLUMNS
from overfly.benchmarks.rendering.details import DETAILS, short_name


def test_a_short_name_has_the_device_if_there_are_several(report):
    names = [short_name(report, row) for row in report.rows]
    assert names == ["PyTorch", "ORT", "fp32 CPU", "fp16 GPU", "int8 CPU"]
    on_cpu = replace(report, rows=(*report.rows[:3], report.rows[4]))
    assert [short_name(on_cpu, row) for row in on_cpu.rows] == ["PyTorch", "ORT", "fp32", "int8"]


def test_a_short_name_has_the_configuration(report):
    row = report.rows[0]
    assert short_name(report, replace(row, spec=replace(row.spec, configuration="compiled"))) == "PyTorch compiled"


def test_no_two_figures_have_the_same_title():
    titles = [column.title for column in (*COLUMNS, *DETAILS)]
    assert len(titles) == len(set(titles))
