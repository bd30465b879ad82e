"""The device to train on and its number format."""

import pytest
import torch

from overfly.runtime.errors import RunError
from overfly.runtime.inference.devices import describe_machine
from overfly.training.torch_device import choose_device, describe_hardware, resolve_precision

CPU = torch.device("cpu")


def test_a_device_that_is_there_is_chosen_and_another_is_an_error():
    assert choose_device("cpu") == torch.device("cpu")
    there = [n for n, m in (("cuda", torch.cuda), ("xpu", torch.xpu)) if m.is_available()]
    assert choose_device("auto").type == (there or ["cpu"])[0]
    for name in {"cuda", "xpu", "mps", "CPU "} - set(there):
        with pytest.raises(RunError) as caught:
            choose_device(name)
        assert str(caught.value) == (
            f"PyTorch has no device {name!r} on this machine: found {', '.join([*there, 'cpu'])}; "
            "choose one of them, or auto"
        )


@pytest.mark.parametrize("has_amx", [False, True])
def test_auto_computes_in_fp32_on_every_cpu(monkeypatch, has_amx):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_amx})
    assert resolve_precision("auto", CPU) == "fp32"
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"


@pytest.mark.parametrize("name", ["cuda", "xpu"])
@pytest.mark.parametrize(("has_bf16", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_computes_in_bf16_on_a_gpu_that_does_not_emulate_it(monkeypatch, name, has_bf16, expected):
    def is_bf16_supported(*, including_emulation=True):
        return has_bf16 or including_emulation

    monkeypatch.setattr(getattr(torch, name), "is_bf16_supported", is_bf16_supported)
    assert resolve_precision("auto", torch.device(name)) == expected


def test_a_cpu_is_described_by_its_machine():
    assert describe_hardware(CPU) == describe_machine()
