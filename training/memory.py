"""Memory that a training takes again and again, kept instead of handed back to the system after each step."""

import contextlib
import ctypes
from collections.abc import Iterator

import torch

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4

# No block by mmap, which is always given back, and nothing given back from the heap's end.
_KEEP = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}
# glibc's own: its default number of blocks, and the thresholds that it comes to by itself where large blocks are freed.
_GIVE_BACK = {_M_MMAP_MAX: 65_536, _M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20}


@contextlib.contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Inside the block, let the C library keep what this process frees, for the next allocation.

    glibc hands large blocks back to the kernel as soon as they are freed. A training step frees all its activations and
    asks for them again in the next step, and the kernel clears every page of them anew, which can take as long as the
    arithmetic. Other C libraries than glibc are left as they are.
    """
    _tell(_KEEP)
    try:
        yield
    finally:
        _tell(_GIVE_BACK)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether PyTorch could not have the memory that it asked for; of a CPU it says so in words alone."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _tell(options: dict[int, int]) -> None:
    """Set options of the C library's allocator, where there are such."""
    # Windows has no handle of the process itself, and other C libraries no mallopt.
    with contextlib.suppress(OSError, TypeError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in options.items():
            mallopt(parameter, value)
