"""Renaming a finished file or folder into place, and deleting what an interrupted process left behind."""

import glob
import os
import secrets
import shutil
from pathlib import Path


def replace_folder(new: Path, path: Path) -> None:
    """Rename the folder `new` to `path`, with what was there moved aside until that is done."""
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
    """Restore what `replace_folder` moved aside, if it was killed between its two renames."""
    if _aside(path).exists() and not path.exists():
        _aside(path).rename(path)


def _discard(aside: Path) -> None:
    """Delete what was moved aside, under another name: an incomplete rest must not be restored later."""
    if os.path.lexists(aside):
        waste = partial_name(aside)
        aside.rename(waste)
        remove(waste)


def _aside(path: Path) -> Path:
    """Return where the old `path` is kept while it is replaced."""
    path = path.absolute()
    return path.with_name(f".{path.name}.replaced")


def remove(path: Path) -> None:
    """Delete a file or a folder, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def partial_name(path: Path) -> Path:
    """Return a name beside `path` that no one else uses; the functions of tempfile ignore the process's umask."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


def remove_leftovers(path: Path) -> None:
    """Delete what a process that was killed within `atomic_folder` left beside `path`."""
    path = path.absolute()
    # What `partial_name` makes, and nothing with a longer name.
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}.part"):
        remove(leftover)


def remove_partials(folder: Path) -> None:
    """Delete what a process that was killed within `write_atomically` left in `folder` and below."""
    for partial in folder.rglob(".*.part"):
        partial.unlink()
