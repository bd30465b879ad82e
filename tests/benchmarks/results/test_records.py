"""The record of a report: its figures, and which parts do not fit together."""

import json
from dataclasses import asdict, replace

import pytest

from overfly.benchmarks.results.records import Picture
from overfly.benchmarks.results.row_records import OK


def test_its_figures_are_those_of_the_fakes(report):
    base, _, fp32, broken, int8 = report.rows
    assert [report.baseline, report.compared_row] == [0, 4]
    assert base.speed.latency_ms.p50 == 40.0
    assert base.speed.file_latency_ms.p50 == 43.0
    assert base.speed.throughput_ips == pytest.approx(40)
    assert base.quality.accuracy.value == pytest.approx(59 / 60)
    assert (fp32.difference.images, fp32.difference.agreement) == (0, 1.0)
    assert int8.difference.latency_speedup.value == pytest.approx(16)
    assert int8.difference.throughput_speedup.value == pytest.approx(20)
    assert int8.speed.file_latency_ms.p50 == pytest.approx(5.5)
    # The four that int8 alone gets wrong: p is 2 * (1/2)**4.
    assert (int8.difference.images, int8.difference.mcnemar_p) == (-4, 0.125)
    assert int8.speed.latency_ms.n == 1050
    assert int8.speed.latency_ms.p99 == pytest.approx(2.55)
    assert (broken.status != OK, broken.quality, broken.speed) == (True, None, None)
    assert report.validity.valid
    assert report.rows[report.recommendation.latency] is report.rows[report.recommendation.throughput] is int8


def test_parts_that_do_not_fit_together_are_rejected(report):
    with pytest.raises(ValueError, match="60 image names"):
        replace(report, images=replace(report.images, truth=(0,)))
    with pytest.raises(ValueError, match=r"row 7.* 5 rows"):
        replace(report, baseline=7)
    with pytest.raises(ValueError, match="between 0 and 1"):
        replace(report, classes=report.classes[:2])
    with pytest.raises(ValueError, match="4 classes"):
        replace(report, classes=(*report.classes, "swamp"))
    with pytest.raises(ValueError, match="between 0 and 59"):
        replace(report, pictures=(Picture(60, "", ()),))
    row = report.rows[4]
    fewer = replace(row, measurements=replace(row.measurements, logits=row.measurements.logits[1:]))
    with pytest.raises(ValueError, match="60 image names"):
        replace(report, rows=(*report.rows[:4], fewer))


def test_records_hold_only_what_json_has(report):
    json.dumps(asdict(report), allow_nan=False)


def test_of_several_bundles_the_recommended_row_is_shown_next_to_the_baseline(several, nothing_recommended):
    assert [several.baseline, several.compared_row, several.pictured_bundle] == [3, 5, 1]
    assert [row.name for row in several.rows_of(1)] == [row.name for row in several.rows[3:]]
    # Else the first quantized row.
    without = replace(several, recommendation=nothing_recommended)
    assert [without.compared_row, without.pictured_bundle] == [2, 0]


def test_rows_of_unknown_bundles_and_bundles_without_a_name_of_their_own_are_rejected(several, report):
    with pytest.raises(ValueError, match=r"'small'.*large"):
        replace(several, bundles=(replace(several.bundles[0], name="other"), several.bundles[1]))
    with pytest.raises(ValueError, match="name of its own"):
        replace(several, bundles=several.bundles[:1] * 2)
    with pytest.raises(ValueError, match="at least one"):
        replace(report, bundles=())
    with pytest.raises(ValueError, match=r"best row is row 9.* 6 rows"):
        replace(several, recommendation=replace(several.recommendation, throughput=9))
