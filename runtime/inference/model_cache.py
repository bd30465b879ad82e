"""Compiled models kept between runs, in the user's cache folder, never in the working directory.

Each is one file, ``<key>.blob``: the SHA-256 of the rest, then what the device exported. A file with the wrong
digest is deleted and counts as missing. Files are renamed into place, so processes can share the folder.

OpenVINO's own ``CACHE_DIR`` is not enough: it has no size limit, and it loads a file whose weights were damaged and
returns wrong answers without an error (seen in 2026.4.1).
"""

import hashlib
import logging
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from overfly.runtime.files.atomic import write_atomically

# A compiled MobileNetV2 takes 3 to 10 MB, so at least 100 of them fit.
MODEL_CACHE_LIMIT_BYTES = 1 << 30

_LOGGER = logging.getLogger(__name__)

_DIGEST_BYTES = hashlib.sha256().digest_size


def user_cache_folder() -> Path:
    r"""Return overfly's own folder in the user's cache folder; it may not exist yet.

    ``OVERFLY_CACHE`` overrides it. Without it: ``%LOCALAPPDATA%\overfly``, ``~/Library/Caches/overfly``, or
    ``$XDG_CACHE_HOME/overfly`` (by default ``~/.cache/overfly``).

    Raises
    ------
    RuntimeError
        If no variable names a folder and the user has no home folder.
    """
    if override := os.environ.get("OVERFLY_CACHE"):
        return Path(override)
    return user_cache_path("overfly", appauthor=False, opinion=False)


def model_cache_folder() -> Path:
    """Return the folder of the compiled models; it may not exist yet."""
    return user_cache_folder() / "models"


def read_blob(key: str) -> bytes | None:
    """Return the blob that was kept under `key`; None if it is missing or damaged, or the cache can't be read.

    Parameters
    ----------
    key
        A plain file name, such as a hash.
    """
    try:
        path = model_cache_folder() / f"{key}.blob"
        with path.open("rb") as file:
            digest, blob = file.read(_DIGEST_BYTES), file.read()
        if hashlib.sha256(blob).digest() != digest:
            _LOGGER.info("%s is damaged", path)
            path.unlink(missing_ok=True)
            return None
    except (OSError, RuntimeError):
        return None
    with suppress(OSError):  # the cache may be read-only
        os.utime(path)  # `_drop_oldest` deletes by the time of the last use
    return blob


def keep_blob(key: str, blob: bytes, *, limit_bytes: int = MODEL_CACHE_LIMIT_BYTES) -> None:
    """Keep `blob` under `key`, and delete those used longest ago until all fit into `limit_bytes`.

    Do nothing if the cache can't be written: then the model is only compiled again.

    Parameters
    ----------
    key
        A plain file name, such as a hash.
    blob
        What the device exported.
    limit_bytes
        Size that all blobs together may have.
    """
    try:
        folder = model_cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{key}.blob", hashlib.sha256(blob).digest() + blob)
        _drop_oldest(folder, limit_bytes)
    except (OSError, RuntimeError) as error:
        _LOGGER.info("can't keep the compiled model %s: %s", key, error)


def _drop_oldest(folder: Path, limit_bytes: int) -> None:
    """Delete the blobs used longest ago until the others take at most `limit_bytes`."""
    # If another process deletes one at this moment, the next call continues.
    status = {path: path.stat() for path in folder.iterdir()}
    total = sum(each.st_size for each in status.values())
    for path in sorted(status, key=lambda path: status[path].st_mtime):
        if total <= limit_bytes:
            return
        with suppress(OSError):  # on Windows another process may have it open
            path.unlink(missing_ok=True)
            total -= status[path].st_size
