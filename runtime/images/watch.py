"""Watch folders for new images and return each once, when it is complete.

The folders are listed again and again, because notifications of the operating system do not cover network folders.
"""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.images.discovery import images_below

# A copy over a slow network may pause, but hardly for longer.
PATIENCE_S = 10.0

# Some programs reserve the whole space of a file before they write it: the part that is not written yet reads as zeros.
# An uncompressed image may end in black pixels, too.
_TAIL_BYTES = 64


@dataclass(slots=True)
class _Seen:
    """What is known of a file.

    Attributes
    ----------
    stamp
        Its size, its time of change and its last bytes at the last look; None if it had no size. The last bytes are
        None if it could not be opened.
    since
        The clock's time when this stamp was seen first.
    delivered
        Whether the file was returned by `take_ready`, and not taken back.
    failed
        Whether it was given up because it can't be decoded.
    """

    stamp: tuple[int, int, bytes | None] | None
    since: float
    delivered: bool = False
    failed: bool = False


class FolderWatch:
    """Find new images in folders; `take_ready` is called repeatedly.

    Parameters
    ----------
    folders
        The folders to watch, with all folders below them.
    patience_s
        An image that can't be decoded, or that ends in zeros, may be incomplete until it has not changed for this
        many seconds.
    clock
        Returns monotonic time in seconds; tests pass their own.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        *,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folders = folders
        self._patience_s = patience_s
        self._clock = clock
        self._seen: dict[Path, _Seen] = {}

    def take_ready(self) -> list[Path]:
        """Return the images that are complete and were not returned before.

        An image is complete if it did not change between the previous look and this one. An image that was given
        up as unreadable is new again when it changes or can be opened. The images of a folder that disappears for a
        while, as network folders may, are still known when it comes back.
        """
        images = list(dict.fromkeys(path for folder in self._folders for path in images_below(folder)))
        self._forget_deleted(images)
        ready = []
        for path in images:
            if self._update(path):
                continue
            seen = self._seen[path]
            if not seen.delivered and not (self._may_be_incomplete(seen) and _ends_in_zeros(seen)):
                seen.delivered = True
                ready.append(path)
        return ready

    def retry_later(self, path: Path) -> bool:
        """Take back an image that could not be decoded, so that `take_ready` returns it again.

        Returns False if the image has not changed for `patience_s`: then it is given up until it changes.
        """
        seen = self._seen[path]
        seen.delivered = seen.failed = not self._may_be_incomplete(seen)
        return not seen.delivered

    def _forget_deleted(self, images: Sequence[Path]) -> None:
        """Drop what is known of files that are gone, unless a folder that holds them can't be listed now.

        Not every file system lists all files of a folder that changes meanwhile, so a missing file is looked up.
        """
        there = set(images)  # also the folders that can't be listed
        self._seen = {
            path: seen
            for path, seen in self._seen.items()
            if path in there or not there.isdisjoint(path.parents) or os.path.lexists(path)
        }

    def _update(self, path: Path) -> bool:
        """Note what a file looks like now; return whether it is new or has changed.

        A change does not matter after the file was delivered, unless it was given up.
        """
        seen = self._seen.get(path)
        if seen is not None and seen.delivered and not seen.failed:
            return False
        stamp = _stamp(path)
        if seen is not None and seen.stamp == stamp:
            return False
        self._seen[path] = _Seen(stamp, self._clock())
        return True

    def _may_be_incomplete(self, seen: _Seen) -> bool:
        """Whether a file changed so recently that another process may still be writing it."""
        return self._clock() - seen.since < self._patience_s


def _stamp(path: Path) -> tuple[int, int, bytes | None] | None:
    """Return what changes while a file is written: its size, its time of change, and its last bytes.

    On Windows a program may keep others from opening a file for as long as it writes it. None if it has no size.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, _last_bytes(path)


def _ends_in_zeros(seen: _Seen) -> bool:
    """Whether the last bytes of a file were zeros at the last look."""
    return seen.stamp is not None and seen.stamp[2] is not None and not any(seen.stamp[2])


def _last_bytes(path: Path) -> bytes | None:
    """Return the last bytes of a file; None if it can't be read, or if it is a pipe or a device, which might block."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - _TAIL_BYTES))
            return stream.read()
    except OSError:
        return None
