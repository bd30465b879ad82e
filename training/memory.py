"""Memory of a training step: kept for the next one instead of given back to the system."""

import contextlib
import ctypes
from collections.abc import Iterator

import torch

# Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_MMAP_MAX = -4

# No block by mmap, which is always given back, and nothing given back from the end of the heap.
_KEEP = {_M_MMAP_MAX: 0, _M_TRIM_THRESHOLD: -1}
# glibc's defaults: the number of blocks, and the thresholds that it sets by itself after large blocks were freed.
_GIVE_BACK = {_M_MMAP_MAX: 65_536, _M_MMAP_THRESHOLD: 32 << 20, _M_TRIM_THRESHOLD: 64 << 20}


@contextlib.contextmanager
def keep_freed_memory() -> Iterator[None]:
    """Inside the block, let the C library keep the memory that this process frees, for the next allocation.

    glibc gives large blocks back to the kernel as soon as they are freed. A training step frees all its activations,
    the next step allocates them again, and the kernel clears every page, which can take as long as the arithmetic.
    mallopt(3) documents the options. Other C libraries are not changed.
    """
    _set_malloc_options(_KEEP)
    try:
        yield
    finally:
        _set_malloc_options(_GIVE_BACK)


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that there is too little memory.

    On a CPU, PyTorch raises a plain RuntimeError, and only its text says so (pytorch#20618; the same in 2.13).
    """
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _set_malloc_options(options: dict[int, int]) -> None:
    """Set options of glibc's allocator; do nothing with another C library."""
    # On Windows, CDLL(None) raises TypeError; C libraries other than glibc have no mallopt.
    with contextlib.suppress(OSError, TypeError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in options.items():
            mallopt(parameter, value)
