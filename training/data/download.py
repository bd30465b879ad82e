"""A public data set: downloaded, checked, unpacked, then moved into place."""

import http.client
import re
import stat
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from overfly.runtime.errors import DownloadError, OutputError, OverflyError
from overfly.runtime.files.atomic import atomic_folder, check_overwrite, remove_leftovers, sha256_file
from overfly.runtime.reporter import SILENT, Reporter

_TIMEOUT_S = 30
_CHUNK_BYTES = 1 << 18
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip file that its hash identifies, wherever it comes from.

    Attributes
    ----------
    url
        Where it is published.
    sha256, size_bytes
        Of the file.
    images
        The folder inside it that holds one folder for each class.
    """

    url: str
    sha256: str
    size_bytes: int
    images: str


# Yang and Newsam, "Bag-of-visual-words and spatial extensions for land-use classification", ACM SIGSPATIAL GIS 2010.
ARCHIVES = {
    "ucmerced": Archive(
        url="http://weegee.vision.ucmerced.edu/datasets/UCMerced_LandUse.zip",
        sha256="06c539ef28703a58fb07bd2837991ac7c48b813b00bb12ac197efd813a18daeb",
        size_bytes=332_468_434,
        images="UCMerced_LandUse/Images",
    ),
}


def fetch(archive: Archive, out: Path, *, overwrite: bool = False, reporter: Reporter = SILENT) -> Path:
    """Download an archive and unpack it.

    What was downloaded before an interruption is in ``<out>.zip.part`` beside `out`; the next call goes on there.

    Parameters
    ----------
    archive
        What to download.
    out
        The folder to make. It appears when it is complete.
    overwrite
        Replace what is there, once the new one is complete.
    reporter
        Hears of progress.

    Returns
    -------
    Path
        The folder in `out` that holds one folder for each class.

    Raises
    ------
    DownloadError
        When the archive can't be had, is another file, or holds something that must not be unpacked.
    OutputError
        When `out` exists, or can't be written.
    """
    check_overwrite(out, overwrite=overwrite)
    part = out.absolute().with_name(f"{out.name}.zip.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        _download(archive, part, partial(reporter.progress, "downloading (MiB)"))
        _verify(archive, part)
        remove_leftovers(out)
        with atomic_folder(out, overwrite=overwrite) as folder:
            _unpack(archive, part, folder, partial(reporter.progress, "unpacking"))
    except OSError as error:
        if isinstance(error, OverflyError):
            raise
        kept = f"what was downloaded is kept in {part}: " if part.is_file() else ""
        raise OutputError(
            f"can't write {out}: {error.strerror or error}; {kept}"
            "check the path, the rights and the space on the disk, and run the same command again to go on"
        ) from error
    with suppress(OSError):  # the data are there; what is left over does no harm
        part.unlink()
    return out / archive.images


class _NetworkError(Exception):
    """The server can't be reached, or does not send what it was asked for."""


@contextmanager
def _network() -> Iterator[None]:
    """Inside the block every error is one of the network, not of the disk."""
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _NetworkError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _download(archive: Archive, part: Path, progress: Callable[[int, int], None]) -> None:
    """Bring `part` to the archive's size, going on after every cut for as long as something more arrives."""
    while (before := _size(part)) < archive.size_bytes:
        problem = "the server sent too little"
        try:
            _append(archive, part, progress)
        except _NetworkError as error:
            problem = str(error)
        if _size(part) <= before:
            raise DownloadError(
                f"{archive.url} can't be downloaded ({problem}), at {before:,} of {archive.size_bytes:,} bytes: "
                "run the same command again to go on, or name another place of the same file with --url"
            )


def _append(archive: Archive, part: Path, progress: Callable[[int, int], None]) -> None:
    """Ask for what is missing of `part` and write it as it arrives."""
    start = _size(part)
    with _network():
        request = urllib.request.Request(archive.url, headers={"Range": f"bytes={start}-"})  # noqa: S310 - cli/fetch.py
        opened = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310 - takes http and https alone
    with opened as response:
        start = _first_byte(response, start)
        _refuse_other_size(archive, response, start)
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            # Never more than expected, whatever the server says of itself.
            while chunk := _read(response, min(_CHUNK_BYTES, archive.size_bytes - stream.tell())):
                stream.write(chunk)
                progress(stream.tell() // _MEBIBYTE, archive.size_bytes // _MEBIBYTE)


def _first_byte(response: http.client.HTTPResponse, asked: int) -> int:
    """Return where in the file an answer begins: where it was asked for, or at 0 if the server can't go on.

    Raises
    ------
    _NetworkError
        When it is elsewhere.
    """
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    told = response.headers.get("Content-Range", "bytes 0-")
    if not re.match(rf"bytes {asked}-", told, re.IGNORECASE):
        raise _NetworkError("the server sent another part than it was asked for")
    return asked


def _read(response: http.client.HTTPResponse, n_bytes: int) -> bytes:
    """Return the next bytes of an answer."""
    with _network():
        return response.read(n_bytes)


def _refuse_other_size(archive: Archive, response: http.client.HTTPResponse, start: int) -> None:
    """Raise when the server says that its file has another length: it is another file."""
    length = response.headers.get("Content-Length")
    if length is not None and length.isdecimal() and start + int(length) != archive.size_bytes:
        raise DownloadError(
            f"{archive.url} is another file: found {start + int(length):,} bytes, expected {archive.size_bytes:,}; "
            "name another place of the original with --url"
        )


def _verify(archive: Archive, part: Path) -> None:
    """Raise, and delete the file, when it is not the archive."""
    found = sha256_file(part)
    if found != archive.sha256:
        part.unlink()
        raise DownloadError(
            f"{archive.url} is another file: found the SHA-256 {found}, expected {archive.sha256}; it was deleted: "
            "try again, or name another place of the original with --url"
        )


def _unpack(archive: Archive, part: Path, folder: Path, progress: Callable[[int, int], None]) -> None:
    """Unpack into `folder`, after a look at every name."""
    try:
        with zipfile.ZipFile(part) as opened:
            entries = opened.infolist()
            for entry in entries:
                _refuse_outside(archive, entry)
            for done, entry in enumerate(entries, start=1):
                opened.extract(entry, folder)
                progress(done, len(entries))
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DownloadError(f"{archive.url} can't be unpacked ({error}): name another archive") from error
    if not (folder / archive.images).is_dir():
        raise DownloadError(f"{archive.url} holds no folder {archive.images}: name another archive")


def _refuse_outside(archive: Archive, entry: zipfile.ZipInfo) -> None:
    """Raise for an entry that would lead out of the folder that it is unpacked to."""
    name = entry.orig_filename
    leads_out = PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts
    # Windows reads these as a drive, a stream or a separator.
    if leads_out or set(name) & {"\\", ":", "\0"} or stat.S_ISLNK(entry.external_attr >> 16):
        raise DownloadError(
            f"{archive.url} holds {name!r}, which may lead out of the folder: nothing was unpacked; "
            "name another place of the original with --url"
        )


def _size(part: Path) -> int:
    """Return how many bytes are there."""
    return part.stat().st_size if part.exists() else 0
