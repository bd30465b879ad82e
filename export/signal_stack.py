"""A workaround for OpenVINO, which can leave a thread without the stack for its signal handlers."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator


class _SignalStack(ctypes.Structure):
    """``stack_t`` of Linux; see sigaltstack(2)."""

    _fields_ = (("start", ctypes.c_void_p), ("flags", ctypes.c_int), ("size", ctypes.c_size_t))


@contextlib.contextmanager
def preserve_signal_stack() -> Iterator[None]:
    """After the block, restore the alternate signal stack that this thread had before.

    For blocks in which another package creates an `openvino.Core`. On Linux each core that loads the CPU plugin
    installs an alternate signal stack (class ``SigAltStackSetup``, proposed in openvino#11894), and restores the
    previous one when it is destroyed. If two cores are destroyed in the order of their creation, the second restores
    the stack of the first, which was freed. The next signal that Python handles, such as Ctrl-C's, then ends the
    process with a segmentation fault. Seen with OpenVINO 2026.4.1; a test fails as soon as the bug is fixed.
    """
    if sys.platform != "linux":
        yield
        return
    sigaltstack = ctypes.CDLL(None).sigaltstack
    before = _SignalStack()
    sigaltstack(None, ctypes.byref(before))
    try:
        yield
    finally:
        sigaltstack(ctypes.byref(before), None)
