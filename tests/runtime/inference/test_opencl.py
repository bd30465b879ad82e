"""The driver's version comes from the OpenCL loader, and where there is none, nothing breaks."""

import ctypes
import sys

import pytest

from overfly.runtime.inference import opencl

IRIS, ARC = 11, 12
TEXTS = {
    IRIS: {opencl._DEVICE_NAME: b"Iris", opencl._DRIVER_VERSION: b"1.2"},
    ARC: {opencl._DEVICE_NAME: b"Arc A770", opencl._DRIVER_VERSION: b"3.4 "},
}


class Loader:
    """Answers like an OpenCL loader with one platform, whose handle is 1, and two GPUs."""

    def clGetPlatformIDs(self, _room, handles, count):  # noqa: N802 - OpenCL's names
        return self._list([1], handles, count)

    def clGetDeviceIDs(self, platform, kind, _room, handles, count):  # noqa: N802
        assert (platform.value, kind.value) == (1, 4)
        return self._list([IRIS, ARC], handles, count)

    def clGetDeviceInfo(self, device, parameter, _room, buffer, size):  # noqa: N802
        text = TEXTS[device.value].get(parameter)
        if text is None:
            return -30
        if buffer is None:
            size._obj.value = len(text) + 1
        else:
            buffer.value = text
        return 0

    def _list(self, found, handles, count):
        if handles is None:
            count._obj.value = len(found)
        else:
            handles[:] = found
        return 0


def test_the_version_is_that_of_the_device_with_that_name(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Loader())
    assert opencl.driver_version("Arc A770 (dGPU)") == "3.4"
    assert opencl.driver_version("Iris (iGPU) (emulated)") == "1.2"
    assert opencl.driver_version("GeForce (dGPU)") is None


def test_a_device_that_does_not_tell_has_none(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: Loader())
    monkeypatch.setitem(TEXTS, IRIS, {opencl._DEVICE_NAME: b"Iris"})
    assert opencl.driver_version("Iris (iGPU)") is None


def test_without_a_loader_there_is_none(monkeypatch):
    def fail(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", fail)
    assert opencl.driver_version("Iris") is None


@pytest.mark.skipif(sys.platform != "linux", reason="the names of shared libraries on Linux")
def test_the_dynamic_loader_is_asked(monkeypatch):
    monkeypatch.setattr(opencl, "_LIBRARY", "libc.so.6")
    assert opencl.load_library() is not None
    monkeypatch.setattr(opencl, "_LIBRARY", "libno_such_library.so.1")
    assert opencl.load_library() is None
