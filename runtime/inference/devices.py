"""The devices that OpenVINO has on this machine, by OpenVINO's own names."""

import logging
import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import openvino as ov

from overfly.runtime.errors import DeviceError
from overfly.runtime.inference.diagnosis import explain_absence
from overfly.runtime.inference.opencl import driver_version
from overfly.runtime.machine import memory_bytes, system_name, usable_cores

# OpenVINO's devices that pass the work on to other devices.
META_DEVICES = ("AUTO", "HETERO", "BATCH", "MULTI")
_LOGGER = logging.getLogger(__name__)

# OpenVINO accepts both names of the first GPU, but lists one of them.
_OTHER_NAME = {"GPU": "GPU.0", "GPU.0": "GPU"}


@dataclass(frozen=True, slots=True)
class Device:
    """One device.

    Attributes
    ----------
    name
        OpenVINO's name, such as ``GPU`` or ``GPU.0``.
    full_name
        The driver's name of it; ends in ``(emulated)`` if an OpenCL layer replaces the driver.
    kind
        ``integrated`` or ``discrete``.
    driver
        The version of the GPU's or NPU's driver; None if it is unknown.
    memory_bytes
        The memory that the device can use; None if it is unknown.
    capabilities
        Number formats it computes in fast, such as ``FP16`` and ``INT8``.
    default_precision
        The execution precision that it chooses itself, such as ``f16``.
    """

    name: str
    full_name: str
    kind: str
    driver: str | None
    memory_bytes: int | None
    capabilities: tuple[str, ...]
    default_precision: str


@cache
def core() -> ov.Core:
    """Return the process's one OpenVINO core: making one loads every plugin's library."""
    return ov.Core()


def list_devices() -> list[Device]:
    """Return every device that OpenVINO has here, CPU first."""
    return [describe(name) for name in core().available_devices]


def describe(name: str) -> Device:
    """Return the properties of the physical device `name`."""
    kind = _property(name, "DEVICE_TYPE")
    precision = _property(name, "INFERENCE_PRECISION_HINT")
    memory = (
        memory_bytes()
        if name == "CPU"
        else _property(name, "GPU_DEVICE_TOTAL_MEM_SIZE") or _property(name, "NPU_DEVICE_TOTAL_MEM_SIZE")
    )
    driver = driver_version(full_name(name)) if name.startswith("GPU") else _property(name, "NPU_DRIVER_VERSION")
    capabilities = (str(c) for c in _property(name, "OPTIMIZATION_CAPABILITIES") or ())
    return Device(
        name=name,
        full_name=full_name(name),
        kind="unknown" if kind is None else str(kind).rpartition(".")[2].lower(),
        driver=None if driver is None else str(driver),
        memory_bytes=None if memory is None else int(memory),
        capabilities=tuple(c for c in capabilities if c in {"FP32", "FP16", "BF16", "INT8", "INT4", "FP8"}),
        default_precision="unknown" if precision is None else precision_name(precision),
    )


def full_name(name: str) -> str:
    """Return the driver's name of a device; the bare name for OpenVINO's meta devices."""
    full = str(_property(name, "FULL_DEVICE_NAME") or name)
    # An OpenCL layer answers instead of the driver, and its speed is not that of a GPU.
    return f"{full} (emulated)" if name.startswith("GPU") and os.environ.get("OPENCL_LAYERS") else full


def resolve_device(name: str) -> str:
    """Return the OpenVINO device to use for what the user asked for.

    Parameters
    ----------
    name
        ``auto`` in lower case (a GPU if OpenVINO has one, else the CPU), a device that OpenVINO lists, or one of
        OpenVINO's meta devices, such as ``AUTO`` or ``HETERO:GPU,CPU``. The devices that a meta device names must
        be there.

    Raises
    ------
    DeviceError
        If the device is absent, with the likely cause for a GPU or NPU, or if `name` is not a string. Another
        device is never used instead.
    """
    if not isinstance(name, str):
        raise DeviceError(f"the device is {name!r}: expected its name, such as 'CPU', or 'auto'")
    # To list the devices, OpenVINO loads the plugin and the driver of each.
    if name.upper() == "CPU":
        return "CPU"
    devices = core().available_devices
    if name == "auto":
        chosen = next((d for d in devices if d.startswith("GPU")), "CPU")
        _LOGGER.info("device auto is %s: found %s", chosen, ", ".join(devices))
        return chosen
    upper = name.upper()
    if is_meta(upper):
        named = _named_by(upper)
        if not named and upper.partition(":")[0] != "AUTO":
            raise DeviceError(f"{upper} names no device: say which, such as {upper.partition(':')[0]}:CPU")
        # OpenVINO would only name a library that it can't load.
        for device in named:
            resolve_device(device)
        return upper
    if upper in devices or _OTHER_NAME.get(upper) in devices:
        return upper
    held = ", ".join(devices)
    kind = upper.partition(".")[0]
    if kind in {"GPU", "NPU"} and not any(device.startswith(kind) for device in devices):
        raise DeviceError(f"no device {upper} here (found: {held}): {explain_absence(kind)}")
    raise DeviceError(f"unknown device {name!r}: found {held}; choose one of them, or auto")


def is_meta(device: str) -> bool:
    """Whether a device is one that passes the work on to other devices."""
    return device.partition(":")[0] in META_DEVICES


def supports(device: str, name: str) -> bool:
    """Whether a device, or for a meta device one of its devices, has a property."""
    devices = [device, *(_named_by(device) or core().available_devices if is_meta(device) else ())]
    return any(name in core().get_property(each.partition(":")[0], "SUPPORTED_PROPERTIES") for each in devices)


def _named_by(meta: str) -> list[str]:
    """Return the devices that a meta device names; none if it chooses them itself."""
    names = meta.partition(":")[2].split(",")
    # BATCH:GPU(4) has the batch size in brackets, and AUTO:-GPU excludes the GPU.
    return [name.partition("(")[0] for name in names if name and not name.startswith("-")]


def precision_name(element_type: Any) -> str:  # noqa: ANN401 - ov.Type, which has no stub
    """Return OpenVINO's short name of an element type, such as ``f32``; ``auto`` if it is dynamic."""
    short = str(element_type.get_type_name())
    return "auto" if short in {"dynamic", "undefined"} else short


def _property(device: str, name: str) -> Any:  # noqa: ANN401 - properties are of any type
    """Return a property; None if the device does not have it or can't read it."""
    try:
        return core().get_property(device, name)
    except (RuntimeError, TypeError):
        return None


def describe_machine() -> str:
    """Return the processor, the usable cores, the memory and the operating system as one line of text."""
    n_cores, memory = usable_cores(), memory_bytes()
    parts = [full_name("CPU"), f"{n_cores} {'core' if n_cores == 1 else 'cores'}"]
    if memory is not None:
        parts.append(f"{memory / 2**30:.0f} GiB")
    return ", ".join([*parts, system_name(terse=True)])
