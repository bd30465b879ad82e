"""Rename a finished file or folder to its final name, and clean up after an interrupted process.

On Windows a virus scanner, an indexer or OneDrive may have a file open for a moment, and then it can be neither
renamed nor deleted. `replace` and `remove` try again for 10 seconds, as npm and cargo do.
"""

import glob
import logging
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LOGGER = logging.getLogger(__name__)

# ERROR_ACCESS_DENIED, also for a read-only file, and ERROR_SHARING_VIOLATION. Only Windows sets `winerror`.
_IN_USE = {5, 32}
_PATIENCE_S = 10.0
# Short: a program that opens a file again and again lets it go for a moment only.
_PAUSE_S = 0.001


def replace(source: Path, target: Path) -> None:
    """Rename a file or folder; an existing file `target` is replaced, also a read-only one."""

    def rename() -> None:
        os.replace(source, target)  # noqa: PTH105 - Path.rename differs between systems

    if target.is_dir():
        rename()  # Windows gives the same error for a folder at `target`, and waiting does not help
    else:
        _try_while_in_use(rename, target)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists, also a read-only one."""

    def delete() -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    _try_while_in_use(delete, path)


def _try_while_in_use(act: Callable[[], None], path: Path) -> None:
    """Call a function until Windows no longer says that `path` is in use, but for 10 seconds at most."""
    deadline = time.monotonic() + _PATIENCE_S
    n_tries = 0
    while True:
        try:
            return act()
        except OSError as error:
            if getattr(error, "winerror", None) not in _IN_USE or time.monotonic() > deadline:
                raise
            if n_tries == 0:
                _LOGGER.info("trying again for %.0f s: %s", _PATIENCE_S, error)
            with suppress(OSError):  # what it looks through may be gone meanwhile
                _make_writable(path)
        n_tries += 1
        time.sleep(_PAUSE_S)


def _make_writable(path: Path) -> None:
    """Take the mark "read-only", which Windows honors when it renames and deletes, from a file or all of a folder."""
    for each in (path, *path.rglob("*")):
        with suppress(OSError):  # a file may be in use for this too
            mode = each.lstat().st_mode
            if not stat.S_ISLNK(mode) and not mode & stat.S_IWUSR:
                each.chmod(mode | stat.S_IWUSR)


def replace_folder(new: Path, path: Path) -> None:
    """Rename the folder `new` to `path`; an old `path` is renamed first and deleted last.

    Raises
    ------
    OSError
        If a rename fails; `path` is then the old one.
    """
    aside = _aside(path)
    _discard(aside)
    if path.exists():
        replace(path, aside)
    try:
        replace(new, path)
    except OSError:
        if aside.exists():
            replace(aside, path)
        raise
    _discard(aside)


def restore_replaced(path: Path) -> None:
    """Restore the old `path` if `replace_folder` was killed between its two renames."""
    if _aside(path).exists() and not path.exists():
        replace(_aside(path), path)


def _discard(aside: Path) -> None:
    """Delete the old folder. It is renamed first, because a partly deleted one must not be restored later."""
    if os.path.lexists(aside):
        waste = partial_name(aside)
        try:
            replace(aside, waste)
            remove(waste)
        except OSError as error:  # what it was replaced by is complete
            _LOGGER.warning("delete %s yourself: %s", waste if os.path.lexists(waste) else aside, error)


def _aside(path: Path) -> Path:
    """Return the name that the old `path` has while it is replaced."""
    path = path.absolute()
    return path.with_name(f".{path.name}.replaced")


def partial_name(path: Path) -> Path:
    """Return an unused name in the folder of `path`. The functions of tempfile are no help: they ignore the umask."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


def remove_leftovers(path: Path) -> None:
    """Delete the temporary folders for `path` that a killed process left."""
    path = path.absolute()
    # The names of `partial_name`, but not those for a longer name than that of `path`.
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}.part"):
        remove(leftover)


def remove_partials(folder: Path) -> None:
    """Delete the temporary files in and below `folder` that a killed process left."""
    for partial in folder.rglob(".*.part"):
        remove(partial)
