"""The memory that a training frees stays with the process, if the C library is glibc."""

import platform
import subprocess
import sys
from unittest.mock import Mock

import pytest

from overfly.training import memory

# Prints the pages that the kernel had to bring in while 80 MB were taken, filled and freed ten times.
SCRIPT = """
import ctypes, resource
from overfly.training.memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.prctl(41, 1, 0, 0, 0)  # PR_SET_THP_DISABLE: where pages are huge, there are too few of them to be counted

def take_and_free():
    block = ctypes.c_void_p(libc.malloc(80_000_000))
    ctypes.memset(block, 1, 80_000_000)
    libc.free(block)

def n_faults():
    take_and_free()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        take_and_free()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(n_faults())
with keep_freed_memory():
    print(n_faults())
print(n_faults())
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has mallopt")
def test_freed_memory_is_used_again_inside_the_block_only():
    finished = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    before, inside, after = map(int, finished.stdout.split())
    assert before > 10_000
    assert inside < 1_000
    assert after > 10_000


@pytest.mark.parametrize("failure", [TypeError, OSError, AttributeError])
def test_without_glibc_nothing_changes(monkeypatch, failure):
    # What Windows raises, which has no handle of the process; and other systems, whose C library has no mallopt.
    monkeypatch.setattr(memory.ctypes, "CDLL", Mock(side_effect=failure))
    with memory.keep_freed_memory():
        memory.ctypes.CDLL.assert_called_once_with(None)
