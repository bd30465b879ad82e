"""Each known cause of an absent GPU or NPU gets its own sentence, with a remedy."""

import os
import sys

import pytest

from overfly.runtime.inference import diagnosis
from overfly.runtime.inference.diagnosis import explain_absence

links = pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")


@pytest.fixture
def linux(tmp_path, monkeypatch):
    """A function that sets up a Linux machine: its loader, its WSL, its device nodes."""

    def machine(*, loader=True, wsl=False, dxg=False, nodes=0, readable=True):
        monkeypatch.setattr(sys, "platform", "linux")
        monkeypatch.setattr(diagnosis, "_is_wsl", lambda: wsl)
        monkeypatch.setattr(diagnosis, "load_library", lambda: object() if loader else None)
        for constant, pattern in (("_DRI", "renderD{}"), ("_ACCEL", "accel{}")):
            folder = tmp_path / constant
            folder.mkdir()
            for i in range(nodes):
                node = folder / pattern.format(128 + i)
                # A dangling link can't be opened by anyone, root included.
                node.touch() if readable else node.symlink_to(tmp_path / "nowhere")
            monkeypatch.setattr(diagnosis, constant, folder)
        monkeypatch.setattr(diagnosis, "_WSL_GPU", tmp_path / "dxg")
        if dxg:
            (tmp_path / "dxg").touch()

    return machine


@pytest.mark.parametrize(
    ("machine", "cause", "remedy"),
    [
        ({"wsl": True}, "WSL has no /dev/dxg", "wsl --update"),
        ({"wsl": True, "dxg": True, "loader": False}, "libOpenCL.so.1 is missing", "ocl-icd-libopencl1"),
        ({"wsl": True, "dxg": True}, "no Intel driver behind it", "intel-opencl-icd"),
        ({"loader": False, "nodes": 1}, "libOpenCL.so.1 is missing", "sudo apt install"),
        ({"nodes": 0}, "no render node under /dev/dri", "kernel driver is not loaded"),
        ({"nodes": 2}, "no Intel driver behind it", "sudo apt install intel-opencl-icd"),
        pytest.param({"nodes": 2, "readable": False}, "renderD128 can't be opened", "usermod -aG render", marks=links),
    ],
)
def test_gpu_on_linux(linux, machine, cause, remedy):
    linux(**machine)
    sentence = explain_absence("GPU")
    assert cause in sentence
    assert remedy in sentence


@pytest.mark.parametrize(
    ("machine", "cause"),
    [
        ({"nodes": 0}, "this processor has no NPU, or the intel_vpu kernel driver is not loaded"),
        ({"nodes": 1}, "install Intel's linux-npu-driver"),
        pytest.param({"nodes": 1, "readable": False}, "accel128 can't be opened", marks=links),
    ],
)
def test_npu_on_linux(linux, machine, cause):
    linux(**machine)
    assert cause in explain_absence("NPU")


@pytest.mark.parametrize(
    ("platform", "device", "remedy"),
    [
        ("win32", "GPU", "install Intel's current graphics driver for Windows"),
        ("win32", "NPU", "install Intel's current NPU driver for Windows"),
        ("darwin", "GPU", "use --device CPU"),
        ("darwin", "NPU", "use --device CPU"),
    ],
)
def test_other_systems(monkeypatch, platform, device, remedy):
    monkeypatch.setattr(sys, "platform", platform)
    assert remedy in explain_absence(device)


def test_this_machine_gets_a_sentence():
    assert all(len(explain_absence(device).split()) > 5 for device in ("GPU", "NPU"))
