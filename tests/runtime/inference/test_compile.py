"""A variant is compiled as requested or the problem is named; the cache gives the same model, never a wrong answer."""

import errno
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import openvino as ov
import pytest

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import hash_files
from overfly.runtime.errors import BundleError, DeviceError
from overfly.runtime.inference import compile as compile_module
from overfly.runtime.inference import model_cache as cache
from overfly.runtime.inference.compile import compile_variant
from overfly.runtime.inference.devices import describe
from overfly.runtime.inference.model_cache import keep_blob, model_cache_folder, read_blob

SIZE = 8


@pytest.fixture
def images():
    return np.random.default_rng(5).integers(0, 256, (5, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def answers_right(bundle, images, expected_logits):
    """A function that compiles fp32 on the CPU and says whether its logits are right."""

    def answer(of=bundle, **options):
        logits = compile_variant(of, variant="fp32", device="CPU", **options).logits(images)
        return np.allclose(logits, expected_logits(images), rtol=0, atol=1e-4)

    return answer


class CompiledError(Exception):
    """A model was compiled, though the cache holds it."""


@pytest.fixture
def never_compile(monkeypatch):
    """A function after whose call compiling fails, so that a model can come from the cache only."""

    def fail(*_arguments):
        raise CompiledError

    return lambda: monkeypatch.setattr(compile_module, "compile_for_single_images", fail)


def files():
    """Return the names in the folder of compiled models."""
    folder = model_cache_folder()
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def only_file():
    """Return the one file in the folder of compiled models."""
    (path,) = model_cache_folder().iterdir()
    return path


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_the_second_time_the_model_comes_from_the_cache_and_is_the_same(bundle, images, never_compile, hint):
    first = compile_variant(bundle, variant="fp32", device="CPU", hint=hint)
    never_compile()
    second = compile_variant(bundle, variant="fp32", device="CPU", hint=hint)
    assert (second.logits(images) == first.logits(images)).all()
    facts = ("variant", "device", "device_name", "requested_precision", "execution_precision", "n_requests")
    assert [getattr(second, name) for name in facts] == [getattr(first, name) for name in facts]
    assert second.execution_precision == "f32"
    assert str(second._compiled.get_property("PERFORMANCE_HINT")).endswith(hint.upper())
    with pytest.raises(CompiledError):
        compile_variant(bundle, variant="fp32", device="CPU", hint=hint, cache=False)


def test_without_the_cache_no_file_appears(answers_right):
    assert answers_right(cache=False)
    assert not model_cache_folder().exists()
    assert answers_right()
    assert only_file().suffix == ".blob"


def test_nothing_is_written_where_one_stands(bundle, answers_right, tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert answers_right()
    for device in ("AUTO", "HETERO:CPU"):
        compile_variant(bundle, variant="fp16", device=device)
    assert list((tmp_path / "work").iterdir()) == []


def test_openvinos_meta_devices_keep_nothing(bundle):
    for device in ("AUTO", "AUTO:CPU", "HETERO:CPU", "BATCH:CPU"):
        compile_variant(bundle, variant="fp32", device=device)
    assert files() == set()


def test_whatever_changes_the_compiled_model_has_a_file_of_its_own(bundle, make_bundle, monkeypatch):
    other = Bundle.open(make_bundle("other", weights=np.ones((SIZE * SIZE * 3, 4), np.float32)))

    def compile_other(of=bundle, **options):
        before = files()
        compile_variant(of, **{"variant": "fp32", "device": "CPU", **options})
        return len(files() - before)

    def compile_on(device):
        monkeypatch.setattr(compile_module, "describe", lambda _: device)
        return compile_other()

    assert compile_other() == 1
    assert compile_other(execution_precision="f32", hint="latency", properties={}) == 0
    assert compile_other(variant="fp16") == 1
    assert compile_other(variant="fp16", execution_precision="f32") == 1
    assert compile_other(execution_precision="bf16") == 1
    assert compile_other(hint="throughput") == 1
    assert compile_other(properties={"INFERENCE_NUM_THREADS": "1"}) == 1
    assert compile_other(properties={"INFERENCE_NUM_THREADS": "2"}) == 1
    assert compile_other(of=other) == 1
    cpu = describe("CPU")
    assert compile_on(cpu) == 0
    assert compile_on(replace(cpu, full_name="another CPU")) == 1
    assert compile_on(replace(cpu, driver="another driver")) == 1
    assert compile_on(replace(cpu, capabilities=("INT4",))) == 1
    monkeypatch.setattr(ov, "get_version", lambda: "another OpenVINO")
    assert compile_other() == 1


def test_a_bundle_in_another_place_uses_the_same_model(bundle, never_compile, answers_right, tmp_path):
    assert answers_right()
    never_compile()
    assert answers_right(Bundle.open(shutil.copytree(bundle.path, tmp_path / "copy")))


def test_an_altered_model_with_the_hashes_in_order_is_compiled_again(bundle, images, expected_logits, make_bundle):
    before = compile_variant(bundle, variant="fp32", device="CPU").logits(images)
    altered = make_bundle("altered", weights=np.ones((SIZE * SIZE * 3, 4), np.float32))
    for name in ("fp32.xml", "fp32.bin"):
        shutil.copy(altered / name, bundle.path)
    bundle.manifest.files.update(hash_files(bundle.path))
    after = compile_variant(bundle, variant="fp32", device="CPU").logits(images)
    assert np.allclose(before, expected_logits(images), rtol=0, atol=1e-4)
    sums = images.reshape(len(images), -1).sum(axis=1, keepdims=True) / 255
    assert np.allclose(after, np.repeat(sums, 4, axis=1), rtol=0, atol=1e-3)
    assert len(files()) == 2


@pytest.mark.parametrize("place", [0, 31, 32, 33, 500, 0.5, 0.9, -1])
def test_a_flipped_byte_anywhere_costs_a_compilation_and_no_wrong_answer(answers_right, never_compile, place):
    assert answers_right()
    path = only_file()
    whole = bytearray(path.read_bytes())
    damaged = whole.copy()
    damaged[int(place * len(whole)) if isinstance(place, float) else place] ^= 0x10
    path.write_bytes(damaged)
    assert read_blob(path.stem) is None
    path.write_bytes(damaged)
    assert answers_right()
    assert only_file() == path
    assert path.read_bytes() != damaged
    never_compile()
    assert answers_right()


@pytest.mark.parametrize("content", [b"", b"whole by its digest, but no model", bytes(100_000)])
def test_a_whole_blob_that_the_device_does_not_take_is_replaced(answers_right, never_compile, content):
    assert answers_right()
    key = only_file().stem
    keep_blob(key, content)
    assert answers_right()
    assert read_blob(key) != content
    never_compile()
    assert answers_right()


@pytest.mark.parametrize("depth", ["", "models"])
def test_a_file_in_place_of_the_cache_stops_nothing(answers_right, tmp_path, monkeypatch, depth):
    place = tmp_path / "cache"
    monkeypatch.setenv("OVERFLY_CACHE", str(place))
    (place / depth).parent.mkdir(exist_ok=True)
    (place / depth).write_bytes(b"a file of the user's")
    assert answers_right()
    assert (place / depth).read_bytes() == b"a file of the user's"


def test_a_user_without_a_home_gets_answers(answers_right, monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    for name in ("OVERFLY_CACHE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert answers_right()


def test_a_full_disk_stops_nothing(answers_right, monkeypatch):
    def fail(*_arguments):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(cache, "write_atomically", fail)
    assert answers_right()
    assert files() == set()


COMPILE = """
import json, sys
import numpy as np
from pathlib import Path
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.inference.compile import compile_variant
bundle, images = Bundle.open(Path(sys.argv[1])), np.load(sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
for _ in range(5):
    logits = compile_variant(bundle, variant="fp32", device="CPU").logits(images)
    print(json.dumps(logits.tolist()), flush=True)
"""


def test_processes_that_compile_at_once_from_an_empty_cache_all_answer_right(
    bundle, images, expected_logits, never_compile, answers_right, tmp_path
):
    np.save(tmp_path / "images.npy", images)
    command = [sys.executable, "-c", COMPILE, str(bundle.path), str(tmp_path / "images.npy")]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    assert files() == set()
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        answers = [json.loads(line) for line in process.communicate()[0].splitlines()]
        assert process.returncode == 0
        assert len(answers) == 5
        assert np.allclose(answers, expected_logits(images), rtol=0, atol=1e-4)
    assert only_file().suffix == ".blob"
    never_compile()
    assert answers_right()


def test_threads_may_compile_at_once(bundle, images, expected_logits):
    with ThreadPoolExecutor(4) as pool:
        for runner in pool.map(lambda _: compile_variant(bundle, variant="fp32", device="CPU"), range(8)):
            assert np.allclose(runner.logits(images), expected_logits(images), rtol=0, atol=1e-4)


def test_other_variants_leave_the_precision_to_the_device(bundle, images, expected_logits):
    runner = compile_variant(bundle, variant="fp16", device="CPU")
    assert runner.requested_precision == "auto"
    assert runner.execution_precision in {"f32", "f16", "bf16"}
    explicit = compile_variant(bundle, variant="fp16", device="CPU", execution_precision="f32")
    assert explicit.execution_precision == "f32"
    # The weights have lost bits: close, but not the same.
    error = np.abs(explicit.logits(images) - expected_logits(images)).max()
    assert 1e-4 < error < 0.05


def test_auto_compiles_somewhere(bundle, images, expected_logits):
    runner = compile_variant(bundle, variant="fp32")
    assert np.allclose(runner.logits(images), expected_logits(images), atol=1e-2)


def test_a_property_reaches_the_device_and_one_it_lacks_is_named(bundle):
    properties = {"INFERENCE_NUM_THREADS": "1"}
    runner = compile_variant(bundle, variant="fp32", device="CPU", properties=properties)
    assert runner._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    with pytest.raises(DeviceError) as caught:
        compile_variant(bundle, variant="fp32", device="CPU", properties={"GPU_QUEUE_PRIORITY": "LOW"})
    assert str(caught.value) == "CPU has no property GPU_QUEUE_PRIORITY: leave it out, or name another device"


@pytest.mark.parametrize(("name", "value"), [("INFERENCE_NUM_THREADS", "many"), ("FULL_DEVICE_NAME", "mine")])
def test_a_property_that_the_device_does_not_take_gives_one_sentence(bundle, name, value):
    with pytest.raises(DeviceError) as caught:
        compile_variant(bundle, variant="fp32", device="CPU", properties={name: value})
    assert f"{name}={value}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_altered_variant_is_not_compiled(bundle):
    path = bundle.path / "fp32.bin"
    path.write_bytes(path.read_bytes()[:-4] + b"evil")
    with pytest.raises(BundleError) as caught:
        compile_variant(bundle, variant="fp32", device="CPU")
    assert str(path) in str(caught.value)


def test_an_unknown_variant_and_an_unknown_device(bundle):
    with pytest.raises(BundleError, match="int8"):
        compile_variant(bundle, variant="int8", device="CPU")
    with pytest.raises(DeviceError, match="'TPU'"):
        compile_variant(bundle, variant="fp32", device="TPU")


def test_a_meta_device_must_name_a_device(bundle):
    for name in ("HETERO", "HETERO:", "batch", "MULTI", "BATCH:"):
        with pytest.raises(DeviceError) as caught:
            compile_variant(bundle, variant="fp32", device=name)
        asked = name.upper()
        assert str(caught.value) == f"{asked} names no device: say which, such as {asked.rstrip(':')}:CPU"


@pytest.mark.parametrize("device", ["CPU", "AUTO", "AUTO:CPU", "HETERO:CPU", "BATCH:CPU"])
def test_a_property_that_no_device_concerned_has_is_named(bundle, device):
    with pytest.raises(DeviceError) as caught:
        compile_variant(bundle, variant="fp32", device=device, properties={"GPU_FOO": "LOW"})
    assert {device, "GPU_FOO:"} <= set(str(caught.value).split())


@pytest.mark.parametrize("wrong", [{"execution_precision": "f64"}, {"execution_precision": "FP32"}, {"hint": "fast"}])
def test_a_word_that_is_not_known_is_named_with_those_that_are(bundle, wrong):
    ((name, value),) = wrong.items()
    known = "auto, f32, f16, bf16" if name == "execution_precision" else "latency, throughput"
    with pytest.raises(ValueError, match=name) as caught:
        compile_variant(bundle, variant="fp32", device="CPU", **wrong)
    assert str(caught.value) == f"{name} is '{value}', expected one of {known}"


def test_a_request_that_can_not_be_compiled_is_described(bundle):
    with pytest.raises(DeviceError) as caught:
        compile_variant(
            bundle, variant="fp16", device="CPU", execution_precision="f32", properties={"PERF_COUNT": "maybe"}
        )
    assert str(caught.value).startswith("CPU can't compile the fp16 variant in f32 with PERF_COUNT=maybe: Wrong")


def replace_file(bundle, name, content):
    """Put another content into a file and into the manifest's record of it."""
    (bundle.path / name).write_bytes(content)
    bundle.manifest.files[name] = hash_files(bundle.path)[name]
    return Bundle(bundle.path, bundle.manifest)


@pytest.mark.parametrize("content", [b"", b"<net", b'<?xml version="1.0"?><html></html>', b"\x00\x01"])
def test_an_ir_that_openvino_can_not_read_gives_one_sentence(bundle, content):
    broken = replace_file(bundle, "fp32.xml", content)
    with pytest.raises(BundleError) as caught:
        compile_variant(broken, variant="fp32", device="CPU")
    assert str(caught.value).startswith(f"{bundle.path / 'fp32.xml'} is not an IR that OpenVINO can read: ")
    assert "\n" not in str(caught.value)


def test_a_bundle_works_from_a_path_with_spaces_and_accents(bundle, images, expected_logits):
    moved = Path(shutil.move(bundle.path, bundle.path.with_name("mon modèle 森")))
    logits = compile_variant(Bundle.open(moved), variant="fp32", device="CPU").logits(images)
    assert np.allclose(logits, expected_logits(images), atol=1e-4)


def test_the_log_says_whether_the_model_comes_from_the_cache(bundle, caplog):
    caplog.set_level("INFO", "overfly")
    for options in ({}, {}, {"cache": False}):
        compile_variant(bundle, variant="fp16", device="CPU", **options)
    assert [message.rpartition(": ")[2] for message in caplog.messages] == [
        "compiling",
        "from the model cache",
        "compiling",
    ]


def test_the_log_says_that_a_cached_model_was_not_accepted(caplog, answers_right):
    assert answers_right()
    key = only_file().stem
    keep_blob(key, b"whole by its digest, but no model")
    caplog.set_level("INFO", "overfly")
    assert answers_right()
    assert any(key in message for message in caplog.messages)
