"""What a person sees while a command works: bars and notes, on standard error."""

import sys
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING

import click

from overfly.runtime.reporter import Reporter

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Terminal(Reporter, AbstractContextManager["Terminal"]):
    """Draws a bar for each stage on a terminal; elsewhere it writes only the notes, as plain lines."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take the bars away."""
        if self._bars is not None:
            self._bars.stop()

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move the bar of a stage; a finished one disappears."""
        if not sys.stderr.isatty():
            return
        bars = self._started()
        if stage not in self._tasks:
            self._tasks[stage] = bars.add_task(stage, total=total)
        bars.update(self._tasks[stage], completed=done)
        if done >= total:
            bars.remove_task(self._tasks.pop(stage))

    def note(self, message: str) -> None:
        """Write a line above the bars."""
        with suppress(BrokenPipeError):  # that no one reads the notes stops nothing
            if self._bars is None:
                click.echo(message, err=True)
            else:
                self._above_bars(message)

    def line(self, text: str) -> None:
        """Write a line of the command's answer to standard output, above the bars if they are on the same screen."""
        if self._bars is not None and sys.stdout.isatty():
            self._above_bars(text)
        else:
            # color: click would take what looks like a colour out of a file's name.
            click.echo(text, color=True)

    def _above_bars(self, text: str) -> None:
        """Write a line to the bars' stream; as a segment, since rich would change tabs and words between colons."""
        from rich.segment import Segment, Segments

        if self._bars is not None:
            self._bars.console.print(Segments([Segment(text)], new_lines=True), soft_wrap=True)

    def _started(self) -> "Progress":
        """Return the bars, drawn since the first call; where the answer is on the screen they share its stream."""
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self._bars = Progress(
                *columns, console=Console(stderr=not sys.stdout.isatty()), transient=True, redirect_stdout=False
            )
            self._bars.start()
        return self._bars
