"""The geometry of the charts."""

import re
from dataclasses import replace

import pytest

from overfly.benchmarks.rendering.charts import SCATTER_FRAME, STRIP_FRAME, LogScale, scatter, strips
from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.results.row_records import Estimate


def test_a_row_is_a_point_at_its_latency_and_accuracy(report):
    chart = scatter(report)
    # Row 3 failed. The latencies are 40, 10, 10 and 2.5 ms: the same step each time on a logarithmic axis.
    assert [point.row for point in chart.points] == [0, 1, 2, 4]
    slowest, middle, same, fastest = (point.x for point in chart.points)
    assert middle == same == (SCATTER_FRAME.left + SCATTER_FRAME.right) / 2
    assert slowest - middle == pytest.approx(middle - fastest)
    assert SCATTER_FRAME.left < fastest < slowest < SCATTER_FRAME.right
    # The y axis is linear: 90% and 95% are 5 points apart, the rows 59 and 55 of 60 images.
    at = {tick.text: tick.at for tick in chart.y_ticks}
    assert list(at) == ["85%", "90%", "95%", "100%"]
    per_point = (at["90%"] - at["95%"]) / 5
    assert chart.points[3].y - chart.points[0].y == pytest.approx(per_point * 100 * 4 / 60)
    for point in chart.points:
        assert SCATTER_FRAME.top <= point.y_high < point.y < point.y_low <= SCATTER_FRAME.bottom


def test_rows_that_are_all_right_have_a_chart_too(report):
    # Their intervals have no width, and so the chart would have no height.
    perfect = Estimate(1.0, (1.0, 1.0))
    rows = tuple(
        replace(row, quality=replace(row.quality, accuracy=perfect)) if row.quality else row for row in report.rows
    )
    chart = scatter(replace(report, rows=rows))
    assert [point.y for point in chart.points] == [14.0] * 4
    assert [tick.text for tick in chart.y_ticks] == ["99.5%", "100%"]
    assert "100.0% (100.0 to 100.0%) at 2.50 ms" in report_html(replace(report, rows=rows))


def test_a_histogram_is_closed_and_has_its_peak_at_the_row_s_latency(report):
    chart = strips(report)
    assert [strip.row for strip in chart.strips] == [0, 1, 2, 4]
    for strip in chart.strips:
        assert re.fullmatch(r"M0 40V[0-9.]+(H[0-9.]+V[0-9.]+){80}Z", strip.path)
        heights = [float(y) for y in re.findall(r"V([0-9.]+)", strip.path)]
        assert min(heights) == 2.0  # 5% of the height stay free
        peak = STRIP_FRAME.width * heights.index(2.0) / 80
        assert peak == pytest.approx(strip.p50_x, abs=15)
        assert 0 < strip.p50_x < strip.p90_x < STRIP_FRAME.width


def test_without_a_row_that_worked_there_is_no_chart(report):
    failed = replace(report, rows=(report.rows[3],), baseline=None)
    assert scatter(failed) is None
    assert strips(failed) is None


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
    assert LogScale(low, high).ticks() == pytest.approx(expected)


def test_a_logarithmic_scale_goes_from_0_to_1_with_a_margin():
    scale = LogScale.around([1.0, 100.0], margin=1.0)
    assert (scale.low, scale.high) == (0.5, 200.0)
    assert [scale(0.5), scale(10.0), scale(200.0)] == pytest.approx([0.0, 0.5, 1.0])
