"""Rename a finished folder to its final name, and clean up after an interrupted process."""

import glob
import os
import secrets
import shutil
from pathlib import Path


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
        path.rename(aside)
    try:
        new.rename(path)
    except OSError:
        if aside.exists():
            aside.rename(path)
        raise
    _discard(aside)


def restore_replaced(path: Path) -> None:
    """Restore the old `path` if `replace_folder` was killed between its two renames."""
    if _aside(path).exists() and not path.exists():
        _aside(path).rename(path)


def _discard(aside: Path) -> None:
    """Delete the old folder. It is renamed first, because a partly deleted one must not be restored later."""
    if os.path.lexists(aside):
        waste = partial_name(aside)
        aside.rename(waste)
        remove(waste)


def _aside(path: Path) -> Path:
    """Return the name that the old `path` has while it is replaced."""
    path = path.absolute()
    return path.with_name(f".{path.name}.replaced")


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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
        partial.unlink()
