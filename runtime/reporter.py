"""How long jobs tell what they are doing, without knowing who listens."""

from collections.abc import Mapping


class Reporter:
    """Listens to a job and says nothing; the command line's subclass draws bars and writes lines."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Hear that `done` of `total` parts of a stage are finished."""

    def note(self, message: str) -> None:
        """Hear a sentence that a person should read."""

    def row(self, cells: Mapping[str, str]) -> None:
        """Hear a row of a table that grows, by column; to those who have no table it is a note."""
        self.note("  ".join(f"{column} {text}" for column, text in cells.items()))


SILENT = Reporter()


def duration(seconds: float) -> str:
    """Return a time in the two units that matter, such as ``1 h 5 min``, ``12 min 3 s`` or ``4 s``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
