"""Progress bars at the bottom of a terminal, below the last rows of a growing table.

Apart from `overfly.cli.terminal`, because rich takes long to import and is needed on a terminal only.
"""

from collections.abc import Iterable, Mapping, Sequence

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment, Segments
from rich.table import Table

# The table's header and the line below it.
_HEAD_LINES = 2


class LiveBars(Progress):
    """One bar per stage, and above them the last rows of a table, as many as the screen has room for.

    Parameters
    ----------
    console
        The terminal.
    """

    def __init__(self, console: Console) -> None:
        self.rows: list[Mapping[str, str]] = []
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        super().__init__(*columns, console=console, transient=True, redirect_stdout=False)

    def get_renderables(self) -> Iterable[RenderableType]:
        """Yield the table's last rows and the bars."""
        if self.rows:
            # One line is for the cursor.
            room = self.console.height - _HEAD_LINES - len(self.tasks) - 1
            yield as_table(self.rows[-max(room, 1) :])
        yield self.make_tasks_table(self.tasks)

    def end_table(self) -> None:
        """Write the whole table above the bars: the screen may have had no room for its first rows."""
        if self.rows:
            rows, self.rows = self.rows, []
            self.console.print(as_table(rows))

    def write_line(self, text: str) -> None:
        """Write a line above the bars; as a segment, because rich would change tabs and words between colons."""
        self.console.print(Segments([Segment(text)], new_lines=True), soft_wrap=True)


def as_table(rows: Sequence[Mapping[str, str]]) -> Table:
    """Return rows with the same columns as a table."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for column in rows[0]:
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row.values())
    return table
