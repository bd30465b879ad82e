"""Explain why OpenVINO finds no GPU or NPU on this machine, and what to install."""

import os
import sys
from pathlib import Path

from overfly.runtime.inference.opencl import load_library

_DRI = Path("/dev/dri")
_ACCEL = Path("/dev/accel")
_WSL_GPU = Path("/dev/dxg")


def explain_absence(device: str) -> str:
    """Return a sentence with the likely cause and the remedy for an absent ``GPU`` or ``NPU``."""
    if sys.platform == "win32":
        return f"install Intel's current {'graphics' if device == 'GPU' else 'NPU'} driver for Windows and restart"
    if sys.platform == "darwin":
        return "OpenVINO has no GPU or NPU device on macOS; use --device CPU"
    return _explain_linux_gpu() if device == "GPU" else _explain_linux_npu()


def _explain_linux_gpu() -> str:
    """Return the first known cause on Linux; an earlier one hides the later ones."""
    if _is_wsl() and not _WSL_GPU.exists():
        return (
            "WSL has no /dev/dxg, so Windows does not share its GPU; install Intel's graphics driver on Windows, "
            "then run  wsl --update  and  wsl --shutdown"
        )
    if load_library() is None:
        return (
            "the OpenCL loader libOpenCL.so.1 is missing; on Debian or Ubuntu run  "
            "sudo apt install ocl-icd-libopencl1 intel-opencl-icd"
        )
    nodes = sorted(_DRI.glob("renderD*"))
    if not nodes and not _is_wsl():
        return "there is an OpenCL loader but no render node under /dev/dri: no GPU, or its kernel driver is not loaded"
    return _explain_permissions(nodes) or (
        "there is an OpenCL loader but no Intel driver behind it; on Debian or Ubuntu run  "
        "sudo apt install intel-opencl-icd"
    )


def _explain_linux_npu() -> str:
    """Return the first known cause: the kernel driver, the permissions or the user-space driver."""
    nodes = sorted(_ACCEL.glob("accel*"))
    if not nodes:
        return "there is no /dev/accel device: this processor has no NPU, or the intel_vpu kernel driver is not loaded"
    return _explain_permissions(nodes) or (
        "install Intel's linux-npu-driver (level-zero and compiler) for this distribution"
    )


def _explain_permissions(nodes: list[Path]) -> str | None:
    """Return a sentence if there are device nodes but this user can open none of them."""
    if not nodes or any(os.access(node, os.R_OK | os.W_OK) for node in nodes):
        return None
    return f"{nodes[0]} can't be opened; run  sudo usermod -aG render $USER  and log in again"


def _is_wsl() -> bool:
    """Whether this Linux runs under the Windows Subsystem for Linux."""
    return "microsoft" in os.uname().release.lower()
