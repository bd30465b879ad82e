"""A hand-made model gives the right logits, one image at a time and in a stream, in order."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from overfly.runtime.bundle import Bundle, hash_files
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


def test_at_most_n_requests_are_in_flight(bundle, stack):
    runner = compile_variant(bundle, variant="fp32", device="CPU", hint="throughput")
    asked = 0

    def images():
        nonlocal asked
        for image in stack:
            asked += 1
            yield image

    for answered, _ in enumerate(runner.stream(images())):
        assert asked <= answered + runner.n_requests + 1
    assert asked == N_IMAGES


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
    assert len(blobs) == 1


def test_a_model_from_the_cache_answers_the_same(bundle, stack):
    first = compile_variant(bundle, variant="fp32", device="CPU").logits(stack)
    second = compile_variant(bundle, variant="fp32", device="CPU")
    assert (second.logits(stack) == first).all()
    assert second.execution_precision == "f32"


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
