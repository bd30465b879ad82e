"""Details: names that tell the rows apart, and the figures that the results table leaves out."""

from dataclasses import replace

from overfly.benchmarks.rendering.columns import COLUMNS
from overfly.benchmarks.rendering.details import DETAILS, color, machine_facts, pair_color, short_name, shown_rows


def test_a_short_name_has_the_device_if_there_are_several(report, nothing_recommended):
    names = [short_name(report, row) for row in report.rows]
    assert names == ["PyTorch", "ORT", "fp32 CPU", "fp16 GPU", "int8 CPU"]
    on_cpu = replace(report, rows=(*report.rows[:3], report.rows[4]), recommendation=nothing_recommended)
    assert [short_name(on_cpu, row) for row in on_cpu.rows] == ["PyTorch", "ORT", "fp32", "int8"]


def test_a_short_name_has_the_configuration(report):
    row = report.rows[0]
    assert short_name(report, replace(row, spec=replace(row.spec, configuration="compiled"))) == "PyTorch compiled"


def test_no_two_figures_have_the_same_title():
    titles = [column.title for column in (*COLUMNS, *DETAILS)]
    assert len(titles) == len(set(titles))


def test_the_details_of_a_row_are_its_figures(report):
    texts = {detail.title: detail.text(report.rows[4]) for detail in DETAILS}
    expected = {
        "accuracy %, 95% interval": "83.3 to 98.3",
        "points vs baseline": "-6.67",
        "McNemar p": "0.125",
        "agreement %": "93.3",
        "p90 ms": "2.55",
        "sd ms": "0.04",
        "samples": "1,050",
        "speed by latency": "16.0x (16.0 to 16.0)",
        "speed by throughput": "20.0x (20.0 to 20.0)",
        "file to label, p90 ms": "5.55",
        "first inference ms": "14.5",
        "load ms, cold": "120",
        "load ms, cached": "30.0",
        "peak memory MiB": "150",
        "CPU threads": "2",
        "requested precision": "auto",
        "device": "Some CPU",
    }
    assert {title: texts[title] for title in expected} == expected


def test_a_row_that_failed_keeps_only_what_was_planned(report):
    texts = {detail.title: detail.text(report.rows[3]) for detail in DETAILS}
    known = {title: text for title, text in texts.items() if text != "-"}
    assert known == {"requested precision": "auto", "device": "Some GPU"}


def test_the_machine_and_the_origin_of_the_report_are_named(report):
    facts = dict(machine_facts(report))
    expected = {
        "processor": "Some CPU, 2 usable logical cores",
        "affinity": "cores 0, 1",
        "memory": "16.0 GiB",
        "power": "mains",
        "load before": "other programs used 1% of the processor",
        "load during": "other programs used 2% of the processor",
        "versions": "python 3.11.2, openvino 2026.4.1",
        "bundle": f"bundle, manifest {report.bundles[0].manifest_sha256[:16]}",
        "input": "64 x 64 pixels",
        "mode": "full",
    }
    assert {name: facts[name] for name in expected} == expected


def test_what_the_system_does_not_report_is_unknown(report, machine):
    blank = machine(
        affinity=None, memory_bytes=None, power_source=None, power_saving=None, load_before=None, load_during=None
    )
    facts = dict(machine_facts(replace(report, environment=blank, quick=True)))
    names = ("affinity", "memory", "power", "power saving", "load before", "load during", "mode")
    assert [facts[name] for name in names] == ["unknown", "-", "unknown", "none known", "unknown", "unknown", "quick"]


def test_of_several_bundles_a_short_name_has_the_bundle_and_a_color_stands_for_it(several):
    names = [short_name(several, row) for row in several.rows]
    assert names == ["small PyTorch", "small fp32", "small int8", "large PyTorch", "large fp32", "large int8"]
    assert [color(several, i) for i in range(6)] == [0, 0, 0, 1, 1, 1]
    # Next to the compared row, which may be of the same bundle, the baseline has a color of its own.
    pair = [pair_color(several, i) for i in (several.baseline, several.compared_row)]
    assert pair == [7, 1]
    assert shown_rows(several) == [1, 2, 3, 4, 5]


def test_of_one_bundle_each_row_has_a_color_and_is_shown(report):
    assert [color(report, i) for i in range(5)] == [pair_color(report, i) for i in range(5)] == [0, 1, 2, 3, 4]
    assert shown_rows(report) == [0, 1, 2, 4]


def test_each_of_several_bundles_is_named_with_its_input(several):
    texts = [text for name, text in machine_facts(several) if name in {"bundle", "input"}]
    assert texts == [
        f"small: mobilenet_v2, 64 x 64 pixels, manifest {'0' * 16}",
        f"large: mobilenet_v2, 128 x 128 pixels, manifest {'1' * 16}",
    ]
