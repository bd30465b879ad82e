"""Signals are heard after OpenVINO's cores came and went in whatever order."""

import signal
import subprocess
import sys

import pytest

SCRIPT = """
import contextlib, signal, sys
import openvino as ov
from overfly.export.signal_stack import signal_stack_kept

def core_with_plugin():
    core = ov.Core()
    core.get_property("CPU", "FULL_DEVICE_NAME")
    return core

with signal_stack_kept() if sys.argv[1] == "kept" else contextlib.nullcontext():
    first, second = core_with_plugin(), core_with_plugin()
    del first
    del second
signal.signal(signal.SIGTERM, lambda *_: print("heard"))
signal.raise_signal(signal.SIGTERM)
"""


def outcome(how):
    finished = subprocess.run([sys.executable, "-c", SCRIPT, how], capture_output=True, text=True, check=False)
    return finished.returncode, finished.stdout


def test_a_signal_is_heard_after_the_block():
    assert outcome("kept") == (0, "heard\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has that stack")
def test_without_it_openvino_still_loses_the_stack():
    # Once this fails, `preserve_signal_stack` can go.
    assert outcome("not kept") == (-signal.SIGSEGV, "")
