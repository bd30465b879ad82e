"""Let Ctrl-C wait until the step is finished and saved."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

# SIGTERM is the first signal from a machine that shuts down, or from a batch system when a job's time is over.
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(slots=True)
class Interruption:
    """Whether this process was asked to stop.

    Attributes
    ----------
    requested
        True after the first signal.
    """

    requested: bool = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; raise KeyboardInterrupt at the second, wherever the process is."""
        del number, frame
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True


@contextmanager
def defer_interrupts() -> Iterator[Interruption]:
    """Inside the block, only note the first SIGINT or SIGTERM.

    A signal that the process ignores stays ignored. Outside the main thread, where Python allows no handlers, nothing
    changes.
    """
    interruption = Interruption()
    previous = {}
    if threading.current_thread() is threading.main_thread():
        previous = {number: signal.getsignal(number) for number in _SIGNALS}
    # None is a handler that was not set by Python, so Python could not restore it.
    previous = {number: handler for number, handler in previous.items() if handler not in {None, signal.SIG_IGN}}
    try:
        for number in previous:
            signal.signal(number, interruption.handle)
        yield interruption
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
