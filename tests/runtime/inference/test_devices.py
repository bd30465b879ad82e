"""OpenVINO's devices by OpenVINO's names, and one sentence for those that are not there."""

import openvino as ov
import pytest

from overfly.runtime.errors import DeviceError
from overfly.runtime.inference import devices
from overfly.runtime.inference.devices import (
    core,
    describe,
    describe_machine,
    full_name,
    list_devices,
    precision_name,
    resolve_device,
    supports,
)
from overfly.runtime.machine import memory_bytes


@pytest.fixture
def lacks(request):
    """Skip where the device that must be absent is there."""
    if any(d.startswith(request.param) for d in core().available_devices):
        pytest.skip(f"this machine has a {request.param}")
    return request.param


def test_the_cpu_is_listed_first_and_described():
    first = list_devices()[0]
    assert first.name == "CPU"
    assert first.kind == "integrated"
    assert first.full_name not in {"", "CPU"}
    assert "FP32" in first.capabilities
    assert set(first.capabilities) <= {"FP32", "FP16", "BF16", "INT8", "INT4", "FP8"}
    assert first.default_precision in {"f32", "f16", "bf16"}
    assert first.driver is None
    assert first.memory_bytes == memory_bytes()


def test_every_device_of_openvino_is_listed():
    assert [d.name for d in list_devices()] == list(core().available_devices)


def test_there_is_one_core():
    assert core() is core()


@pytest.mark.parametrize("name", ["CPU", "cpu", "Cpu"])
def test_the_cpu_in_any_case(name):
    assert resolve_device(name) == "CPU"


def test_the_cpu_has_no_number():
    # OpenVINO's core knows the name, but its plugin compiles nothing for it.
    with pytest.raises(DeviceError, match=r"'cpu\.0'.*CPU"):
        resolve_device("cpu.0")


@pytest.mark.parametrize("lacks", ["GPU"], indirect=True)
@pytest.mark.usefixtures("lacks")
def test_auto_is_the_cpu_where_there_is_no_gpu():
    assert resolve_device("auto") == "CPU"


@pytest.mark.parametrize("name", ["AUTO", "AUTO:CPU", "AUTO:-GPU", "BATCH:CPU(4)", "MULTI:CPU", "hetero:cpu"])
def test_meta_devices_are_passed_on(name):
    assert resolve_device(name) == name.upper()


@pytest.mark.parametrize("lacks", ["GPU", "NPU"], indirect=True)
@pytest.mark.parametrize("form", ["{}", "{}.0", "{}.7", "AUTO:{},CPU", "HETERO:CPU,{}", "BATCH:{}(4)"])
def test_an_absent_device_is_an_error_with_a_remedy_and_never_a_fallback(lacks, form, monkeypatch):
    monkeypatch.setattr("overfly.runtime.inference.devices.explain_absence", lambda kind: f"the cause for {kind}")
    name = form.format(lacks)
    held = ", ".join(core().available_devices)
    with pytest.raises(DeviceError) as caught:
        resolve_device(name.lower())
    # Of OpenVINO's own devices the one that they name is what is absent.
    absent = next(part for part in name.replace("(4)", "").replace(",", ":").split(":") if lacks in part)
    assert str(caught.value) == f"no device {absent} here (found: {held}): the cause for {lacks}"


@pytest.mark.parametrize("name", ["TPU", "", "cpu0", "CPU.1", "Auto mobile", "GPUX"])
def test_an_unknown_device_is_an_error_that_lists_those_found(name):
    held = ", ".join(core().available_devices)
    with pytest.raises(DeviceError) as caught:
        resolve_device(name)
    assert str(caught.value) == f"unknown device {name!r}: found {held}; choose one of them, or auto"


def test_properties_are_per_device():
    assert supports("CPU", "PERFORMANCE_HINT")
    assert supports("CPU", "INFERENCE_PRECISION_HINT")
    assert not supports("CPU", "GPU_DISABLE_WINOGRAD_CONVOLUTION")
    assert not supports("CPU", "no such property")


@pytest.mark.parametrize(
    ("element_type", "name"),
    [(ov.Type.f32, "f32"), (ov.Type.bf16, "bf16"), (ov.Type.f16, "f16"), (ov.Type.dynamic, "auto")],
)
def test_precision_names(element_type, name):
    assert precision_name(element_type) == name


def test_a_layer_before_the_driver_is_named(monkeypatch):
    monkeypatch.delenv("OPENCL_LAYERS", raising=False)
    bare = full_name("GPU")
    assert "emulated" not in bare
    monkeypatch.setenv("OPENCL_LAYERS", "layer.so")
    assert full_name("GPU") == f"{bare} (emulated)"
    assert "emulated" not in full_name("CPU")


def test_what_a_device_can_not_tell_is_unknown():
    ghost = describe("NO_SUCH_DEVICE")
    assert (ghost.full_name, ghost.kind, ghost.default_precision) == ("NO_SUCH_DEVICE", "unknown", "unknown")
    assert (ghost.driver, ghost.memory_bytes, ghost.capabilities) == (None, None, ())


@pytest.mark.parametrize("name", ["GPU.1", "gpu.7", "NPU.3"])
def test_another_one_of_a_kind_that_is_there_is_not_called_absent(monkeypatch, name):
    class OneOfEach:
        available_devices = ("CPU", "GPU", "NPU")

    monkeypatch.setattr(devices, "core", OneOfEach)
    with pytest.raises(DeviceError) as caught:
        resolve_device(name)
    assert str(caught.value).startswith(f"unknown device {name!r}: ")
    assert "CPU, GPU, NPU" in str(caught.value)


@pytest.mark.parametrize("name", ["CPU", "cpu"])
def test_the_cpu_needs_no_list_of_devices(monkeypatch, name):
    monkeypatch.setattr(devices, "core", lambda: pytest.fail("the plugins of all devices were loaded"))
    assert resolve_device(name) == "CPU"


@pytest.mark.parametrize("name", [None, 0, b"CPU"])
def test_what_is_no_text_names_no_device(name):
    with pytest.raises(DeviceError) as caught:
        resolve_device(name)
    assert str(caught.value) == f"the device is {name!r}: expected its name, such as 'CPU', or 'auto'"


@pytest.mark.parametrize(("n_cores", "expected"), [(1, "1 core"), (2, "2 cores")])
def test_the_machine_is_one_line_of_text(monkeypatch, n_cores, expected):
    monkeypatch.setattr(devices, "usable_cores", lambda: n_cores)
    monkeypatch.setattr(devices, "memory_bytes", lambda: 8 * 2**30)
    machine = describe_machine()
    assert machine.startswith(f"{full_name('CPU')}, {expected}, 8 GiB, ")
    assert "\n" not in machine
