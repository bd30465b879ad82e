"""Where a bundle's files lie: in a folder, or in one .zip that is read without unpacking it anywhere."""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from overfly.runtime.errors import BundleError

# A bundle of VGG16, the largest of the models, takes 1.5 GB.
_MAX_UNPACKED_BYTES = 4 << 30
# Deflate makes weights and pictures a little smaller, and the XML of a network some 20 times. A bomb reaches 1000.
_MAX_RATIO = 200
_MIN_BOMB_BYTES = 1 << 20

# What zipfile raises for damaged archives, encryption and methods that it doesn't know.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)

_CHUNK_BYTES = 1 << 20

# The earliest date that the format knows: what a .zip holds shall decide its bytes, not when it was made.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class BundleFiles(Protocol):
    """The files of a bundle, wherever they are."""

    def names(self) -> list[str]:
        """Return the names of all that is there, sorted."""

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file; raises FileNotFoundError when it is not there."""


class FolderFiles:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """Return the names of all that the folder holds, sorted."""
        return sorted(path.name for path in self._path.iterdir())

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file; what is no file counts as missing."""
        if not (self._path / name).is_file():
            raise FileNotFoundError(name)
        with (self._path / name).open("rb") as stream:
            yield from iter(partial(stream.read, _CHUNK_BYTES), b"")


class ZipFiles:
    """The files of a .zip, read where they are; one that could do harm, or that no bundle needs, is refused."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """Return the names of all entries, sorted."""
        with self._archive() as archive:
            return sorted(archive.namelist())

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of an entry."""
        with self._archive() as archive:
            if name not in archive.namelist():
                raise FileNotFoundError(name)
            try:
                with archive.open(name) as stream:
                    yield from iter(partial(stream.read, _CHUNK_BYTES), b"")
            except _UNREADABLE as error:
                raise BundleError(f"{self._path / name} was altered ({error}): copy the bundle again") from error

    @contextmanager
    def _archive(self) -> Iterator[zipfile.ZipFile]:
        """Open the archive once its table of contents is known to be harmless."""
        try:
            archive = zipfile.ZipFile(self._path)
        except _UNREADABLE as error:
            raise BundleError(f"{self._path} can't be read as a .zip ({error}): copy the bundle again") from error
        with archive:
            if problem := _find_problem(archive.infolist()):
                raise BundleError(f"{self._path} is not a bundle: {problem}; make it with overfly export --zip")
            yield archive


def open_files(path: Path) -> BundleFiles:
    """Return the files of the bundle at `path`.

    Raises
    ------
    BundleError
        When there is neither a folder nor a .zip.
    """
    if path.is_dir():
        return FolderFiles(path)
    if path.is_file() and zipfile.is_zipfile(path):
        return ZipFiles(path)
    found = "a file that is no whole .zip" if path.exists() else "nothing"
    raise BundleError(f"{path} is not a bundle: found {found}, expected the folder or .zip written by overfly export")


def is_plain_name(name: str) -> bool:
    """Whether a name can only be that of a file in the bundle itself, on every operating system."""
    return name == Path(name).name and name not in {"", ".", ".."} and not set(name) & set("\\:\0")


def write_zip(path: Path, folder: Path) -> None:
    """Write the files of `folder` to a .zip, stored as they are: the same files give the same bytes.

    Weights and pictures would hardly shrink, and what deflate makes of them depends on the version of zlib.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for source in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(source.name, _EPOCH)
            entry.create_system = 3  # Unix, also when written on Windows
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.file_size = source.stat().st_size  # decides whether the 64-bit form is needed
            with source.open("rb") as stream, archive.open(entry, "w") as target:
                while chunk := stream.read(_CHUNK_BYTES):
                    target.write(chunk)


def _find_problem(entries: list[zipfile.ZipInfo]) -> str | None:
    """Return what is wrong with a table of contents, in words; None when nothing is."""
    names: set[str] = set()
    for entry in entries:
        if problem := _find_entry_problem(entry):
            return problem
        if entry.filename in names:
            return f"it holds {entry.filename!r} twice"
        names.add(entry.filename)
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > _MAX_UNPACKED_BYTES:
        return f"it unpacks to {unpacked} bytes, expected at most {_MAX_UNPACKED_BYTES}"
    return None


def _find_entry_problem(entry: zipfile.ZipInfo) -> str | None:
    """Return what is wrong with one entry, in words; None when nothing is."""
    name = entry.filename
    if not is_plain_name(name) or stat.S_IFMT(entry.external_attr >> 16) not in {0, stat.S_IFREG}:
        return f"it holds {name!r}, expected plain files that lie in no folder"
    if name.lower().endswith(".zip"):
        return f"it holds another archive, {name!r}"
    if entry.flag_bits & 1:
        return f"its entry {name!r} is encrypted"
    if entry.compress_type not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
        return f"its entry {name!r} is packed by method {entry.compress_type}, expected to be stored or deflated"
    if entry.file_size > max(_MIN_BOMB_BYTES, _MAX_RATIO * entry.compress_size):
        return f"its entry {name!r} unpacks from {entry.compress_size} to {entry.file_size} bytes"
    return None
