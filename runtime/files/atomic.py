"""Write files and folders so that a reader finds either the old or the new content, never a part of it."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from overfly.runtime.files.output_guards import check_overwrite, explain_os_errors
from overfly.runtime.files.replacing import partial_name, replace_folder


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name beside `path`, flush it to disk, then rename it."""
    partial = partial_name(path)
    try:
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary folder to fill; when the block ends well, it becomes `path` in one rename.

    If the block fails, or the process is killed, `path` is as it was before. A folder that is
    replaced is moved aside first and put back by the next call should the rename not happen.

    Parameters
    ----------
    path
        The folder to make. Its parents are made too.
    overwrite
        Replace what is there; otherwise an existing, non-empty `path` is an error.

    Raises
    ------
    OutputError
        When `path` exists and may not be replaced, or can't be written.
    """
    path = path.absolute()
    with _folder_beside(path, overwrite=overwrite) as partial:
        yield partial
        replace_folder(partial, path)


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Give the path of a file to write, in a temporary folder of its own; when the block ends well, it becomes `path`.

    Takes, holds and raises what `atomic_folder` does, for a file that is too large to be held in memory.
    """
    path = path.absolute()
    with _folder_beside(path, overwrite=overwrite) as folder:
        partial = folder / path.name
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())
        if path.is_dir():
            replace_folder(partial, path)
        else:
            partial.replace(path)


@contextmanager
def _folder_beside(path: Path, *, overwrite: bool) -> Iterator[Path]:
    """Give a temporary folder beside `path`, which may be written, and delete what is left of it."""
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_overwrite(path, overwrite=overwrite)
        partial = partial_name(path)
        partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)
