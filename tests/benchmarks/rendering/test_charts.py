"""The geometry of the charts."""

import re
from dataclasses import replace

import pytest

from overfly.benchmarks.rendering.charts import (
    SCATTER_FRAME,
    STRIP_FRAME,
    LinearAxis,
    LogAxis,
    frontier,
    histogram_path,
    scatter_axes,
    strip_axis,
)
from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.results.row_records import Estimate


def test_a_row_is_a_point_at_its_latency_and_accuracy(report):
    x, y = scatter_axes(report)
    page = report_html(report)
    circles = re.findall(r'<circle class="point c(\d)" cx="([0-9.]+)" cy="([0-9.]+)" r="7"', page)
    # Row 3 failed. The latencies are 40, 10, 10 and 2.5 ms: the same step each time on a logarithmic axis.
    assert [row for row, _, _ in circles] == ["0", "1", "2", "4"]
    assert [float(cx) for _, cx, _ in circles] == pytest.approx([x(ms) for ms in (40.0, 10.0, 10.0, 2.5)], abs=0.1)
    assert x(10.0) == pytest.approx((SCATTER_FRAME.left + SCATTER_FRAME.right) / 2)
    assert x(40.0) - x(10.0) == pytest.approx(x(10.0) - x(2.5))
    assert SCATTER_FRAME.left < x(2.5) < x(40.0) < SCATTER_FRAME.right
    # The y axis is linear: 90% and 95% are 5 points apart, the rows 59 and 55 of 60 images.
    assert y.ticks() == pytest.approx([0.85, 0.9, 0.95, 1.0])
    per_point = (y(0.9) - y(0.95)) / 5
    assert float(circles[3][2]) - float(circles[0][2]) == pytest.approx(per_point * 100 * 4 / 60, abs=0.1)
    chart = page.partition('id="scatter"')[2].partition("</svg>")[0]
    whiskers = re.findall(r'<line class="whisker.*? y1="([0-9.]+)" y2="([0-9.]+)"', chart)
    for (_, _, middle), (low, high) in zip(circles, whiskers, strict=True):
        assert SCATTER_FRAME.top <= float(high) < float(middle) < float(low) <= SCATTER_FRAME.bottom


def test_rows_that_are_all_right_have_a_chart_too(report):
    # Their intervals have no width, and so the chart would have no height.
    perfect = Estimate(1.0, (1.0, 1.0))
    rows = tuple(
        replace(row, quality=replace(row.quality, accuracy=perfect)) if row.quality else row for row in report.rows
    )
    all_right = replace(report, rows=rows)
    _, y = scatter_axes(all_right)
    assert y(1.0) == SCATTER_FRAME.top
    assert y.ticks() == pytest.approx([0.995, 1.0])
    assert "100.0% (100.0 to 100.0%) at 2.50 ms" in report_html(all_right)


def test_a_histogram_is_closed_and_has_its_peak_at_the_row_s_latency(report):
    axis = strip_axis(report)
    for row in (report.rows[i] for i in (0, 1, 2, 4)):
        path = histogram_path(row.measurements, axis)
        assert re.fullmatch(r"M0 40V[0-9.]+(H[0-9.]+V[0-9.]+){80}Z", path)
        heights = [float(y) for y in re.findall(r"V([0-9.]+)", path)]
        assert min(heights) == 2.0  # 5% of the height stay free
        peak = STRIP_FRAME.width * heights.index(2.0) / 80
        assert peak == pytest.approx(axis(row.speed.latency_ms.p50), abs=15)
        assert 0 < axis(row.speed.latency_ms.p50) < axis(row.speed.latency_ms.p90) < STRIP_FRAME.width


def test_without_a_row_that_worked_there_is_no_chart(report, nothing_recommended):
    failed = replace(report, rows=(report.rows[3],), baseline=None, recommendation=nothing_recommended)
    assert scatter_axes(failed) is None
    assert strip_axis(failed) is None


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (2.0, 4.0, [2, 2.5, 3, 3.5, 4]),
        (3.0, 11.0, [3, 4, 6, 8, 10]),
        (2.4, 42.0, [5, 10, 20]),
        (0.5, 5000.0, [1, 10, 100, 1000]),
    ],
)
def test_the_ticks_of_a_logarithmic_axis_are_round(low, high, expected):
    assert LogAxis(low, high, 0, 1).ticks() == pytest.approx(expected)


def test_an_axis_goes_from_its_start_to_its_end():
    axis = LogAxis(0.5, 200.0, start=10, end=30)
    assert [axis(0.5), axis(10.0), axis(200.0)] == pytest.approx([10.0, 20.0, 30.0])
    down = LinearAxis(0.5, 1.0, start=250, end=50)
    assert [down(0.5), down(0.75), down(1.0)] == pytest.approx([250.0, 150.0, 50.0])


def test_the_line_joins_the_rows_that_no_other_one_beats(several):
    # By latency: int8 of small (1.25 ms, 43 right), fp32 of small (2 ms, 51), int8 of large (2.5 ms, 58) and fp32 (59).
    assert frontier(several) == [2, 1, 5, 4]
    slow = replace(several.rows[1].speed, latency_ms=replace(several.rows[1].speed.latency_ms, p50=2.6))
    rows = (several.rows[0], replace(several.rows[1], speed=slow), *several.rows[2:])
    assert frontier(replace(several, rows=rows)) == [2, 5, 4]


def test_of_several_bundles_each_row_that_can_be_deployed_has_the_mark_of_its_variant(several):
    x, y = scatter_axes(several)
    chart = report_html(several).partition('id="scatter"')[2].partition("</svg>")[0]
    marks = re.findall(r'<path class="point c(\d)" d="([^"]+)"><title>([^<]+)', chart)
    assert [(name, number) for number, _, name in marks] == [
        ("small fp32", "0"),
        ("small int8", "0"),
        ("large fp32", "1"),
        ("large int8", "1"),
    ]
    assert [path.count("L") for _, path, _ in marks] == [3, 2, 3, 2]
    # The baseline is a circle, and there is one around the recommended row.
    place = f'cx="{x(2.5):.1f}" cy="{y(58 / 60):.1f}"'
    assert re.findall('<circle class="([a-z]+)', chart) == ["point", "ring"]
    assert f'<circle class="ring" {place}' in chart
    (line,) = re.findall(r'<polyline.* points="([^"]+)"', chart)
    assert line.split() == [f"{x(ms):.1f},{y(n / 60):.1f}" for ms, n in ((1.25, 43), (2, 51), (2.5, 58), (10, 59))]
