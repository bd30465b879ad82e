"""Write files and folders so that a reader finds either the old or the new content, never a part of it."""

import glob
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from overfly.runtime.errors import OutputError, OverflyError

_CHUNK_BYTES = 1 << 20


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` under a temporary name beside `path`, flush it to disk, then rename it."""
    partial = _partial(path)
    try:
        with partial.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def remove_partials(folder: Path) -> None:
    """Delete what a process that was killed within `write_atomically` left in `folder` and below."""
    for partial in folder.rglob(".*.part"):
        partial.unlink()


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
    """Raise if the output `path` lies in the data folder: there it would be taken for a class, or for pictures of one.

    Raises
    ------
    OutputError
        When it does.
    """
    # A link that is replaced counts as what it is, not as what it leads to.
    folder = path.absolute().parent.resolve()
    if data.resolve() in (folder, *folder.parents):
        raise OutputError(
            f"can't write to {path}: it is inside the data folder {data}, where each folder is a class; "
            "choose another --out"
        )


def remove_leftovers(path: Path) -> None:
    """Delete what a process that was killed within `atomic_folder` left beside `path`."""
    path = path.absolute()
    # What `_partial` makes, and nothing with a longer name.
    for rest in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 16}.part"):
        remove(rest)


def check_overwrite(path: Path, *, overwrite: bool) -> None:
    """Raise unless `path` may be written: it is absent, an empty folder, or `overwrite` is set.

    What an interrupted `replace_folder` had moved aside is put back first.

    Raises
    ------
    OutputError
        When something is there already, a parent of `path` is a file, `path` is the current or the topmost
        folder, or the system refuses the name.
    """
    if not path.absolute().name:
        raise OutputError(f"can't write to {path}: it is the topmost folder; choose another place")
    with explain_os_errors(path):
        restore_replaced(path)
        _refuse_existing(path, overwrite=overwrite)


def _refuse_existing(path: Path, *, overwrite: bool) -> None:
    """Raise unless `path` may be written."""
    if path.absolute() == Path.cwd():
        raise OutputError(f"can't write to {path}: it is the current folder; choose another place")
    for parent in path.absolute().parents:
        if parent.exists() and not parent.is_dir():
            raise OutputError(f"can't write to {path}: {parent} is a file, not a folder; choose another place")
    occupied = path.exists() and not (path.is_dir() and not any(path.iterdir()))
    if occupied and not overwrite:
        raise OutputError(f"{path} exists already: choose another place, or add --overwrite to replace it")


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
        partial = _partial(path)
        partial.mkdir()
    try:
        yield partial
    finally:
        shutil.rmtree(partial, ignore_errors=True)


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
    """Delete what was moved aside, under another name: killed on the way, the rest must not be put back."""
    if os.path.lexists(aside):
        waste = _partial(aside)
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


def _partial(path: Path) -> Path:
    """Return a name beside `path` that no one else uses; tempfile's own makers would not heed the process's umask."""
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
