"""A hand-made model gives the right logits, one image at a time and in a stream, in order."""

import multiprocessing
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from overfly.runtime import runner as runner_module
from overfly.runtime.bundle import Bundle, hash_files
from overfly.runtime.cache import keep_blob, model_cache_folder, read_blob
from overfly.runtime.devices import core, full_name
from overfly.runtime.errors import BundleError, DeviceError
from overfly.runtime.runner import compile_variant

SIZE, N_CLASSES = 8, 4
N_IMAGES = 300


@pytest.fixture
def stack():
    """Many different images, `[N_IMAGES, SIZE, SIZE, 3]`."""
    return np.random.default_rng(5).integers(0, 256, (N_IMAGES, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.fixture
def runner(bundle):
    return compile_variant(bundle, variant="fp32", device="CPU")


def test_the_logits_are_those_computed_without_openvino(runner, stack, expected_logits):
    logits = runner.logits(stack)
    assert logits.dtype == np.float32
    assert logits.shape == (N_IMAGES, N_CLASSES)
    assert np.allclose(logits, expected_logits(stack), rtol=0, atol=1e-4)


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_a_stream_keeps_the_order(bundle, stack, expected_logits, hint):
    runner = compile_variant(bundle, variant="fp32", device="CPU", hint=hint)
    assert runner.n_requests >= 1
    # Each image is made when it is asked for and forgotten at once: the runner has to keep it alive itself.
    rows = list(runner.stream(np.array(image) for image in stack))
    assert np.allclose(rows, expected_logits(stack), rtol=0, atol=1e-4)


def test_few_more_than_n_requests_are_in_flight(bundle, stack):
    runner = compile_variant(bundle, variant="fp32", device="CPU", hint="throughput")
    assert runner.depth == runner.n_requests + 1
    asked = 0

    def images():
        nonlocal asked
        for image in stack:
            asked += 1
            yield image

    for n_answered, _ in enumerate(runner.stream(images()), start=1):
        assert asked - n_answered < runner.depth
    assert asked == N_IMAGES


def test_an_image_may_be_overwritten_as_soon_as_it_was_given(runner, stack, expected_logits):
    buffer = np.empty_like(stack[0])
    started = []
    for image in stack[:50]:
        buffer[:] = image
        started.append(runner.start(buffer))
    buffer[:] = 0
    assert np.allclose([each.result() for each in started], expected_logits(stack[:50]), rtol=0, atol=1e-4)


def test_a_request_that_is_done_says_so(runner, stack):
    started = runner.start(stack[0])
    started._request.wait()
    assert started.done()


def test_an_image_of_another_shape_is_refused_and_the_runner_goes_on(runner, stack, expected_logits):
    for wrong in (np.zeros((SIZE, SIZE + 1, 3), np.uint8), np.zeros((SIZE, SIZE, 4), np.uint8)):
        with pytest.raises(ValueError, match="could not broadcast"):
            runner.start(wrong)
        with pytest.raises(ValueError, match="could not broadcast"):
            runner.infer(wrong[np.newaxis])
    assert np.allclose(runner.logits(stack[:3]), expected_logits(stack[:3]), atol=1e-4)


def test_threads_share_a_runner(bundle, stack, expected_logits):
    runner = compile_variant(bundle, variant="fp32", device="CPU", hint="throughput")
    expected = expected_logits(stack)

    def work(seed):
        order = np.random.default_rng(seed).permutation(N_IMAGES)
        single = np.concatenate([runner.infer(stack[i : i + 1]) for i in order[:50]])
        stream = np.stack(list(runner.stream(stack[i] for i in order)))
        assert np.allclose(single, expected[order[:50]], rtol=0, atol=1e-4)
        assert np.allclose(stream, expected[order], rtol=0, atol=1e-4)

    with ThreadPoolExecutor(8) as pool:
        for future in [pool.submit(work, seed) for seed in range(16)]:
            future.result()


def test_a_stream_left_early_harms_nothing(runner, stack, expected_logits):
    for n_taken in range(1, 20):
        stream = runner.stream(np.array(image) for image in stack)
        for _ in range(n_taken):
            next(stream)
        del stream
    assert np.allclose(runner.logits(stack[:50]), expected_logits(stack[:50]), atol=1e-4)


def test_a_closed_runner_says_so(runner, stack):
    runner.logits(stack[:3])
    runner.close()
    for use in (lambda: runner.infer(stack[:1]), lambda: runner.logits(stack), lambda: runner.device):
        with pytest.raises(ValueError, match="the runner is closed: open the bundle again"):
            use()


def test_an_empty_stream_yields_nothing(runner):
    assert list(runner.stream([])) == []


def test_views_that_are_not_contiguous(runner, stack, expected_logits):
    turned = stack.transpose(0, 2, 1, 3)[:, ::-1]
    assert not turned[0].flags.c_contiguous
    assert np.allclose(runner.logits(turned), expected_logits(np.ascontiguousarray(turned)), atol=1e-4)


def test_infer_gives_the_same_as_logits(runner, stack):
    rows = [runner.infer(image[np.newaxis]).copy() for image in stack[:20]]
    assert rows[0].shape == (1, N_CLASSES)
    assert (np.concatenate(rows) == runner.logits(stack[:20])).all()


def test_fp32_is_computed_in_f32(runner):
    assert (runner.variant, runner.device) == ("fp32", "CPU")
    assert (runner.requested_precision, runner.execution_precision) == ("f32", "f32")
    assert runner.device_name not in {"", "CPU"}


def test_other_variants_leave_the_precision_to_the_device(bundle, stack, expected_logits):
    runner = compile_variant(bundle, variant="fp16", device="CPU")
    assert runner.requested_precision == "auto"
    assert runner.execution_precision in {"f32", "f16", "bf16"}
    explicit = compile_variant(bundle, variant="fp16", device="CPU", execution_precision="f32")
    assert explicit.execution_precision == "f32"
    # The weights have lost bits: close, but not the same.
    error = np.abs(explicit.logits(stack) - expected_logits(stack)).max()
    assert 1e-4 < error < 0.05


def test_auto_compiles_somewhere(bundle, stack, expected_logits):
    runner = compile_variant(bundle, variant="fp32")
    assert np.allclose(runner.logits(stack[:3]), expected_logits(stack[:3]), atol=1e-2)


def test_the_compiled_model_is_kept_in_the_cache_when_asked(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path / "cache"))
    compile_variant(bundle, variant="fp32", device="CPU", cache=False)
    assert not (tmp_path / "cache").exists()
    compile_variant(bundle, variant="fp32", device="CPU")
    blobs = list((tmp_path / "cache" / "models").iterdir())
    assert [path.suffix for path in blobs] == [".blob"]


@pytest.fixture
def no_compiling(monkeypatch):
    """Make compiling fail, so that only the cache can give a model."""

    def refuse(*_arguments):
        raise AssertionError("compiled")

    monkeypatch.setattr(runner_module, "_compile", refuse)


@pytest.mark.parametrize("hint", ["latency", "throughput"])
def test_a_model_from_the_cache_answers_the_same(bundle, stack, hint, request):
    settings = {"variant": "fp32", "device": "CPU", "hint": hint}
    first = compile_variant(bundle, **settings)
    logits = first.logits(stack)
    request.getfixturevalue("no_compiling")
    second = compile_variant(bundle, **settings)
    assert (second.logits(stack) == logits).all()
    assert (second.execution_precision, second.n_requests) == (first.execution_precision, first.n_requests)
    assert second._compiled.get_property("PERFORMANCE_HINT") == first._compiled.get_property("PERFORMANCE_HINT")


@pytest.mark.parametrize(
    "other",
    [
        {"variant": "fp16"},
        {"hint": "throughput"},
        {"execution_precision": "bf16"},
        {"properties": {"INFERENCE_NUM_THREADS": "1"}},
    ],
)
def test_every_setting_has_a_model_of_its_own_in_the_cache(bundle, other, request):
    settings = {"variant": "fp32", "device": "CPU"}
    compile_variant(bundle, **settings)
    request.getfixturevalue("no_compiling")
    compile_variant(bundle, **settings)
    with pytest.raises(AssertionError, match="compiled"):
        compile_variant(bundle, **{**settings, **other})


def test_another_model_with_the_same_names_is_not_taken_from_the_cache(make_bundle, stack, expected_logits):
    compile_variant(Bundle.open(make_bundle("one")), variant="fp32", device="CPU")
    zeros = np.zeros((SIZE * SIZE * 3, N_CLASSES), np.float32)
    other = compile_variant(Bundle.open(make_bundle("two", weights=zeros)), variant="fp32", device="CPU")
    assert (other.logits(stack[:3]) == 0).all()
    assert not np.allclose(expected_logits(stack[:3]), 0)


def test_a_damaged_model_in_the_cache_is_compiled_again(bundle, stack, expected_logits):
    compile_variant(bundle, variant="fp32", device="CPU")
    (path,) = model_cache_folder().iterdir()
    whole = path.read_bytes()
    for at in (0, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        runner = compile_variant(bundle, variant="fp32", device="CPU")
        assert np.allclose(runner.logits(stack), expected_logits(stack), atol=1e-4)
        assert read_blob(path.stem) is not None


def test_a_whole_blob_that_the_device_does_not_take_is_compiled_again(bundle, stack, expected_logits):
    compile_variant(bundle, variant="fp32", device="CPU")
    (path,) = model_cache_folder().iterdir()
    keep_blob(path.stem, b"of another version of OpenVINO")
    runner = compile_variant(bundle, variant="fp32", device="CPU")
    assert np.allclose(runner.logits(stack), expected_logits(stack), atol=1e-4)


def _compile_in_a_process(path, cache):
    """Compile a bundle's model with an empty cache that another process fills at the same time."""
    os.environ["OVERFLY_CACHE"] = cache
    bundle = Bundle.open(Path(path))
    golden = bundle.golden()
    for variant in ("fp32", "fp16"):
        logits = compile_variant(bundle, variant=variant, device="CPU").logits(golden.images)
        assert np.allclose(logits, golden.logits, atol=0.05)


def test_processes_that_start_at_once_share_the_cache(bundle, tmp_path):
    context = multiprocessing.get_context("spawn")
    arguments = (str(bundle.path), str(tmp_path / "cache"))
    processes = [context.Process(target=_compile_in_a_process, args=arguments) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    names = [path.suffix for path in (tmp_path / "cache" / "models").iterdir()]
    assert names == [".blob", ".blob"]


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "HETERO:CPU", "BATCH:CPU", "MULTI:CPU"])
def test_meta_devices_say_what_they_really_run_on(bundle, stack, expected_logits, device):
    runner = compile_variant(bundle, variant="fp32", device=device)
    assert np.allclose(runner.logits(stack[:20]), expected_logits(stack[:20]), atol=1e-3)
    assert runner.device in core().available_devices
    assert runner.device_name == full_name(runner.device)
    assert runner.execution_precision == "f32"


def test_a_property_reaches_the_device_and_one_it_lacks_is_named(bundle):
    properties = {"INFERENCE_NUM_THREADS": "1"}
    runner = compile_variant(bundle, variant="fp32", device="CPU", properties=properties)
    assert runner._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    with pytest.raises(DeviceError, match="CPU has no property GPU_QUEUE_PRIORITY: leave it out"):
        compile_variant(bundle, variant="fp32", device="CPU", properties={"GPU_QUEUE_PRIORITY": "LOW"})


def test_an_altered_variant_is_not_compiled(bundle):
    path = bundle.path / "fp32.bin"
    path.write_bytes(path.read_bytes()[:-4] + b"evil")
    with pytest.raises(BundleError, match=r"fp32\.bin was altered"):
        compile_variant(bundle, variant="fp32", device="CPU")


def test_an_unknown_variant_and_an_unknown_device(bundle):
    with pytest.raises(BundleError, match="has no variant int8"):
        compile_variant(bundle, variant="int8", device="CPU")
    with pytest.raises(DeviceError, match="unknown device 'TPU'"):
        compile_variant(bundle, variant="fp32", device="TPU")


def test_a_device_that_can_not_compile_gives_one_sentence(bundle):
    with pytest.raises(DeviceError) as caught:
        compile_variant(bundle, variant="fp32", device="HETERO:NO_SUCH")
    assert str(caught.value).startswith("HETERO:NO_SUCH can't ")
    assert "\n" not in str(caught.value)


def replace_file(bundle, name, content):
    """Put another content into a file and into the manifest's record of it."""
    (bundle.path / name).write_bytes(content)
    bundle.manifest.files[name] = hash_files(bundle.path)[name]
    return Bundle(bundle.path, bundle.manifest)


@pytest.mark.parametrize("content", [b"", b"<net", b'<?xml version="1.0"?><html></html>', b"\x00\x01"])
def test_an_ir_that_openvino_can_not_read_gives_one_sentence(bundle, content):
    broken = replace_file(bundle, "fp32.xml", content)
    with pytest.raises(BundleError, match=r"fp32\.xml is not an IR that OpenVINO can read: ") as caught:
        compile_variant(broken, variant="fp32", device="CPU")
    assert "\n" not in str(caught.value)


def test_a_bundle_works_from_a_path_with_spaces_and_accents(bundle, stack, expected_logits):
    moved = Path(shutil.move(bundle.path, bundle.path.with_name("mon modèle 森")))
    logits = compile_variant(Bundle.open(moved), variant="fp32", device="CPU").logits(stack[:3])
    assert np.allclose(logits, expected_logits(stack[:3]), atol=1e-4)
