"""Keep two processes from working in the same folder."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from overfly.runtime.errors import OutputError
from overfly.runtime.files.replacing import remove

LOCK_FILE = "lock"


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Inside the block, keep other processes that ask for it out of a folder.

    The system ends the lock with the process, however that ends.

    Parameters
    ----------
    folder
        The folder. A file is made in it, and removed after the block.

    Raises
    ------
    OutputError
        If another process has the folder.
    """
    path = folder / LOCK_FILE
    with path.open("a+b") as stream:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(stream.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise OutputError(
                f"another process is writing to {folder}: wait for its end, or choose another output"
            ) from None
        try:
            yield
        finally:
            if sys.platform != "win32":
                remove(path)
    if sys.platform == "win32":  # which deletes no open file
        with suppress(OSError):  # another process may have opened it since
            remove(path)
