"""What a training frees stays with the process, where the C library can be told so."""

import platform
import subprocess
import sys
from unittest.mock import Mock

import pytest

from overfly.training import memory

# Prints the pages that the kernel had to bring in while 80 MB were taken, filled and freed ten times.
SCRIPT = """
import ctypes, resource, sys
from overfly.training.memory import keep_freed_memory

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def take_and_free():
    block = ctypes.c_void_p(libc.malloc(80_000_000))
    ctypes.memset(block, 1, 80_000_000)
    libc.free(block)

if sys.argv[1] == "kept":
    assert keep_freed_memory()
take_and_free()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    take_and_free()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def n_faults(how):
    command = [sys.executable, "-c", SCRIPT, how]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_freed_memory_is_used_again():
    assert n_faults("kept") < n_faults("left") / 10


@pytest.mark.parametrize("failure", [TypeError, OSError, AttributeError])
def test_without_glibc_nothing_changes(monkeypatch, failure):
    # What Windows raises, which has no handle of the process; and other systems, whose C library has no mallopt.
    monkeypatch.setattr(memory.ctypes, "CDLL", Mock(side_effect=failure))
    assert not memory.keep_freed_memory()
