"""Ctrl-C that waits for a good moment."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# SIGTERM is what a machine that shuts down, or a job that has used up its time, gets first.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Interruption:
    """Whether somebody wants this process to stop.

    Attributes
    ----------
    asked
        Set by the first signal; the next one raises KeyboardInterrupt wherever the process is.
    """

    asked: bool = False

    def hear(self, number: int, frame: FrameType | None) -> None:
        """Take the first signal as a wish, the next as an order."""
        del number, frame
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def defer_interrupts() -> Iterator[Interruption]:
    """Inside the block SIGINT and SIGTERM are only noted, the first time.

    A signal that the process ignores stays ignored. Outside the main thread, where Python allows no
    handlers, nothing changes.
    """
    interruption = Interruption()
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in _SIGNALS}
    # None stands for a handler that Python did not set and could not put back.
    before = {number: handler for number, handler in before.items() if handler not in {None, signal.SIG_IGN}}
    try:
        for number in before:
            signal.signal(number, interruption.hear)
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
