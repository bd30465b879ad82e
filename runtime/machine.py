"""What this machine is: its names, cores and memory."""

import ctypes
import os
import platform
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

MEBIBYTE = 1 << 20  # in bytes

# More threads would only wait for each other.
_MAX_DECODING_THREADS = 8

# Of Windows' winbase.h: the state lasts until it is set again; the system is in use.
_ES_CONTINUOUS = 0x80000000
_ES_SYSTEM_REQUIRED = 0x00000001


def host_name() -> str:
    """Return the machine's network name.

    `platform.node` asks WMI on Windows from Python 3.12 on, which can take 10 s (cpython#112278) or crash (#125315).
    """
    return socket.gethostname()


def system_name(*, terse: bool = False) -> str:
    """Return the operating system and its version; on Windows `platform.platform` would ask WMI as well."""
    if sys.platform == "win32":
        version = sys.getwindowsversion()
        return f"Windows-{version.major}.{version.minor}.{version.build}"
    return platform.platform(terse=terse)  # noqa: TID251 - only where it asks no WMI


def usable_cores() -> int:
    """Return how many logical cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def decoding_threads() -> int:
    """Return how many threads decode images: one for each usable core, at most 8."""
    return min(usable_cores(), _MAX_DECODING_THREADS)


def memory_bytes() -> int | None:
    """Return the size of the machine's memory; None if it is unknown."""
    if sys.platform == "win32":
        # GlobalMemoryStatusEx fills a structure of 64 bytes, whose first number is its size; the total is at offset 8.
        buffer = ctypes.create_string_buffer((64).to_bytes(4, "little"), 64)
        succeeded = ctypes.windll.kernel32.GlobalMemoryStatusEx(buffer)
        return int.from_bytes(buffer.raw[8:16], "little") if succeeded else None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


@contextmanager
def keep_awake() -> Iterator[None]:
    """Keep Windows from going to sleep in the block: nobody touches a laptop that trains or measures.

    Closing the lid still lets it sleep. On other systems do nothing.
    """
    if sys.platform == "win32":
        ctypes.windll.kernel32.SetThreadExecutionState(ctypes.c_uint(_ES_CONTINUOUS | _ES_SYSTEM_REQUIRED))
    try:
        yield
    finally:
        if sys.platform == "win32":
            ctypes.windll.kernel32.SetThreadExecutionState(ctypes.c_uint(_ES_CONTINUOUS))
