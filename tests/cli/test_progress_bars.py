"""The bars at the bottom of a terminal, and the table above them."""

import io

import pytest
from rich.console import Console

from overfly.cli.progress_bars import LiveBars, as_table


@pytest.fixture
def bars():
    """Bars on a terminal of 60 x 8 characters that is a text in memory; the table has 20 rows."""
    bars = LiveBars(Console(file=io.StringIO(), force_terminal=True, width=60, height=8))
    bars.add_task("all epochs", total=30, completed=20)
    bars.rows += [{"epoch": f"{i} of 30", "loss": f"{1 / i:.4f}"} for i in range(1, 21)]
    return bars


def test_only_the_last_rows_that_fit_are_drawn(bars):
    table, below = bars.get_renderables()
    assert list(table.columns[0].cells) == ["17 of 30", "18 of 30", "19 of 30", "20 of 30"]
    assert below.row_count == 1


def test_the_end_of_the_table_writes_all_rows_once(bars):
    assert as_table(bars.rows).row_count == 20
    bars.end_table()
    assert all(f"{i} of 30" in bars.console.file.getvalue() for i in range(1, 21))
    before = bars.console.file.getvalue()
    bars.end_table()
    assert bars.console.file.getvalue() == before
    assert bars.rows == []


def test_a_line_is_written_unchanged_and_is_not_wrapped(bars):
    line = "a:smile:.jpg\t[bold]" + 80 * "x"
    bars.write_line(line)
    assert bars.console.file.getvalue() == line + "\n"
