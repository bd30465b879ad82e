"""The device that PyTorch trains on: its choice, its number format and its name."""

import torch

from overfly.runtime.errors import RunError
from overfly.runtime.inference.devices import describe_machine
from overfly.training.recipe import ACCELERATORS


def choose_device(name: str) -> torch.device:
    """Return the device to train on; ``auto`` takes CUDA if it is available, else XPU, else the CPU.

    Raises
    ------
    RunError
        If the device is not available.
    """
    available = [*(name for name in ACCELERATORS if torch.get_device_module(name).is_available()), "cpu"]
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise RunError(
            f"PyTorch has no device {name!r} on this machine: found {', '.join(available)}; choose one of them, or auto"
        )
    return torch.device(name)


def resolve_precision(precision: str, device: torch.device) -> str:
    """Return ``bf16`` or ``fp32`` for a recipe's precision; ``auto`` is bf16 on a CUDA or XPU device that has it.

    On a CPU, ``auto`` is fp32: the default recipe was measured to be slower in bf16, even with AMX
    (docs/default_recipe.md).
    """
    if precision != "auto":
        return precision
    if device.type == "cpu":
        return "fp32"
    # Emulated bf16 is several times slower than fp32.
    native = torch.get_device_module(device).is_bf16_supported(including_emulation=False)
    return "bf16" if native else "fp32"


def describe_hardware(device: torch.device) -> str:
    """Return the names of the accelerator, if there is one, and of the machine."""
    if device.type == "cpu":
        return describe_machine()
    return f"{torch.get_device_module(device).get_device_name(device)}, {describe_machine()}"
