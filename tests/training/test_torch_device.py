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


@pytest.mark.parametrize(
    ("capabilities", "expected"), [({}, "fp32"), ({"avx512_bf16": True}, "fp32"), ({"amx_bf16": True}, "bf16")]
)
def test_auto_computes_in_bf16_where_the_processor_multiplies_matrices_in_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert resolve_precision("auto", CPU) == expected
    assert resolve_precision("fp32", CPU) == "fp32"
    assert resolve_precision("bf16", CPU) == "bf16"


def test_a_cpu_is_described_by_its_machine():
    assert describe_hardware(CPU) == describe_machine()
