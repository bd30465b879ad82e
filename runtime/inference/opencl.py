"""Read the version of a GPU's driver from OpenCL, because OpenVINO does not report it."""

import ctypes
import sys
from collections.abc import Callable

_LIBRARY = {"win32": "OpenCL.dll"}.get(sys.platform, "libOpenCL.so.1")

# From the OpenCL specification's cl.h.
_SUCCESS = 0
_DEVICE_TYPE_GPU = 1 << 2
_DEVICE_NAME = 0x102B
_DRIVER_VERSION = 0x102D


def load_library() -> ctypes.CDLL | None:
    """Return the OpenCL loader; None if it is not installed."""
    try:
        return ctypes.CDLL(_LIBRARY)
    except OSError:
        return None


def driver_version(full_name: str) -> str | None:
    """Return the driver version of the first OpenCL GPU whose name is part of `full_name`; None if there is none."""
    library = load_library()
    if library is None:
        return None
    for platform in _handles(library.clGetPlatformIDs):
        for device in _handles(library.clGetDeviceIDs, platform, ctypes.c_uint64(_DEVICE_TYPE_GPU)):
            name = _text(library, device, _DEVICE_NAME)
            if name and name in full_name:
                return _text(library, device, _DRIVER_VERSION) or None
    return None


def _handles(function: Callable[..., int], *arguments: object) -> list[ctypes.c_void_p]:
    """Call a listing function of OpenCL twice: for the number of handles, then for the handles."""
    count = ctypes.c_uint32()
    if function(*arguments, 0, None, ctypes.byref(count)) != _SUCCESS:
        return []
    handles = (ctypes.c_void_p * count.value)()
    if function(*arguments, count, handles, None) != _SUCCESS:
        return []
    return [ctypes.c_void_p(handle) for handle in handles]


def _text(library: ctypes.CDLL, device: ctypes.c_void_p, parameter: int) -> str:
    """Return a text property of a device; empty if the device does not report it."""
    size = ctypes.c_size_t()
    if library.clGetDeviceInfo(device, parameter, 0, None, ctypes.byref(size)) != _SUCCESS:
        return ""
    buffer = ctypes.create_string_buffer(size.value)
    if library.clGetDeviceInfo(device, parameter, size, buffer, None) != _SUCCESS:
        return ""
    return buffer.value.decode(errors="replace").strip()
