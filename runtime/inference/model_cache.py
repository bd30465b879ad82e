"""Compiled models kept between runs, in the user's cache folder, never in the working directory.

Each is one file, ``<key>.blob``: the SHA-256 of the rest, then what the device exported. A file with the wrong
digest is deleted and counts as missing. Files are renamed into place, so processes can share the folder.

OpenVINO's own ``CACHE_DIR`` is not enough: it has no size limit, and it loads a file whose weights were damaged and
returns wrong answers without an error (seen in 2026.4.1).
"""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path

from overfly.runtime.files.atomic import write_atomically

# A MobileNetV2 takes 3 to 10 MB for each device and setting: room for some hundred.
MODEL_CACHE_LIMIT_BYTES = 1 << 30

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
    """Return what was kept under `key`; None when there is nothing, or nothing whole, or no readable cache.

    Parameters
    ----------
    key
        A plain file name, such as a hash.
    """
    try:
        path = model_cache_folder() / f"{key}.blob"
        content = path.read_bytes()
        blob = content[_DIGEST_BYTES:]
        if hashlib.sha256(blob).digest() != content[:_DIGEST_BYTES]:
            path.unlink(missing_ok=True)
            return None
    except (OSError, RuntimeError):
        return None
    with suppress(OSError):  # a cache that others filled may be read-only
        os.utime(path)  # the time of the last use, by which the oldest go first
    return blob


def keep_blob(key: str, blob: bytes, *, limit_bytes: int = MODEL_CACHE_LIMIT_BYTES) -> None:
    """Keep `blob` under `key`, and drop those not used for longest until all fit into `limit_bytes`.

    A cache that can't be written, for want of a home, a right or space, only costs the time to
    compile again: it stops nothing.
    """
    try:
        folder = model_cache_folder()
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / f"{key}.blob", hashlib.sha256(blob).digest() + blob)
        _drop_oldest(folder, limit_bytes)
    except (OSError, RuntimeError):
        return


def _drop_oldest(folder: Path, limit_bytes: int) -> None:
    """Delete the blobs used longest ago until the rest take at most `limit_bytes`."""
    blobs = []
    for path in folder.iterdir():
        try:
            status = path.stat()
        except FileNotFoundError:  # another process was faster
            continue
        blobs.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in blobs)
    for _, size, path in sorted(blobs):
        if total <= limit_bytes:
            return
        with suppress(OSError):  # Windows keeps what another process reads
            path.unlink(missing_ok=True)
            total -= size
