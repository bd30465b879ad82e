"""The stack on which this process hears of signals, Ctrl-C's among them."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _Stack(ctypes.Structure):
    """Linux's ``stack_t``; see sigaltstack(2)."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def preserve_signal_stack() -> Iterator[None]:
    """After the block, let this thread hear of signals where it did before.

    Each `openvino.Core` that loads the CPU plugin makes an alternate signal stack of its own on Linux, and when it goes
    it puts back the one that it found. Of two that go in the order in which they came, the second puts back the first
    one's, which is no longer there: the next signal that Python handles ends the process with a segmentation fault.
    For blocks in which another package makes cores.
    """
    if sys.platform != "linux":
        yield
        return
    sigaltstack = ctypes.CDLL(None).sigaltstack
    before = _Stack()
    sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(before), None)
