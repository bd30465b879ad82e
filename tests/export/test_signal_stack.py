"""Signal handlers still work after OpenVINO's cores were destroyed in the order of their creation."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, signal, sys
import openvino as ov
from overfly.export.signal_stack import preserve_signal_stack

def core_with_plugin():
    core = ov.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")
    return core

with preserve_signal_stack() if sys.argv[1] == "preserved" else contextlib.nullcontext():
    first, second = core_with_plugin(), core_with_plugin()
    del first
    del second
signal.signal(signal.SIGTERM, lambda *_: print("handled"))
signal.raise_signal(signal.SIGTERM)
"""


def outcome(how):
    finished = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=False)
    return finished.returncode, finished.stdout


def test_a_signal_is_handled_after_the_block():
    assert outcome("preserved") == (0, "handled\n")


@pytest.mark.skipif(sys.platform != "linux", reason="the stack exists on Linux only")
def test_without_it_openvino_still_loses_the_stack():
    # If this fails, OpenVINO fixed its bug: delete `preserve_signal_stack`.
    assert outcome("not preserved") == (-signal.SIGSEGV, "")
