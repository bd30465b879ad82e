"""Standard output and standard error: their encoding, and readers that go away."""

import codecs
import errno
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click

from overfly.runtime.files.names import utf8_text

# The name of the error handler below.
_TRUE_BYTES = "overfly.true-bytes"


class ReaderGoneError(OSError):
    """Nobody reads standard output or standard error any more, for example after ``| head -1``."""


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
    characters that it lacks become escapes. File names that are not UTF-8 are written with their true bytes. If nobody
    reads a stream any more, writing to it raises `ReaderGoneError`.
    """
    codecs.register_error(_TRUE_BYTES, _true_bytes_or_escape)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            # The caller closed it. The replacement stays open to the end of the process.
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            # With PYTHONUNBUFFERED there is no buffer between.
            if isinstance(getattr(stream.buffer, "raw", stream.buffer), io.FileIO):
                stream = _reopened(stream)
                setattr(sys, name, stream)
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors=_TRUE_BYTES)


def discard_unwritten() -> None:
    """Discard what can't be written, because nobody reads it any more or the disk is full.

    Python would try to write it again at exit, and an error then is exit code 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def write_error(message: str) -> None:
    """Write a line to standard error, if that is possible: there is no other place to say that it is not."""
    with suppress(OSError):
        click.echo(utf8_text(message), err=True)


def _reopened(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a stream into the same file or pipe that raises `ReaderGoneError`."""
    file = io.FileIO(stream.fileno(), "wb", closefd=False)
    return _Output(
        file if isinstance(stream.buffer, io.FileIO) else io.BufferedWriter(file),
        stream.encoding,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


class _Output(io.TextIOWrapper):
    """A text stream that tells a reader that went away from other errors.

    The buffer and the file below it are Python's own. An interrupt (Ctrl-C) can come between any two steps of Python
    code. If it came after a write in Python code, but before the buffer heard of it, the buffer would write the same
    bytes again when the program ends.
    """

    def write(self, text: str, /) -> int:
        """Write text; raise `ReaderGoneError` if nobody reads it any more."""
        with _reader_gone_errors():
            return super().write(text)

    def flush(self) -> None:
        """Write what is buffered; raise `ReaderGoneError` if nobody reads it any more."""
        with _reader_gone_errors():
            super().flush()


@contextmanager
def _reader_gone_errors() -> Iterator[None]:
    """Inside the block, raise `ReaderGoneError` for an error that says that nobody reads what is written."""
    try:
        yield
    except OSError as error:
        if _means_reader_gone(error):
            raise ReaderGoneError("nobody reads the output any more") from error
        raise


def _means_reader_gone(error: OSError) -> bool:
    """Return whether an error of a write says that nobody reads what is written.

    On Windows the C runtime reports it as EINVAL; pip treats that the same way.
    """
    return isinstance(error, BrokenPipeError) or (sys.platform == "win32" and error.errno == errno.EINVAL)
