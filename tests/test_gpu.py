"""The GPU path end to end, on whatever OpenVINO lists as GPU.

On a real one this takes seconds. An emulated one takes half a minute for each model that it compiles, so the tests
share a small model and a cache.
"""

import json
import os
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from overfly.cli import run
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import hash_files
from overfly.runtime.errors import DeviceError
from overfly.runtime.evaluation.golden_check import check_golden
from overfly.runtime.images.reading import ImageReader
from overfly.runtime.inference import compile as compile_module
from overfly.runtime.inference.compile import compile_variant
from overfly.runtime.inference.devices import list_devices, resolve_device, supports

pytestmark = pytest.mark.gpu

EMULATED = bool(os.environ.get("OPENCL_LAYERS"))


@pytest.fixture(scope="module", autouse=True)
def _one_cache(tmp_path_factory):
    """Give these tests a cache of their own, empty at first."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OVERFLY_CACHE", str(tmp_path_factory.mktemp("gpu-cache")))
        yield


@pytest.fixture(scope="module")
def bundle(gpu_bundle):
    return Bundle.open(gpu_bundle)


def test_the_gpu_is_listed_with_what_it_can_do(capsys):
    assert run(["devices", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    gpu = next(device for device in answer["devices"] if device["name"].startswith("GPU"))
    assert "Intel" in gpu["full_name"]
    assert gpu["kind"] in {"integrated", "discrete"}
    assert {"FP16", "FP32"} <= set(gpu["capabilities"])
    assert gpu["default_precision"] == "f16"
    assert gpu["memory_bytes"] > 0
    assert gpu["driver"]
    assert "GPU" not in answer["absent"]
    assert run(["devices"]) == 0
    assert gpu["full_name"] in capsys.readouterr().out


def test_an_emulated_gpu_is_called_so(monkeypatch):
    monkeypatch.setenv("OPENCL_LAYERS", "layer.so")
    assert next(d for d in list_devices() if d.name.startswith("GPU")).full_name.endswith("(emulated)")
    monkeypatch.delenv("OPENCL_LAYERS")
    assert "(emulated)" not in next(d for d in list_devices() if d.name.startswith("GPU")).full_name


def test_auto_takes_the_gpu():
    assert resolve_device("auto").startswith("GPU")
    assert resolve_device("gpu") == "GPU"


def test_properties_go_only_where_they_belong(bundle):
    assert supports("GPU", "GPU_DISABLE_WINOGRAD_CONVOLUTION")
    assert not supports("CPU", "GPU_DISABLE_WINOGRAD_CONVOLUTION")
    with pytest.raises(DeviceError, match=r"^GPU .*INFERENCE_NUM_THREADS"):
        compile_variant(bundle, variant="fp16", device="GPU", properties={"INFERENCE_NUM_THREADS": "1"})


@pytest.mark.parametrize(
    ("variant", "asked", "effective"), [("fp32", "auto", "f32"), ("fp16", "auto", "f16"), ("int8", "auto", "f16")]
)
def test_every_variant_gives_the_answers_signed_off_in_the_precision_it_says(bundle, variant, asked, effective):
    runner = compile_variant(bundle, variant=variant, device="GPU", execution_precision=asked)
    assert runner.device.startswith("GPU")
    assert runner.execution_precision == effective
    finding = check_golden(runner, bundle.golden(), bundle.variant(variant).parity)
    assert finding.problems == ()
    if effective == "f32":
        assert finding.parity.max_abs_diff < 0.01
    else:
        # Half precision really was at work.
        assert finding.parity.max_abs_diff > 1e-4


def test_a_warm_cache_is_used_and_gives_the_same_answers(bundle, monkeypatch):
    cold = compile_variant(bundle, variant="fp16", device="GPU", cache=True)
    images = bundle.golden().images
    before = cold.logits(images)

    def fail(*_arguments):
        raise AssertionError("compiled again, though the cache is warm")

    monkeypatch.setattr(compile_module, "compile_for_single_images", fail)
    warm = compile_variant(bundle, variant="fp16", device="GPU", cache=True)
    assert warm.execution_precision == "f16"
    np.testing.assert_array_equal(warm.logits(images), before)
    with pytest.raises(AssertionError, match="compiled again"):
        compile_variant(bundle, variant="fp16", device="GPU", cache=False)


def test_many_in_flight_give_each_image_its_own_answer_in_order(bundle):
    runner = compile_variant(bundle, variant="fp16", device="GPU", hint="throughput")
    assert runner.n_requests > 1
    images = bundle.golden().images
    one_by_one = np.concatenate([runner.infer(image[np.newaxis]) for image in images])
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(images)), 4))
    rows = list(runner.stream(images[i] for i in order))
    np.testing.assert_allclose(rows, one_by_one[order], rtol=0, atol=1e-3)
    assert len({row.argmax() for row in one_by_one}) > 1


@pytest.mark.real
def test_real_scenes_get_the_answers_of_the_cpu(bundle, real_data):
    paths = [min(folder.iterdir()) for folder in sorted(real_data.iterdir()) if folder.is_dir()]
    images = np.stack([ImageReader(bundle.manifest.image.size).read(path) for path in paths])
    logits = {d: compile_variant(bundle, variant="fp16", device=d).logits(images) for d in ("GPU", "CPU")}
    assert len(images) == 21
    gpu, cpu = (logits[device].astype(np.float64) for device in ("GPU", "CPU"))
    cosine = (gpu * cpu).sum(axis=1) / (np.linalg.norm(gpu, axis=1) * np.linalg.norm(cpu, axis=1))
    assert cosine.min() > 0.999
    assert (gpu.argmax(axis=1) == cpu.argmax(axis=1)).mean() >= 0.95


def test_predict_gives_the_labels_of_the_cpu_and_says_where_it_ran(gpu_bundle, tiny_data, capsys):
    answers, notes = {}, {}
    for device in ("auto", "CPU"):
        arguments = ["--device", device, "--variant", "fp16", "--format", "json"]
        assert run(["predict", str(gpu_bundle), str(tiny_data / "harbor"), *arguments]) == 0
        printed = capsys.readouterr()
        answers[device] = [json.loads(line) for line in printed.out.splitlines()]
        notes[device] = printed.err
    assert notes["auto"].startswith("running fp16 on GPU")
    assert ("(emulated)" in notes["auto"]) == EMULATED
    gpu, cpu = ([answer["probability"] for answer in answers[device]] for device in ("auto", "CPU"))
    np.testing.assert_allclose(gpu, cpu, atol=0.05)
    assert [a["label"] for a in answers["auto"]] == [a["label"] for a in answers["CPU"]]


def test_check_passes_in_every_variant(gpu_bundle, capsys):
    assert run(["check", str(gpu_bundle), "--device", "GPU"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["VALID", variant, "on", line.split()[3]] for variant, line in zip(("fp32", "fp16", "int8"), lines, strict=True)
    ]
    assert all(line.split()[3].startswith("GPU") for line in lines)


def test_bench_reports_the_gpu_by_its_name(gpu_bundle, gpu_run, tiny_data, tmp_path):
    out = tmp_path / "report"
    arguments = ["--data", tiny_data, "--run", gpu_run, "--device", "GPU", "--quick", "--out", out]
    # In a process of its own, as a user has it. In one that has used the CPU for long, what emulates the GPU was seen
    # to wait for itself without end, in TaskExecutor::TaskGroup::WaitForAll of Intel's OpenCL for CPUs.
    emulation = sys.modules.get("emulated_gpu")
    python = [sys.executable] if emulation is None else [sys.executable, emulation.__file__]
    command = [*python, "-m", "overfly.cli", "bench", gpu_bundle, *arguments]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "GPU" in done.stdout
    rows = json.loads((out / "report.json").read_text(encoding="utf-8"))["rows"]
    on_gpu = [row for row in rows if row["spec"]["backend"] == "openvino"]
    assert [(row["spec"]["variant"], row["status"], row["execution"]["execution_precision"]) for row in on_gpu] == [
        ("fp32", "ok", "f32"),
        ("fp16", "ok", "f16"),
        ("int8", "ok", "f16"),
    ]
    for row in on_gpu:
        assert ("(emulated)" in row["execution"]["device_name"]) == EMULATED
        assert row["quality"]["n_images"] == 24
        assert row["speed"]["latency_ms"]["p50"] > 0


def test_openvinos_own_auto_is_reported_as_what_it_ran_on(gpu_bundle, tiny_data, capsys):
    folder = str(tiny_data / "harbor")
    assert run(["predict", str(gpu_bundle), folder, "--device", "HETERO:GPU,CPU", "--variant", "int8"]) == 0
    assert "ran int8 on GPU" in capsys.readouterr().err


def test_a_model_that_is_computed_wrongly_is_caught(gpu_bundle, tmp_path):
    """The IR is patched so that each ReLU6 cuts at 1: what a wrong kernel would give, with every hash in order."""
    copy = shutil.copytree(gpu_bundle, tmp_path / "bundle")
    xml = copy / "int8.xml"
    patched, n_patched = re.subn(r'(type="Clamp".*?max=)"6"', r'\1"1"', xml.read_text("utf-8"), flags=re.DOTALL)
    assert n_patched > 5
    xml.write_text(patched, "utf-8")
    bundle = Bundle.open(copy)
    bundle.manifest.files.update(hash_files(copy))
    runner = compile_variant(bundle, variant="int8", device="GPU")
    finding = check_golden(runner, bundle.golden(), bundle.variant("int8").parity)
    assert any("cosine" in problem for problem in finding.problems)
