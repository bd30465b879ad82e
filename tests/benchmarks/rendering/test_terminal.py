"""The report as a table for a terminal."""

import io

from rich.console import Console

from overfly.benchmarks.rendering.terminal import report_table


def table_of(report):
    out = io.StringIO()
    Console(width=80, file=out).print(report_table(report))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def test_the_table_is_the_golden_one(report, golden):
    table = table_of(report)
    assert table == golden("table.txt", table)
    assert max(map(len, table.splitlines())) <= 80
