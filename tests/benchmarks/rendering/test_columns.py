"""The columns are the same in every view."""

import pytest

from overfly.benchmarks.rendering.columns import COLUMNS
from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.rendering.markdown import report_markdown
from overfly.benchmarks.rendering.terminal import report_table


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.title)
def test_every_view_shows_the_column(report, column):
    texts = [column.text(row) for row in report.rows]
    terminal = [c for c in report_table(report).columns if c.header == (column.narrow_title or column.title)]
    assert [[str(cell) for cell in c.cells] for c in terminal] == [texts] * column.on_terminal
    header, _, *lines = [line for line in report_markdown(report).splitlines() if line.startswith("|")]
    index = header.split(" | ").index(column.title) if column is not COLUMNS[-1] else -1
    shown = [line.strip("| ").split(" | ")[index].replace("\\", "") for line in lines[: len(report.rows)]]
    assert shown == texts
    values = [value for row in report.rows if row.speed and (value := column.value(row)) is not None]
    page = report_html(report)
    for value in values:
        assert (column.format if column.note is None else column.note)(value) in page


def test_a_row_that_failed_has_dashes(report):
    failed = report.rows[3]
    texts = {column.title: column.text(failed) for column in COLUMNS}
    assert texts.pop("size MiB") == "4.0"
    assert set(texts.values()) == {"-"}
