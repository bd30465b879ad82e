"""Say why a file or folder can't be read."""

import errno
import os
import sys
from pathlib import Path


def explain_unreadable(path: Path, error: OSError) -> str:
    """Return a sentence that says why a file or folder can't be read, and what to do."""
    if error.errno == errno.ELOOP:
        return f"{path} is a link that leads back to itself: remove it"
    if isinstance(error, FileNotFoundError):
        return describe_broken_link(path) or f"{path} does not exist: check the path"
    if isinstance(error, PermissionError):
        if sys.platform == "win32":
            return f"{path} can't be opened: close the program that has it open, or change its permissions"
        return f"{path} can't be opened: you have no permission to read it; change its permissions"
    return f"{path} can't be read ({error.strerror or error}): check the disk or the network folder that holds it"


def describe_broken_link(path: Path) -> str | None:
    """Return a sentence about the link that keeps a path from existing: the path itself or a folder above it.

    None if there is no such link.
    """
    for link in (path, *path.parents):
        if link.is_symlink() and not os.path.exists(link):  # noqa: PTH110 - Path.exists may raise
            target = os.path.realpath(link)
            where = "" if link == path else f"{path} can't be read: "
            return (
                f"{where}{link} is a link to {target}, which does not exist: mount the disk that holds it, or remove "
                "the link"
            )
    return None
