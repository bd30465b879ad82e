"""The files of a bundle: in a folder, or in one .zip that is read without being unpacked to disk.

An entry of a .zip can do no harm: its name comes from the manifest, it is never written anywhere, and the reader in
`overfly.runtime.bundle.bundle` stops at the size that the manifest lists.
"""

import stat
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from overfly.runtime.errors import BundleError
from overfly.runtime.files.hashing import CHUNK_BYTES
from overfly.runtime.images.discovery import SYSTEM_NAMES

# What zipfile raises for damaged and encrypted archives, and for compression methods that it does not know.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError)

# The earliest date of the format. With a fixed date, the same files always give the same .zip.
_EPOCH = (1980, 1, 1, 0, 0, 0)


class FolderFiles:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """Return the names of all files and folders in the folder, sorted."""
        return sorted(path.name for path in self._path.iterdir())

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of a file; raise FileNotFoundError if there is no such file."""
        if not (self._path / name).is_file():
            raise FileNotFoundError(name)
        with (self._path / name).open("rb") as stream:
            yield from iter(partial(stream.read, CHUNK_BYTES), b"")


class ZipFiles:
    """The files of a .zip."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def names(self) -> list[str]:
        """Return the names of all entries, sorted."""
        with self._archive() as archive:
            return sorted(archive.namelist())

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the content of an entry; raise FileNotFoundError if there is none, BundleError if it is damaged."""
        with self._archive() as archive:
            if name not in archive.namelist():
                raise FileNotFoundError(name)
            try:
                with archive.open(name) as stream:
                    yield from iter(partial(stream.read, CHUNK_BYTES), b"")
            except _UNREADABLE as error:
                raise BundleError(f"{self._path / name} was altered ({error}): copy the bundle again") from error

    def _archive(self) -> zipfile.ZipFile:
        """Open the archive; raise BundleError if its table of contents is damaged."""
        try:
            return zipfile.ZipFile(self._path)
        except _UNREADABLE as error:
            raise BundleError(f"{self._path} can't be read as a .zip ({error}): copy the bundle again") from error


BundleFiles = FolderFiles | ZipFiles


def open_files(path: Path) -> BundleFiles:
    """Return the files of the bundle at `path`.

    Raises
    ------
    BundleError
        If `path` is neither a folder nor a .zip.
    """
    if path.is_dir():
        return FolderFiles(path)
    if path.is_file() and zipfile.is_zipfile(path):
        return ZipFiles(path)
    found = "a file that is not a complete .zip" if path.exists() else "nothing"
    raise BundleError(f"{path} is not a bundle: found {found}, expected the folder or .zip written by overfly export")


def is_plain_name(name: str) -> bool:
    """Whether a name has no folder in it on any operating system, so that it is a file of the bundle itself."""
    return name == Path(name).name and name not in {"", ".", ".."} and not set(name) & set("\\:\0")


def is_system_name(name: str) -> bool:
    """Whether a name in a bundle is a file or folder that an operating system leaves, such as ``.DS_Store``."""
    return SYSTEM_NAMES.fullmatch(name.partition("/")[0]) is not None


def write_zip(path: Path, folder: Path) -> None:
    """Write the files of `folder` to a .zip without compression: the same files always give the same bytes.

    Compression would hardly shrink weights and images, and its result depends on the version of zlib.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for source in sorted(folder.iterdir()):
            entry = zipfile.ZipInfo(source.name, _EPOCH)
            entry.create_system = 3  # Unix, also when written on Windows
            entry.external_attr = (stat.S_IFREG | 0o644) << 16
            entry.file_size = source.stat().st_size  # decides whether the 64-bit form is needed
            with source.open("rb") as stream, archive.open(entry, "w") as target:
                while chunk := stream.read(CHUNK_BYTES):
                    target.write(chunk)
