"""What is checked before an output is written: nothing of value may be replaced."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from overfly.runtime.errors import OutputError, OverflyError
from overfly.runtime.files.replacing import restore_replaced


@contextmanager
def explain_os_errors(path: Path, remedy: str = "choose another place") -> Iterator[None]:
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
    """Raise if the output `path` is, or holds, one of the inputs: replacing it would destroy what it is made from.

    Raises
    ------
    OutputError
        For the first such input.
    """
    for given in inputs:
        if path.resolve() in (given.resolve(), *given.resolve().parents):
            raise OutputError(f"can't write to {path}: it holds the input {given}; choose another --out")


def check_outside(path: Path, data: Path) -> None:
    """Raise if the output `path` lies in the data folder: there it would count as a class, or as images of one.

    Raises
    ------
    OutputError
        If it does.
    """
    # A link that is replaced counts as what it is, not as what it leads to.
    folder = path.absolute().parent.resolve()
    if data.resolve() in (folder, *folder.parents):
        raise OutputError(
            f"can't write to {path}: it is inside the data folder {data}, where each folder is a class; "
            "choose another --out"
        )


def check_overwrite(path: Path, *, overwrite: bool) -> None:
    """Raise unless `path` may be written: it is absent, an empty folder, or `overwrite` is set.

    What an interrupted `replace_folder` had moved aside is restored first.

    Raises
    ------
    OutputError
        If something exists there, a parent of `path` is a file, `path` is the current or the topmost
        folder, or the system refuses the name.
    """
    if not path.absolute().name:
        raise OutputError(f"can't write to {path}: it is the topmost folder; choose another place")
    with explain_os_errors(path):
        restore_replaced(path)
        _check_free(path, overwrite=overwrite)


def _check_free(path: Path, *, overwrite: bool) -> None:
    """Raise unless `path` may be written."""
    if path.absolute() == Path.cwd():
        raise OutputError(f"can't write to {path}: it is the current folder; choose another place")
    for parent in path.absolute().parents:
        if parent.exists() and not parent.is_dir():
            raise OutputError(f"can't write to {path}: {parent} is a file, not a folder; choose another place")
    occupied = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if occupied and not overwrite:
        raise OutputError(f"{path} exists already: choose another place, or add --overwrite to replace it")
