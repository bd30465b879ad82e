"""``overfly check``: VALID for what was signed off, INVALID for other answers, a sentence for damaged files."""

import hashlib
import json
import re
import shutil
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from overfly.runtime.inference.devices import core

FILES = (
    "model.onnx",
    "fp32.xml",
    "fp32.bin",
    "fp16.xml",
    "fp16.bin",
    "int8.xml",
    "int8.bin",
    "golden.npz",
    "labels.txt",
)
VARIANTS = ["fp32", "fp16", "int8"]


@pytest.fixture
def bundle(tiny_bundle, tmp_path):
    """A copy of the small bundle, the test's own to damage."""
    return shutil.copytree(tiny_bundle, tmp_path / "bundle")


@pytest.fixture
def sign_again(seal):
    """A function that makes the manifest agree with a changed file, so that only the model's answers can tell."""

    def call(bundle, name):
        manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
        content = (bundle / name).read_bytes()
        manifest["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
        seal(bundle / "manifest.json", manifest)

    return call


@pytest.fixture
def change_weights(sign_again):
    """A function that changes constants in a bundle; every hash stays right."""

    def call(bundle, variant, element_type, change):
        """Apply `change` in place to the bytes of each constant of a type; axes and shapes, of other types, stay."""
        weights = np.fromfile(bundle / f"{variant}.bin", np.uint8)
        n_changed = 0
        graph = ET.parse(bundle / f"{variant}.xml")  # noqa: S314 - our own file
        for data in graph.iterfind("layers/layer[@type='Const']/data"):
            if data.get("element_type") == element_type:
                start = int(data.get("offset"))
                change(weights[start : start + int(data.get("size"))])
                n_changed += 1
        assert n_changed > 50
        weights.tofile(bundle / f"{variant}.bin")
        sign_again(bundle, f"{variant}.bin")

    return call


def test_an_untouched_bundle_is_valid_in_every_variant(overfly, tiny_bundle):
    result = overfly("check", tiny_bundle, "--device", "CPU")
    result.assert_done()
    lines = result.out.splitlines()
    full_name = core().get_property("CPU", "FULL_DEVICE_NAME")
    for line, variant in zip(lines, VARIANTS, strict=True):
        assert line.startswith(f"VALID   {variant} on CPU ({full_name}) in ")
    assert "fp32 on CPU" in lines[0]
    assert " in f32: top-1 agreement 100.0% on 24 images, worst cosine 1.0000" in lines[0]


def test_json_is_an_object_a_line_that_says_what_was_computed_where(overfly, tiny_bundle):
    result = overfly("check", tiny_bundle, "--device", "CPU", "--json")
    result.assert_done()
    printed = [json.loads(line) for line in result.out.splitlines()]
    manifest = json.loads((tiny_bundle / "manifest.json").read_text(encoding="utf-8"))
    assert [line["variant"] for line in printed] == VARIANTS
    for line in printed:
        assert (line["valid"], line["problems"], line["device"]) == (True, [], "CPU")
        assert line["device_name"] == core().get_property("CPU", "FULL_DEVICE_NAME")
        assert line["parity"]["n_images"] == 24
        signed_off = manifest["variants"][line["variant"]]["parity"]
        assert line["parity"]["min_cosine"] == pytest.approx(signed_off["min_cosine"], abs=0.02)
    assert printed[0]["execution_precision"] == "f32"
    assert printed[0]["parity"]["top1_agreement"] == 1.0
    assert printed[0]["parity"]["max_abs_diff"] < 1e-3


def test_what_a_system_leaves_in_a_bundle_is_a_note(overfly, bundle):
    (bundle / ".DS_Store").touch()
    (bundle / "Thumbs.db").touch()
    result = overfly("check", bundle, "--device", "CPU", "--variant", "fp32")
    result.assert_done()
    assert str(bundle) in result.err
    assert result.err.rstrip().endswith(".DS_Store, Thumbs.db")


def test_int8_that_lost_everything_is_invalid_although_it_was_signed_off(overfly, bundle, change_weights, seal):
    change_weights(bundle, "int8", "i8", np.random.default_rng(0).shuffle)
    path = bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["variants"]["int8"]["parity"] |= {"max_abs_diff": 1e3, "min_cosine": -1.0, "top1_agreement": 0.0}
    seal(path, manifest)
    result = overfly("check", bundle, "--device", "CPU", "--variant", "int8", "--json", "--no-cache")
    assert result.code == 1
    printed = json.loads(result.out)
    assert printed["parity"]["top1_agreement"] < 0.8
    assert printed["bounds"]["top1_agreement"] == 0.8
    assert (printed["valid"], len(printed["problems"])) == (False, 1)


def test_only_the_variants_asked_for_are_run(overfly, tiny_bundle):
    result = overfly("check", tiny_bundle, "--device", "CPU", "--variant", "int8", "--variant", "fp32", "--json")
    result.assert_done()
    assert [json.loads(line)["variant"] for line in result.out.splitlines()] == ["int8", "fp32"]


def test_the_precision_asked_for_is_the_one_computed_in(overfly, tiny_bundle):
    arguments = ("--device", "CPU", "--execution-precision", "f32", "--json")
    result = overfly("check", tiny_bundle, *arguments)
    assert [json.loads(line)["execution_precision"] for line in result.out.splitlines()] == ["f32"] * 3


def test_other_answers_with_the_right_hashes_are_invalid(overfly, bundle, change_weights):
    # Once before, so that a compiled model of the unharmed weights lies in the cache.
    overfly("check", bundle, "--device", "CPU").assert_done()
    change_weights(bundle, "int8", "i8", np.random.default_rng(0).shuffle)
    result = overfly("check", bundle, "--device", "CPU")
    assert result.code == 1
    assert result.err == ""
    lines = result.out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [["VALID", "fp32"], ["VALID", "fp16"], ["INVALID", "int8"]]
    assert "--variant fp32" in lines[-1]


def test_json_says_which_variant_is_invalid_and_why(overfly, bundle, change_weights):
    change_weights(bundle, "int8", "i8", np.random.default_rng(0).shuffle)
    result = overfly("check", bundle, "--device", "CPU", "--json", "--no-cache")
    assert result.code == 1
    printed = {line["variant"]: line for line in map(json.loads, result.out.splitlines())}
    assert [printed[name]["valid"] for name in VARIANTS] == [True, True, False]
    assert printed["int8"]["problems"]
    assert "--variant fp32" in printed["int8"]["remedy"]
    assert printed["fp32"]["remedy"] is None
    assert printed["int8"]["parity"]["min_cosine"] < printed["int8"]["bounds"]["min_cosine"]


def test_weights_that_give_no_numbers_are_invalid_and_the_json_still_parses(overfly, bundle, change_weights):
    """Not-a-number is no JSON: the strict parser of any other tool must be able to read the line."""
    change_weights(bundle, "fp32", "f32", lambda raw: raw.view(np.float32).fill(np.nan))
    result = overfly("check", bundle, "--device", "CPU", "--variant", "fp32", "--json", "--no-cache")
    assert result.code == 1

    def reject(constant):
        raise AssertionError(f"{constant} is no JSON")

    printed = json.loads(result.out, parse_constant=reject)
    assert printed["valid"] is False
    assert printed["problems"]


@pytest.mark.parametrize("name", [*FILES, "manifest.json"])
@pytest.mark.parametrize("change", ["missing", "altered"])
def test_a_missing_or_altered_file_is_named(overfly, bundle, content, name, change):
    path = bundle / name
    if change == "missing":
        path.unlink()
    else:
        damaged = bytearray(path.read_bytes())
        damaged[len(damaged) // 2] ^= 0x80
        path.write_bytes(damaged)
    before = content(bundle)
    result = overfly("check", bundle, "--device", "CPU")
    result.assert_failed(path)
    assert content(bundle) == before


def test_an_added_file_is_named(overfly, bundle):
    (bundle / "readme.txt").write_text("mine")
    overfly("check", bundle, "--device", "CPU").assert_failed(bundle / "readme.txt")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": "overfly.bundle/99"}, "overfly.bundle/99"),
        ({"color": "blue"}, "color"),
        ({"classes": "field"}, "classes"),
        ({"files": {"../outside": {"sha256": "0", "size_bytes": 1}}}, "../outside"),
    ],
)
def test_a_manifest_that_is_not_ours_is_rejected_with_the_key(overfly, bundle, change, named):
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    (bundle / "manifest.json").write_text(json.dumps({**manifest, **change}), encoding="utf-8")
    overfly("check", bundle, "--device", "CPU").assert_failed(bundle / "manifest.json", named)


@pytest.mark.parametrize("name", ["int8.xml", "int8.bin", "golden.npz"])
def test_a_file_of_another_kind_with_the_right_hash_is_named(overfly, bundle, name, sign_again):
    (bundle / name).write_bytes(b"nothing of the kind")
    sign_again(bundle, name)
    overfly("check", bundle, "--device", "CPU", "--variant", "int8").assert_failed(bundle / name.split(".")[0])


@pytest.mark.parametrize("device", ["TPU", "CPU.7", "cuda"])
def test_an_unknown_device_is_named_with_what_is_there(overfly, tiny_bundle, device):
    overfly("check", tiny_bundle, "--device", device).assert_failed(device, "CPU")


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_an_absent_gpu_or_npu_is_explained(overfly, tiny_bundle, kind):
    if any(name.startswith(kind) for name in core().available_devices):
        pytest.skip(f"there is a {kind} here")
    overfly("check", tiny_bundle, "--device", kind).assert_failed(kind, "CPU")


def test_an_operator_that_computes_wrongly_is_caught_though_every_hash_is_right(overfly, bundle, sign_again):
    """The IR is patched so that each ReLU6 cuts at 1, which is what a wrong kernel would give."""
    xml = bundle / "fp16.xml"
    patched, n_patched = re.subn(r'(type="Clamp".*?max=)"6"', r'\1"1"', xml.read_text("utf-8"), flags=re.DOTALL)
    assert n_patched == 35
    xml.write_text(patched, "utf-8")
    sign_again(bundle, "fp16.xml")
    result = overfly("check", bundle, "--device", "CPU", "--variant", "fp16")
    assert result.code == 1
    lines = [line.strip() for line in result.out.splitlines()]
    assert lines[0].startswith("INVALID fp16 on CPU (")
    assert len(lines) > 2
    assert "--variant fp32" in lines[-1]


def test_a_precision_that_the_device_lacks_is_shown_with_the_one_in_use(overfly, tiny_bundle):
    capabilities = core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "FP16" in capabilities:
        pytest.skip("this CPU computes in f16")
    # Of the two halves it takes the one that it has.
    instead = "bf16" if "BF16" in capabilities else "f32"
    arguments = ("--device", "CPU", "--variant", "int8", "--execution-precision", "f16")
    result = overfly("check", tiny_bundle, *arguments)
    result.assert_done()
    assert f" in {instead} (f16 was requested): top-1" in result.out
    printed = json.loads(overfly("check", tiny_bundle, *arguments, "--json").out)
    assert (printed["requested_precision"], printed["execution_precision"]) == ("f16", instead)


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "HETERO:CPU", "BATCH:CPU"])
def test_openvinos_own_devices_are_reported_as_what_they_ran_on(overfly, tiny_bundle, device):
    result = overfly("check", tiny_bundle, "--device", device, "--variant", "fp32", "--json")
    result.assert_done()
    printed = json.loads(result.out)
    assert printed["device"] in core().available_devices
    assert printed["device_name"] != printed["device"]
    assert printed["execution_precision"] == "f32"


def test_a_property_is_passed_on_and_one_that_the_device_lacks_is_named(overfly, tiny_bundle):
    arguments = ("check", tiny_bundle, "--device", "CPU", "--variant", "fp32")
    overfly(*arguments, "--property", "INFERENCE_NUM_THREADS=1").assert_done()
    result = overfly(*arguments, "--property", "GPU_DISABLE_WINOGRAD_CONVOLUTION=YES")
    result.assert_failed("CPU", "GPU_DISABLE_WINOGRAD_CONVOLUTION")
    result = overfly(*arguments, "--property", "INFERENCE_NUM_THREADS=many")
    result.assert_failed("CPU", "fp32", "INFERENCE_NUM_THREADS=many")
    for bad in ("INFERENCE_NUM_THREADS", "=1", "NAME="):
        overfly(*arguments, "--property", bad).assert_misused("NAME=VALUE")


def test_a_variant_that_the_bundle_lacks_is_exit_code_1(overfly, fp32_bundle):
    result = overfly("check", fp32_bundle[0], "--device", "CPU", "--variant", "fp16")
    result.assert_failed(fp32_bundle[0], "fp16", "fp32")


def test_a_path_that_is_no_bundle_is_named(overfly, tiny_data, tmp_path):
    overfly("check", tmp_path / "no").assert_failed(tmp_path / "no")
    overfly("check", tiny_data).assert_failed(tiny_data / "manifest.json")
