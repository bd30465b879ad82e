"""Standard output and standard error: their encoding, and readers that go away."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from overfly.runtime.files.names import utf8_text

# The name of the error handler below.
_TRUE_BYTES = "overfly.true-bytes"


def _true_bytes_or_escape(error: UnicodeError) -> tuple[str | bytes, int]:
    """Encode the bytes of a file name that Python could not decode as they are, and other characters as escapes."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def prepare_streams() -> None:
    """Make standard output and standard error safe to write any text to.

    A stream into a file or a pipe becomes UTF-8: Windows would encode it in a code page that lacks most letters, and
    Linux in ASCII in the locale C, so that names could not be read back. A console keeps its own encoding, and
    characters that it lacks become escapes. File names that are not UTF-8 are written with their true bytes.
    """
    codecs.register_error(_TRUE_BYTES, _true_bytes_or_escape)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The caller closed it. The replacement stays open to the end of the process.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors=_TRUE_BYTES)


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
        click.echo(utf8_text(message), err=True)
