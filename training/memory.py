"""Memory that a training takes again and again, kept instead of handed back to the system after each step."""

import contextlib
import ctypes

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4


def keep_freed_memory() -> bool:
    """Let the C library keep what this process frees, for the next allocation; return whether it can be told so.

    glibc hands large blocks back to the kernel as soon as they are freed. A training step frees all its activations and
    asks for them again in the next step, and the kernel clears every page of them anew, which can take as long as the
    arithmetic. Other C libraries than glibc are left as they are.
    """
    with contextlib.suppress(OSError, AttributeError, TypeError):
        # A handle of the process itself; without glibc it has no mallopt, or there is no such handle.
        mallopt = ctypes.CDLL(None).mallopt
        # No block by mmap, which is always given back, and no giving back from the heap's end.
        return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, -1))
    return False
