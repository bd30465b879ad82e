"""The GPU path, on whatever OpenVINO lists as GPU: compiling takes about a minute where there is no real one."""

import json

import numpy as np
import pytest

from overfly.cli import run
from overfly.runtime.bundle import Bundle
from overfly.runtime.devices import list_devices, resolve_device
from overfly.runtime.runner import compile_variant

pytestmark = pytest.mark.gpu


def test_the_gpu_is_listed_with_what_it_can_do(capsys):
    assert run(["devices", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    gpu = next(device for device in answer["devices"] if device["name"].startswith("GPU"))
    assert "Intel" in gpu["full_name"]
    assert {"FP16", "FP32"} <= set(gpu["capabilities"])
    assert gpu["default_precision"] == "f16"
    assert gpu["memory_bytes"] > 0
    assert "GPU" not in answer["absent"]


def test_an_emulated_gpu_is_called_so(monkeypatch):
    monkeypatch.setenv("OPENCL_LAYERS", "layer.so")
    assert next(d for d in list_devices() if d.name.startswith("GPU")).full_name.endswith("(emulated)")
    monkeypatch.delenv("OPENCL_LAYERS")
    assert "(emulated)" not in next(d for d in list_devices() if d.name.startswith("GPU")).full_name


def test_auto_takes_the_gpu():
    assert resolve_device("auto").startswith("GPU")
    assert resolve_device("gpu") == "GPU"


def test_half_precision_on_the_gpu_agrees_with_the_cpu(tiny_bundle, tiny_data, capsys):
    """Through predict, which asks for throughput; the check of the golden answers is among the commands' tests."""
    folder = str(tiny_data / "harbor")
    answers = {}
    for device in ("GPU", "CPU"):
        code = run(["predict", str(tiny_bundle), folder, "--device", device, "--variant", "fp16", "--format", "json"])
        assert code == 0
        answers[device] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    gpu, cpu = ([answer["top"][0]["probability"] for answer in answers[device]] for device in ("GPU", "CPU"))
    np.testing.assert_allclose(gpu, cpu, atol=0.05)
    assert [a["label"] for a in answers["GPU"]] == [a["label"] for a in answers["CPU"]]


def test_f32_on_the_gpu_is_effective_and_close_to_pytorch(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    runner = compile_variant(bundle, variant="fp32", device="GPU")
    assert runner.execution_precision == "f32"
    golden = bundle.golden()
    assert np.abs(runner.logits(golden.images) - golden.logits).max() < 1e-2
