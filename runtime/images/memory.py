"""Limit how much memory the images take that a process decodes at the same time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from overfly.runtime.machine import memory_bytes

# More than any decoder was seen to take: 4 bytes for Pillow's pixels, 4 for a copy that is turned, and 3 times 2 for 16
# bits.
BYTES_PER_PIXEL = 16
# Images up to 4 megapixels take at most 64 MiB each: as many of them as there are decoding threads always fit.
_SMALL_BYTES = BYTES_PER_PIXEL << 22


class MemoryBudget:
    """Makes threads wait until there is enough memory for what they are about to decode.

    Parameters
    ----------
    n_bytes
        The memory that all of them may take. A single image that needs more is decoded alone.
    """

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes
        self._taken: dict[object, int] = {}
        self._changed = threading.Condition()

    @contextmanager
    def reserve(self, n_bytes: int) -> Iterator[None]:
        """Wait until this many bytes are free, and take them until the end of the block."""
        if n_bytes <= _SMALL_BYTES:
            yield
            return
        n_bytes = min(n_bytes, self._n_bytes)
        block = object()
        try:
            with self._changed:
                self._changed.wait_for(lambda: sum(self._taken.values()) + n_bytes <= self._n_bytes)
                self._taken[block] = n_bytes
            yield
        finally:
            with self._changed:
                # An interrupt may have come before the bytes were taken.
                self._taken.pop(block, None)
                self._changed.notify_all()


# Of all decoding threads of this process. The other half is for models and for images that are decoded already.
DECODING_BUDGET = MemoryBudget((memory_bytes() or 0) // 2)
