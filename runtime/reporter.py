"""How long jobs tell what they are doing, without knowing who listens."""


class Reporter:
    """Listens to a job and says nothing; the command line's subclass draws bars and writes lines."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Hear that `done` of `total` parts of a stage are finished."""

    def note(self, message: str) -> None:
        """Hear a sentence that a person should read."""


SILENT = Reporter()
