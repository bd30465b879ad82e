"""Write files and folders so that a reader finds either the old or the new content, never a part of it."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
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
    with _folder_beside(path, lambda partial: replace_folder(partial, path), overwrite=overwrite) as partial:
        yield partial


@contextmanager
def atomic_file(path: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield the path of a temporary file to write, and rename it to `path` after the block.

    This is `atomic_folder` for a file that is too large for memory.
    """
    path = path.absolute()

    def rename(folder: Path) -> None:
        if path.is_dir():
            replace_folder(folder / path.name, path)
        else:
            replace(folder / path.name, path)

    with _folder_beside(path, rename, overwrite=overwrite) as folder:
        partial = folder / path.name
        yield partial
        with partial.open("rb+") as stream:
            os.fsync(stream.fileno())


@contextmanager
def _folder_beside(path: Path, rename: Callable[[Path], None], *, overwrite: bool) -> Iterator[Path]:
    """Check that `path` may be written, and yield a temporary folder next to it.

    After the block, `rename` gives what is in the folder its name. Then, or if the block fails, the folder is deleted;
    if only the renaming fails, it is kept.
    """
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        check_overwrite(path, overwrite=overwrite)
        partial = partial_name(path)
        partial.mkdir()
    with ExitStack() as cleanup:
        cleanup.callback(shutil.rmtree, partial, ignore_errors=True)
        yield partial
        try:
            rename(partial)
        except OSError as error:
            cleanup.pop_all()
            raise OutputError(
                f"can't write to {path}: {error.strerror or error}; the output is complete in {partial}: close the "
                "program that has it open, then move it yourself"
            ) from error
