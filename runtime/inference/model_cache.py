"""Compiled models kept between runs, in the user's cache folder, never in the working directory.

Each is one file, ``<key>.blob``: the SHA-256 of the rest, then what the device exported. The digest makes a damaged
file as good as none, and the rename at the end of every write lets processes share the folder.
"""

import hashlib
import os
import sys
from contextlib import suppress
from pathlib import Path

from overfly.runtime.files.atomic import write_atomically

# A MobileNetV2 takes 3 to 10 MB for each device and setting: room for some hundred.
MODEL_CACHE_LIMIT_BYTES = 1 << 30

_DIGEST_BYTES = hashlib.sha256().digest_size


def user_cache_folder() -> Path:
    """Return overfly's own folder among the user's caches; it may not exist yet.

    ``OVERFLY_CACHE`` overrides the operating system's place (``%LOCALAPPDATA%``,
    ``~/Library/Caches``, or ``$XDG_CACHE_HOME``, by default ``~/.cache``). Of the operating system's,
    a relative path does not count, as the XDG specification has it: it would lead into the working folder.

    Raises
    ------
    RuntimeError
        When no variable says where, and the user has no home.
    """
    if override := os.environ.get("OVERFLY_CACHE"):
        return Path(override)
    if sys.platform == "win32":
        base = _absolute("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = _absolute("XDG_CACHE_HOME") or Path.home() / ".cache"
    return base / "overfly"


def _absolute(variable: str) -> Path | None:
    """Return the absolute path that an environment variable holds, if it does."""
    path = Path(os.environ.get(variable, ""))
    return path if path.is_absolute() else None


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
