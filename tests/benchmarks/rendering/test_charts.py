"""The geometry of the charts."""

from dataclasses import replace

from overfly.benchmarks.rendering.charts import scatter
from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.results.row_records import Estimate


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
