"""Write files and folders so that a reader finds either the old or the new content, never a part of it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overfly.runtime.errors import OutputError
from overfly.runtime.files.output_guards import check_overwrite, explain_os_errors
from overfly.runtime.files.replacing import partial_name, remove, replace, replace_folder


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to a temporary file next to `path`, flush it to disk, then rename it to `path`."""
    partial = partial_name(path)
    try:
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        replace(partial, path)
    finally:
        remove(partial)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield a temporary folder to fill, and rename it to `path` after the block.

    If the block fails, or the process is killed, `path` stays as it was. An old folder is renamed before the new one
    takes its place. If the process is killed in between, the next call restores the old folder.

    Parameters
    ----------
    path
        The folder to create. Its parents are created too.
    overwrite
        Replace an existing file or folder. Without it, only an empty folder is replaced.

    Yields
    ------
    Path
        The temporary folder.

    Raises
    ------
    OutputError
        If `path` exists and may not be replaced, or can't be written.
    """
    path = path.absolute()
    with _folder_beside(path, overwrite=overwrite) as partial:
        yield partial
        with _keep_finished(partial, path):
            replace_folder(partial, path)


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield the path of a temporary file to write, and rename it to `path` after the block.

    This is `atomic_folder` for a file that is too large for memory.
    """
    path = path.absolute()
    with _folder_beside(path, overwrite=overwrite) as folder:
        partial = folder / path.name
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        with _keep_finished(partial, path):
            if path.is_dir():
                replace_folder(partial, path)
            else:
                replace(partial, path)


@contextmanager
def _folder_beside(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Check that `path` may be written, yield a temporary folder next to it, and delete that folder in the end."""
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_overwrite(path, overwrite=overwrite)
        partial = partial_name(path)
        partial.mkdir()
    try:
        yield partial
    except _UnmovedError:
        raise
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    shutil.rmtree(partial, ignore_errors=True)


class _UnmovedError(OutputError):
    """An output is complete, but does not have its name."""


@contextmanager
def _keep_finished(finished: Path, path: Path) -> Iterator[None]:
    """Turn an OSError inside the block, which renames `finished` to `path`, into an error that says where it is."""
    try:
        yield
    except OSError as error:
        raise _UnmovedError(
            f"can't rename {finished} to {path}: {error.strerror or error}; the output is complete: close the program "
            "that has one of them open, then rename it yourself"
        ) from error
