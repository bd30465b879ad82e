"""The report as one HTML file that loads nothing from elsewhere."""

from dataclasses import dataclass

from overfly.benchmarks.rendering.columns import COLUMNS, LARGEST, Column
from overfly.benchmarks.rendering.templates import render
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import Row


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure of the results table, or the row's name.

    Attributes
    ----------
    notes
        Small print below the figure.
    bar
        Length of its bar in percent; None for no bar.
    """

    title: str
    text: str
    notes: list[str]
    bar: float | None = None


def report_html(report: Report) -> str:
    """Return the report as HTML.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``bench`` is not installed.
    """
    return render("report.html.j2", report, cells=_cells(report))


def _cells(report: Report) -> list[list[Cell]]:
    """Return the cells of each row of the results table; the first has the row's name."""
    full_bars = {column.title: _full_bar(column, report.rows) for column in COLUMNS if column.bar_end is not None}
    table = []
    for i, row in enumerate(report.rows):
        # The bundle's name may be long: it is in the small print.
        name = row.name.removeprefix(row.spec.bundle).lstrip()
        cells = [Cell("model", name, [row.spec.bundle] if row.spec.bundle else [])]
        for column in COLUMNS:
            value = column.value(row)
            if column.note is None:
                full = full_bars.get(column.title)
                bar = round(100 * value / full, 2) if value is not None and full else None
                cells.append(Cell(column.title, column.text(row), [], bar))
            elif value is not None:
                cells[-1].notes.append(column.note(value))
        if i == report.baseline:
            cells[0].notes.append("baseline")
        table.append(cells)
    return table


def _full_bar(column: Column, rows: tuple[Row, ...]) -> float | None:
    """Return the value of a column's full bar; None if no row has a value."""
    values = [value for row in rows if (value := column.value(row)) is not None]
    return max(values, default=None) if column.bar_end == LARGEST else column.bar_end
