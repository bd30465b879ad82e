"""SIGTERM as Ctrl-C: a batch system, or a machine that shuts down, sends it before it ends a process by force."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_on_sigterm() -> Iterator[None]:
    """Inside the block, let SIGTERM raise KeyboardInterrupt.

    If the process ignores it, it stays ignored. Outside the main thread, where Python allows no handlers, nothing
    changes.
    """
    is_main = threading.current_thread() is threading.main_thread()
    # None is a handler that was not set by Python, so Python could not restore it.
    previous = signal.getsignal(signal.SIGTERM) if is_main else None
    if previous in {None, signal.SIG_IGN}:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
