"""Pictures that arrive in folders, each given once, when it is complete."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.images import pictures_below

# A copy over a slow network may pause, but hardly this long.
PATIENCE_S = 10.0


@dataclass(slots=True)
class _Seen:
    """What a file looked like: its size and time of change, since when, and whether it was given."""

    stamp: tuple[int, int] | None
    since: float
    given: bool = False


class FolderWatch:
    """Looks into folders, as often as it is asked to.

    Parameters
    ----------
    folders
        Where pictures arrive, at any depth.
    patience_s
        Seconds for which a picture that can't be decoded, and does not change, may still be half-written.
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

    def settled(self) -> list[Path]:
        """Return the pictures that did not change between the last look and this one, and were not given before."""
        before, self._seen = self._seen, {}
        settled = []
        for path in (path for folder in self._folders for path in pictures_below(folder)):
            stamp = _stamp(path)
            seen = before.get(path)
            if seen is None or (seen.stamp != stamp and not seen.given):
                seen = _Seen(stamp, self._clock())
            elif not seen.given:
                seen.given = True
                settled.append(path)
            self._seen[path] = seen
        return settled

    def put_back(self, path: Path) -> bool:
        """Take back a picture that could not be decoded, to be given again; False when it has had its time."""
        seen = self._seen[path]
        seen.given = self._clock() - seen.since >= self._patience_s
        return not seen.given


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return what changes while a file is written; None for what can't be looked at."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
