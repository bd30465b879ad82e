"""What the machine has is read from the system, and agrees with other ways to ask."""

import ctypes
import os
import platform
import socket
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from overfly.runtime.machine import (
    decoding_threads,
    host_name,
    keep_awake,
    memory_bytes,
    system_name,
    usable_cores,
)


def test_cores_are_those_that_this_process_may_use():
    assert 1 <= usable_cores() <= os.cpu_count()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux can bind a process to cores")
def test_a_process_bound_to_one_core_has_one():
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_no_name_of_the_machine_asks_windows_management(monkeypatch):
    """Windows' WMI can take seconds or crash, and `platform.node` and `platform.platform` ask it there."""

    def ask_wmi(*_arguments, **_options):
        raise AssertionError

    monkeypatch.setattr(platform, "uname", ask_wmi)
    assert host_name() == socket.gethostname()
    monkeypatch.setattr(sys, "platform", "win32")
    version = SimpleNamespace(major=10, minor=0, build=22631)
    monkeypatch.setattr(sys, "getwindowsversion", lambda: version, raising=False)
    assert system_name() == "Windows-10.0.22631"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked in another way")
def test_the_system_is_named_as_python_names_it():
    assert system_name() == platform.platform()  # noqa: TID251
    assert system_name(terse=True) == platform.platform(terse=True)  # noqa: TID251


@pytest.mark.parametrize(("n_cores", "n_threads"), [(1, 1), (4, 4), (8, 8), (64, 8)])
def test_images_are_decoded_on_every_core_up_to_eight(monkeypatch, n_cores, n_threads):
    monkeypatch.setattr("overfly.runtime.machine.usable_cores", lambda: n_cores)
    assert decoding_threads() == n_threads


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="compares with /proc/meminfo")
def test_memory_is_what_the_kernel_says():
    total = next(line for line in Path("/proc/meminfo").read_text("ascii").splitlines() if line.startswith("MemTotal:"))
    assert memory_bytes() == int(total.split()[1]) * 1024


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked in another way")
def test_memory_that_the_system_does_not_tell_is_none(monkeypatch):
    def fail(name):
        raise ValueError(name)

    monkeypatch.setattr(os, "sysconf", fail)
    assert memory_bytes() is None


def test_windows_is_kept_awake_until_the_block_ends_also_by_an_error(monkeypatch):
    states = []
    kernel32 = SimpleNamespace(SetThreadExecutionState=lambda state: states.append(state.value))
    monkeypatch.setattr(ctypes, "windll", SimpleNamespace(kernel32=kernel32), raising=False)
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(KeyError), keep_awake():  # noqa: PT012 - both are the test
        assert states == [0x80000001]
        raise KeyError
    assert states == [0x80000001, 0x80000000]


def test_elsewhere_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    with keep_awake():
        pass
