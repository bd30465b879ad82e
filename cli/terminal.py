"""Progress bars and notes on standard error."""

import logging
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING

import click

from overfly.cli.streams import ReaderGoneError, write_error
from overfly.runtime.files.names import utf8_text
from overfly.runtime.reporter import Reporter

if TYPE_CHECKING:
    from rich.progress import TaskID

    from overfly.cli.progress_bars import LiveBars


class Terminal(Reporter, AbstractContextManager["Terminal"]):
    """Draws bars and a table on a terminal; elsewhere it writes notes and table rows as plain lines.

    With ``--quiet`` it writes errors and the command's output only.
    """

    def __init__(self) -> None:
        self._quiet = logging.getLogger("overfly").getEffectiveLevel() > logging.WARNING
        self._bars: LiveBars | None = None
        self._tasks: dict[str, TaskID] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the bars and leave the whole table."""
        if self._bars is not None:
            self._bars.end_table()
            self._bars.stop()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage; the bar of a finished stage disappears."""
        if self._quiet or not sys.stderr.isatty():
            return
        bars = self._started()
        if stage not in self._tasks:
            # What was done before a resumed stage started must not count for its speed.
            self._tasks[stage] = bars.add_task(stage, total=total, completed=done)
        bars.update(self._tasks[stage], completed=done)
        if done >= total:
            bars.remove_task(self._tasks.pop(stage))

    def note(self, message: str) -> None:
        """Write a line above the bars; it ends the table."""
        if not self._quiet:
            self.error(message)

    def error(self, message: str) -> None:
        """Write a line that ``--quiet`` does not suppress."""
        if self._bars is None:
            write_error(message)
        else:
            with suppress(ReaderGoneError):
                self._bars.end_table()
                self._bars.write_line(utf8_text(message))

    def row(self, cells: Mapping[str, str]) -> None:
        """Add a row to the table above the bars; without bars it is a plain line."""
        if self._bars is None:
            super().row(cells)
        else:
            self._bars.rows.append(cells)
            self._bars.refresh()

    def line(self, text: str) -> None:
        """Write a line of the command's output to standard output, above the bars if they are on the same screen."""
        if self._bars is not None and sys.stdout.isatty():
            self._bars.write_line(text)
        else:
            # color=True: click would remove what looks like a color code from a file's name.
            click.echo(text, color=True)

    def _started(self) -> "LiveBars":
        """Return the bars, started at the first call. If the output is on the screen as well, they share its stream."""
        if self._bars is None:
            from rich.console import Console

            from overfly.cli.progress_bars import LiveBars

            self._bars = LiveBars(Console(stderr=not sys.stdout.isatty()))
            self._bars.start()
        return self._bars
