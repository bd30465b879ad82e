"""Standard output and standard error: their encoding, and readers that go away."""

import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click


def prepare_streams() -> None:
    """Make standard output and standard error safe to write any text to.

    A stream into a file or a pipe becomes UTF-8: Windows would encode it in a code page that lacks most letters, so
    that names could not be read back. A console keeps its own encoding, and characters that it lacks become escapes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The caller closed it. The replacement stays open to the end of the process.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def is_reader_gone(error: OSError) -> bool:
    """Return whether an error says that nobody reads a stream any more.

    On Windows the C runtime reports it as EINVAL, without a file name; pip treats that the same way.
    """
    on_windows = sys.platform == "win32" and error.errno == errno.EINVAL and error.filename is None
    return on_windows or isinstance(error, BrokenPipeError)


@contextmanager
def ignore_gone_reader() -> Iterator[None]:
    """Ignore that nobody reads a stream any more, for example a closed standard error."""
    try:
        yield
    except OSError as error:
        if not is_reader_gone(error):
            raise


def write_error(message: str) -> None:
    """Write a line to standard error, if anybody reads it."""
    with ignore_gone_reader():
        click.echo(message, err=True)
