"""Download a public data set, verify it, unpack it, and move it into place."""

import http.client
import re
import urllib.request
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from overfly.runtime.errors import DownloadError, OutputError, OverflyError
from overfly.runtime.files.atomic import atomic_folder
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.files.output_guards import check_overwrite
from overfly.runtime.files.replacing import remove, remove_leftovers
from overfly.runtime.machine import MEBIBYTE, keep_awake
from overfly.runtime.reporter import SILENT, Progress, Reporter
from overfly.training.data.archives import Archive

_TIMEOUT_S = 30
_CHUNK_BYTES = 1 << 18


def fetch(archive: Archive, out: Path, *, overwrite: bool = False, reporter: Reporter = SILENT) -> Path:
    """Download an archive and unpack it.

    After an interruption, the next call resumes from the file ``<out>.zip.part`` next to `out`.

    Parameters
    ----------
    archive
        What to download.
    out
        The folder to make. It appears only once it is complete.
    overwrite
        Replace an existing `out` once the new one is complete.
    reporter
        Progress is reported to it.

    Returns
    -------
    Path
        The folder in `out` that has one folder per class.

    Raises
    ------
    DownloadError
        If the archive can't be downloaded, or is another file than expected.
    OutputError
        If `out` exists, or can't be written.
    """
    check_overwrite(out, overwrite=overwrite)
    part = out.absolute().with_name(f"{out.name}.zip.part")
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with keep_awake():
            _download(archive, part, partial(reporter.progress, "downloading (MiB)"))
        _verify(archive, part)
        remove_leftovers(out)
        with atomic_folder(out, overwrite=overwrite) as folder, zipfile.ZipFile(part) as opened:
            entries = opened.infolist()
            for done, entry in enumerate(entries, start=1):
                opened.extract(entry, folder)
                reporter.progress("unpacking", done, len(entries))
    except OSError as error:
        if isinstance(error, OverflyError):
            raise
        kept = f"the download so far is kept in {part}: " if part.is_file() else ""
        raise OutputError(
            f"can't write {out}: {error.strerror or error}; {kept}"
            "check the path, the permissions and the free disk space, then run the same command again to resume"
        ) from error
    with suppress(OSError):  # the data set is complete; a leftover download does no harm
        remove(part)
    return out / archive.images


class _NetworkError(Exception):
    """The server can't be reached, or sends something else than requested."""


@contextmanager
def _explain_network_errors() -> Iterator[None]:
    """Turn every error inside the block into a `_NetworkError`, to tell it from an error of the disk."""
    try:
        yield
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise _NetworkError(str(getattr(error, "reason", error)) or type(error).__name__) from error


def _download(archive: Archive, part: Path, progress: Progress) -> None:
    """Complete `part`: after each lost connection request the remainder, as long as more bytes arrive."""
    while (before := _size(part)) < archive.size_bytes:
        problem = "the server sent too little"
        try:
            _append(archive, part, progress)
        except _NetworkError as error:
            problem = str(error)
        if _size(part) <= before:
            raise DownloadError(
                f"{archive.url} can't be downloaded ({problem}), stopped at {before:,} of {archive.size_bytes:,} "
                "bytes: run the same command again to resume, or give another URL of the same file with --url"
            )


def _append(archive: Archive, part: Path, progress: Progress) -> None:
    """Request the remainder of `part` and write it as it arrives."""
    start = _size(part)
    with _explain_network_errors():
        request = urllib.request.Request(archive.url, headers={"Range": f"bytes={start}-"})  # noqa: S310 - cli/fetch.py
        opened = urllib.request.urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310 - accepts http and https only
    with opened as response:
        start = _first_byte(response, start)
        _check_size(archive, response, start)
        with part.open("r+b" if start else "wb") as stream:
            stream.seek(start)
            while True:
                with _explain_network_errors():
                    # Never more than expected, whatever the server announces.
                    chunk = response.read(min(_CHUNK_BYTES, archive.size_bytes - stream.tell()))
                if not chunk:
                    return
                stream.write(chunk)
                progress(stream.tell() // MEBIBYTE, archive.size_bytes // MEBIBYTE)


def _first_byte(response: http.client.HTTPResponse, requested: int) -> int:
    """Return where in the file a response begins: at the byte requested, or at 0 if the server can't resume.

    Raises
    ------
    _NetworkError
        If it begins elsewhere.
    """
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    content_range = response.headers.get("Content-Range", "bytes 0-")
    if not re.match(rf"bytes {requested}-", content_range, re.IGNORECASE):
        raise _NetworkError("the server sent another part than requested")
    return requested


def _check_size(archive: Archive, response: http.client.HTTPResponse, start: int) -> None:
    """Raise a DownloadError if the server announces another size than the archive's."""
    length = response.headers.get("Content-Length")
    if length is not None and length.isdecimal() and start + int(length) != archive.size_bytes:
        raise DownloadError(
            f"{archive.url} is another file: found {start + int(length):,} bytes, expected {archive.size_bytes:,}; "
            "give a URL of the original file with --url"
        )


def _verify(archive: Archive, part: Path) -> None:
    """Delete the file and raise a DownloadError if its hash is not the archive's."""
    found = sha256_file(part)
    if found != archive.sha256:
        remove(part)
        raise DownloadError(
            f"{archive.url} is another file: found SHA-256 {found}, expected {archive.sha256}; the download was "
            "deleted: try again, or give a URL of the original file with --url"
        )


def _size(part: Path) -> int:
    """Return the number of bytes downloaded so far."""
    return part.stat().st_size if part.exists() else 0
