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


NO_WSL_GPU = (
    "WSL has no /dev/dxg, so Windows does not share its GPU; install Intel's graphics driver on Windows, then run  "
    "wsl --update  and  wsl --shutdown"
)
NO_LOADER = (
    "the OpenCL loader libOpenCL.so.1 is missing; on Debian or Ubuntu run  "
    "sudo apt install ocl-icd-libopencl1 intel-opencl-icd"
)
NO_DRIVER = (
    "there is an OpenCL loader but no Intel driver behind it; on Debian or Ubuntu run  "
    "sudo apt install intel-opencl-icd"
)


@pytest.mark.parametrize(
    ("machine", "sentence"),
    [
        ({"wsl": True}, NO_WSL_GPU),
        ({"wsl": True, "dxg": True, "loader": False}, NO_LOADER),
        ({"wsl": True, "dxg": True}, NO_DRIVER),
        ({"loader": False, "nodes": 1}, NO_LOADER),
        (
            {"nodes": 0},
            "there is an OpenCL loader but no render node under /dev/dri: no GPU, or its kernel driver is not loaded",
        ),
        ({"nodes": 2}, NO_DRIVER),
    ],
)
def test_gpu_on_linux(linux, machine, sentence):
    linux(**machine)
    assert explain_absence("GPU") == sentence


@links
@pytest.mark.parametrize(("device", "node"), [("GPU", "_DRI/renderD128"), ("NPU", "_ACCEL/accel128")])
def test_a_device_that_this_user_can_not_open(linux, tmp_path, device, node):
    linux(nodes=2, readable=False)
    assert explain_absence(device) == (
        f"{tmp_path / node} can't be opened; run  sudo usermod -aG render $USER  and log in again"
    )


@pytest.mark.parametrize(("nodes", "remedy"), [(0, "intel_vpu"), (1, "linux-npu-driver")])
def test_npu_on_linux(linux, nodes, remedy):
    linux(nodes=nodes)
    assert remedy in explain_absence("NPU")


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
