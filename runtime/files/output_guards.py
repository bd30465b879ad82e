"""Checks before an output is written, so that nothing of value is overwritten."""

import re
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from overfly.runtime.errors import OutputError, OverflyError
from overfly.runtime.files.replacing import restore_replaced

_REMEDY = "choose another output"

# Windows has these devices in every folder, whatever follows a dot or a colon. It makes a temporary file with such a
# name in it, but not the final one.
_DEVICES = {"CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$"} | {
    f"{p}{n}" for p in ("COM", "LPT") for n in "123456789¹²³"
}


@contextmanager
def explain_os_errors(path: Path, remedy: str = _REMEDY) -> Iterator[None]:
    """Turn an OSError inside the block into an OutputError that names the output `path` and the remedy.

    Raises
    ------
    OutputError
        For any OSError that is not already an error of overfly.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, OverflyError):
            raise
        raise OutputError(f"can't write to {path}: {error.strerror or error}; {remedy}") from error


def check_inputs_safe(path: Path, inputs: Iterable[Path]) -> None:
    """Check that the output `path` neither is nor contains one of the inputs, which would be deleted.

    Raises
    ------
    OutputError
        If it is or contains one; the message names the first.
    """
    for given in inputs:
        if path.resolve() in (given.resolve(), *given.resolve().parents):
            raise OutputError(f"can't write to {path}: it holds the input {given}; {_REMEDY}")


def check_outside(path: Path, data: Path, *, because: str = "where each folder is a class") -> None:
    """Check that the output `path` is not in the data folder, where it would become a class or images of a class.

    Parameters
    ----------
    path
        The output.
    data
        The data folder.
    because
        Why it can't be there, for the message.

    Raises
    ------
    OutputError
        If it is.
    """
    # If `path` itself is a link, the link is replaced, not its target.
    folder = path.absolute().parent.resolve()
    if data.resolve() in (folder, *folder.parents):
        raise OutputError(f"can't write to {path}: it is inside the data folder {data}, {because}; {_REMEDY}")


def check_utf8(path: Path) -> None:
    """Check that Python could decode the output `path`: OpenVINO and ONNX, which write to it, take no other paths.

    Raises
    ------
    OutputError
        If it could not: the path is not UTF-8, or the locale is not.
    """
    try:
        str(path.absolute()).encode()
    except UnicodeEncodeError:
        raise OutputError(
            f"can't write to {path}: OpenVINO can't open paths that are not UTF-8 in this locale; set PYTHONUTF8=1, or "
            f"{_REMEDY}"
        ) from None


def windows_device(path: Path) -> str | None:
    """Return the first name in a path that Windows reserves for a device, such as ``con`` or ``nul.txt``, else None."""
    return next((name for name in path.parts if re.split("[.:]", name)[0].rstrip(" ").upper() in _DEVICES), None)


def check_temporary_folder() -> None:
    """Check that there is a folder for temporary files, which PyTorch and matplotlib need as soon as they are imported.

    Raises
    ------
    OutputError
        If none of the usual folders can be written to.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        # Python lists the folders that it tried.
        raise OutputError(
            f"there is no folder for temporary files ({error.strerror}): set TMPDIR to a folder that can be written to"
        ) from error


def check_overwrite(path: Path, *, overwrite: bool) -> None:
    """Check that `path` may be written: it does not exist, is an empty folder, or `overwrite` is set.

    First restore a folder that an interrupted `replace_folder` renamed.

    Raises
    ------
    OutputError
        If `path` exists and may not be replaced, a parent of it is a file, it is the current or the topmost folder,
        or the system rejects the name.
    """
    if not path.absolute().name:
        raise OutputError(f"can't write to {path}: it is the topmost folder; {_REMEDY}")
    if sys.platform == "win32" and (device := windows_device(path)):
        raise OutputError(f"can't write to {path}: {device} is a device on Windows; {_REMEDY}")
    with explain_os_errors(path):
        restore_replaced(path)
        if path.absolute() == Path.cwd():
            raise OutputError(f"can't write to {path}: it is the current folder; {_REMEDY}")
        for parent in path.absolute().parents:
            if parent.exists() and not parent.is_dir():
                raise OutputError(f"can't write to {path}: {parent} is a file, not a folder; {_REMEDY}")
        is_empty = path.is_dir() and not any(path.iterdir())
        if path.exists() and not is_empty and not overwrite:
            raise OutputError(f"{path} exists already: {_REMEDY}, or add --overwrite to replace it")
