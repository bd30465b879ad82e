"""How jobs report progress and remarks, independent of who shows them."""

from collections.abc import Callable, Mapping, Sequence

# Called with the number of finished parts, and of all parts.
Progress = Callable[[int, int], None]
# `Reporter.progress`.
StageProgress = Callable[[str, int, int], None]

_N_NAMED = 3


class Reporter:
    """Ignores progress and remarks; the command line's subclass shows them."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Report that `done` of `total` parts of a stage are finished."""

    def note(self, message: str) -> None:
        """Report a sentence that the user should read."""

    def row(self, cells: Mapping[str, str]) -> None:
        """Report a row of a table, as text by column; by default it becomes a note."""
        self.note("  ".join(f"{column} {text}" for column, text in cells.items()))


SILENT = Reporter()


def count_and_name(names: Sequence[object], noun: str, plural: str | None = None) -> str:
    """Return how many things there are and name the first three, such as ``4 images (a, b, c, ...)``."""
    some = [str(name) for name in names[:_N_NAMED]] + ["..."] * (len(names) > _N_NAMED)
    return f"{len(names):,} {noun if len(names) == 1 else plural or f'{noun}s'} ({', '.join(some)})"


def duration(seconds: float) -> str:
    """Return a time in the two units that matter, such as ``1 h 5 min``, ``12 min 3 s`` or ``4 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
