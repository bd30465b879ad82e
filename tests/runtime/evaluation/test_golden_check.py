"""A device that answers wrongly is caught, and what helps is found by trying it."""

import json
import shutil
from dataclasses import asdict, replace

import numpy as np
import openvino as ov
import pytest

from overfly.runtime.bundle.bundle import Bundle, ReferenceSet
from overfly.runtime.bundle.manifest import MANIFEST, Parity, hash_files
from overfly.runtime.errors import DeviceError
from overfly.runtime.evaluation import golden_check as check
from overfly.runtime.evaluation.golden_check import CheckConfig, check_golden, find_remedy
from overfly.runtime.inference.compile import compile_variant

PERFECT = Parity(n_images=6, max_abs_diff=0.0, min_cosine=1.0, top1_agreement=1.0)
REMEDY = "use --variant fp32: with it the answers are those that were signed off"


@pytest.fixture
def runner(bundle):
    return compile_variant(bundle, variant="fp32", device="CPU")


@pytest.mark.parametrize("variant", ["fp32", "fp16"])
def test_the_signed_off_answers_pass(bundle, variant):
    result = check_golden(CheckConfig(variant, "CPU").compile(bundle), bundle.golden(), PERFECT)
    assert result.valid
    assert result.problems == ()
    assert result.parity.n_images == 6
    assert result.parity.top1_agreement == 1
    assert result.parity.min_cosine > 0.999


def test_other_answers_miss_every_bound(runner, bundle):
    golden = bundle.golden()
    result = check_golden(runner, ReferenceSet(golden.images, np.roll(golden.logits, 1, axis=1)), PERFECT)
    assert not result.valid
    assert result.parity.top1_agreement < 1
    parity = result.parity
    found = (f"{parity.min_cosine:.6g}", f"{parity.max_abs_diff:.4g}", f"{parity.top1_agreement:.1%}")
    for problem, value, bound in zip(result.problems, found, ("0.9999", "0.01", "100.0%"), strict=True):
        assert value in problem
        assert bound in problem


def test_one_image_in_the_wrong_place_is_enough(runner, bundle):
    golden = bundle.golden()
    images = golden.images.copy()
    images[[0, 1]] = images[[1, 0]]
    result = check_golden(runner, ReferenceSet(images, golden.logits), PERFECT)
    assert any("cosine" in problem for problem in result.problems)


def test_int8_is_held_to_what_was_signed_off(runner, bundle):
    golden = bundle.golden()
    runner.variant = "int8"
    logits = golden.logits.copy()
    logits[0] = np.roll(logits[0], 1)
    turned = ReferenceSet(golden.images, logits)
    found = check_golden(runner, turned, PERFECT).parity
    assert found.top1_agreement == pytest.approx(5 / 6)
    near = Parity(6, found.max_abs_diff / 2, found.min_cosine + 0.04, found.top1_agreement + 0.04)
    assert check_golden(runner, turned, near).problems == ()
    far = Parity(6, found.max_abs_diff / 2 - 0.3, found.min_cosine + 0.06, found.top1_agreement + 0.06)
    assert len(check_golden(runner, turned, far).problems) == 3


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_answers_that_are_no_numbers(make_bundle, expected_logits, pixels, value):
    weights = np.full((8 * 8 * 3, 4), value, np.float32)
    images = np.stack([pixels(8, seed=i) for i in range(6)])
    bundle = Bundle.open(make_bundle(weights=weights, images=images, logits=expected_logits(images)))
    result = check_golden(compile_variant(bundle, variant="fp32", device="CPU"), bundle.golden(), PERFECT)
    assert result.problems == ("some logits are not finite numbers",)
    assert (result.parity.top1_agreement, result.parity.min_cosine) == (0.0, 0.0)


@pytest.fixture
def broken(bundle, make_bundle, seal):
    """A function that gives variants of the bundle the weights of another model, with the manifest in order."""

    def call(*names):
        other = make_bundle("other", weights=np.random.default_rng(8).normal(size=(8 * 8 * 3, 4)).astype(np.float32))
        manifest = json.loads((bundle.path / MANIFEST).read_text(encoding="utf-8"))
        for name in (f"{name}.bin" for name in names):
            shutil.copy(other / name, bundle.path / name)
            manifest["files"][name] = asdict(hash_files(bundle.path)[name])
        seal(bundle.path / MANIFEST, manifest)
        return Bundle.open(bundle.path)

    return call


def test_the_first_option_that_helps_is_named(broken):
    bundle, config = broken("fp16"), CheckConfig("fp16", "CPU")
    assert not check_golden(config.compile(bundle), bundle.golden(), PERFECT).valid
    assert find_remedy(bundle, bundle.golden(), config) == REMEDY


def test_a_precision_that_is_to_blame_is_found_before_another_variant(bundle, monkeypatch):
    """The CPU here may have one precision only, so the compiling is what is wrong unless f32 is asked for."""
    right = CheckConfig.compile

    def compile_wrongly(config, opened):
        runner = right(config, opened)
        if config.execution_precision != "f32":
            monkeypatch.setattr(runner, "logits", lambda images: -np.ones((len(images), 4), np.float32))
        return runner

    monkeypatch.setattr(CheckConfig, "compile", compile_wrongly)
    remedy = find_remedy(bundle, bundle.golden(), CheckConfig("fp16", "CPU"))
    assert "--execution-precision f32" in remedy


def test_when_nothing_helps_it_says_what_was_tried(broken):
    bundle = broken("fp16", "fp32")
    remedy = find_remedy(bundle, bundle.golden(), CheckConfig("fp16", "CPU"))
    assert remedy.startswith("--execution-precision f32, --variant fp32 did not help: ")


def test_a_remedy_that_can_not_be_compiled_is_passed_over(broken, monkeypatch):
    bundle = broken("fp16")
    right = CheckConfig.compile

    def reject_f32(config, opened):
        if config.execution_precision == "f32":
            raise DeviceError("no f32 here")
        return right(config, opened)

    monkeypatch.setattr(CheckConfig, "compile", reject_f32)
    assert find_remedy(bundle, bundle.golden(), CheckConfig("fp16", "CPU")) == REMEDY


def test_with_one_variant_in_f32_there_is_nothing_else_to_try(bundle):
    manifest = replace(bundle.manifest, variants={"fp32": bundle.manifest.variants["fp32"]})
    config = CheckConfig("fp32", "CPU", "f32")
    remedy = find_remedy(Bundle(bundle.path, manifest), bundle.golden(), config)
    assert remedy == "there is nothing else to try: export the run again, or use another device"


def on_a_gpu(monkeypatch):
    """Make the rules believe in a GPU that knows Winograd convolutions; nothing is compiled on it."""
    monkeypatch.setattr(check, "resolve_device", lambda name: "CPU" if name == "CPU" else "GPU")
    monkeypatch.setattr(check, "supports", lambda device, _: device == "GPU")


def test_on_a_gpu_the_least_change_is_tried_first(bundle, monkeypatch):
    on_a_gpu(monkeypatch)
    winograd = {"GPU_DISABLE_WINOGRAD_CONVOLUTION": "YES"}
    config = CheckConfig("fp16", "auto", "auto", {"GPU_QUEUE_PRIORITY": "LOW"}, cache=False)
    assert list(check._remedies(bundle, config)) == [
        ("--execution-precision f32", replace(config, execution_precision="f32")),
        (
            "--property GPU_DISABLE_WINOGRAD_CONVOLUTION=YES",
            replace(config, properties={"GPU_QUEUE_PRIORITY": "LOW", **winograd}),
        ),
        ("--variant fp32", replace(config, variant="fp32")),
        ("--device CPU", replace(config, device="CPU", properties={})),
    ]
    assert config.properties == {"GPU_QUEUE_PRIORITY": "LOW"}


def test_what_the_user_asked_for_already_is_not_tried_again(bundle, monkeypatch):
    on_a_gpu(monkeypatch)
    # fp32 is computed in f32 by default.
    for precision in ("f32", "auto"):
        config = CheckConfig("fp32", "GPU", precision, {"GPU_DISABLE_WINOGRAD_CONVOLUTION": "NO"})
        assert [option for option, _ in check._remedies(bundle, config)] == ["--variant fp16", "--device CPU"]
    in_f16 = [option for option, _ in check._remedies(bundle, CheckConfig("fp32", "GPU", "f16"))]
    assert in_f16[0] == "--execution-precision f32"


@pytest.mark.parametrize("device", ["AUTO:CPU", "HETERO:CPU"])
def test_instead_of_a_meta_device_the_cpu_itself_is_tried_and_winograd_is_not(bundle, device):
    options = [option for option, _ in check._remedies(bundle, CheckConfig("fp16", device))]
    assert options == ["--execution-precision f32", "--variant fp32", "--device CPU"]


def test_the_cpu_that_helps_is_named(bundle, monkeypatch):
    right = CheckConfig.compile

    def compile_wrongly(config, opened):
        runner = right(config, opened)
        if config.device != "CPU":
            monkeypatch.setattr(runner, "logits", lambda images: -np.ones((len(images), 4), np.float32))
        return runner

    monkeypatch.setattr(CheckConfig, "compile", compile_wrongly)
    remedy = find_remedy(bundle, bundle.golden(), CheckConfig("fp16", "HETERO:CPU"))
    assert "--device CPU" in remedy


def test_a_setting_passes_everything_on(bundle):
    runner = CheckConfig("fp16", "CPU", "f32", {"INFERENCE_NUM_THREADS": "1"}, cache=False).compile(bundle)
    assert (runner.variant, runner.requested_precision, runner.execution_precision) == ("fp16", "f32", "f32")
    assert runner._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert isinstance(runner._compiled, ov.CompiledModel)
