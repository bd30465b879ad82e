"""Pictures that arrive in folders, each given once, when it is complete."""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.images.reading import pictures_below

# A copy over a slow network may pause, but hardly this long.
PATIENCE_S = 10.0

# A copy may take the whole space first, and what is not yet written reads as zeros; an uncompressed picture may be
# black at its end as well.
_TAIL_BYTES = 64


@dataclass(slots=True)
class _Seen:
    """What a file looked like: its size and time of change, since when, whether it was given, and in vain for good."""

    stamp: tuple[int, int] | None
    since: float
    delivered: bool = False
    failed: bool = False


class FolderWatch:
    """Looks into folders, as often as it is asked to.

    Parameters
    ----------
    folders
        Where pictures arrive, at any depth.
    patience_s
        Seconds for which a picture that can't be decoded, or ends in zeros, and does not change, may still be
        half-written.
    clock
        Monotonic time in seconds.
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
        """Return the pictures that did not change between the last look and this one, and were not given before.

        One that was given up as undecodable is new again when it changes. A folder that is away for a while, as
        network folders may be, comes back with its pictures known.
        """
        before, self._seen = self._seen, {}
        take_ready = []
        for path in (path for folder in self._folders for path in pictures_below(folder)):
            stamp = _stamp(path)
            seen = before.get(path)
            if seen is None or (seen.stamp != stamp and (seen.failed or not seen.delivered)):
                seen = _Seen(stamp, self._clock())
            elif not seen.delivered and not (self._may_go_on(seen) and _ends_in_zeros(path)):
                seen.delivered = True
                take_ready.append(path)
            self._seen[path] = seen
        away = [folder for folder in self._folders if not folder.is_dir()]
        for path, seen in before.items():
            if any(folder in path.parents for folder in away):
                self._seen[path] = seen
        return take_ready

    def retry_later(self, path: Path) -> bool:
        """Take back a picture that could not be decoded, to be given again; False when it has had its time."""
        seen = self._seen[path]
        seen.delivered = seen.failed = not self._may_go_on(seen)
        return not seen.delivered

    def _may_go_on(self, seen: _Seen) -> bool:
        """Whether a file changed so lately that it may still be written to."""
        return self._clock() - seen.since < self._patience_s


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes while a file is written; None for what can't be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _ends_in_zeros(path: Path) -> bool:
    """Whether the last bytes of a file are zeros."""
    with suppress(OSError), path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - _TAIL_BYTES))
        return not any(stream.read())
    return False
