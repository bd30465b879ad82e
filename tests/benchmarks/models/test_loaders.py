"""Loading: torch.compile on a model that it compiles quickly, ONNX Runtime's errors, batches."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from overfly.benchmarks.models.loaders import BATCH, LoadSpec, compile_pytorch, loader_of, stream_in_batches
from overfly.runtime.errors import DeviceError
from overfly.runtime.images.reading import ImageSpec
from overfly.training.models.build import PreprocessedModel

SIZE = 32


@pytest.fixture
def model(monkeypatch, tmp_path):
    """A convolution, an activation and a pooling, deployed; nothing compiled before, and a cache of its own."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch.compiler.reset()
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return PreprocessedModel(layers, ImageSpec(SIZE, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))).eval()


def run_of(model):
    def run(images):
        with torch.inference_mode():
            return model(torch.from_numpy(images)).numpy()

    return run


@pytest.mark.slow
def test_a_compiled_model_answers_like_the_plain_one_and_is_not_compiled_again_while_it_is_timed(model):
    compiled = compile_pytorch(model, (1, BATCH), SIZE)
    images = np.random.default_rng(0).integers(0, 256, (BATCH + 3, SIZE, SIZE, 3), dtype=np.uint8)
    expected = run_of(model)(images)
    infer = run_of(compiled)
    with torch._dynamo.config.patch(error_on_recompile=True):
        singles = np.concatenate([infer(images[i : i + 1]) for i in range(3)])
        streamed = np.stack(list(stream_in_batches(infer, images, always_full=True)))
    assert singles == pytest.approx(expected[:3], abs=1e-4)
    assert streamed == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_without_a_compiler_the_reason_is_one_sentence(model, monkeypatch):
    import torch._inductor.config

    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(DeviceError, match="no-such-compiler"):
        compile_pytorch(model, (1,), SIZE)


def test_what_onnx_runtime_raises_while_it_runs_is_a_reason_of_ours(tmp_path):
    # Its own exceptions derive from Exception alone, which would end the whole bench.
    shape = ["n", SIZE, SIZE, 3]
    graph = helper.make_graph(
        [helper.make_node("Cast", ["images"], ["logits"], to=TensorProto.FLOAT)],
        "cast",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)],
    )
    path = tmp_path / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    loaded = loader_of(LoadSpec(backend="onnxruntime", variant="fp32", bundle="", path=str(path))).load()
    assert loaded.infer(np.full((1, SIZE, SIZE, 3), 7, np.uint8)).max() == 7
    with pytest.raises(DeviceError, match=r"model\.onnx"):
        loaded.infer(np.zeros((1, SIZE, SIZE, 4), np.uint8))


def test_a_stream_is_run_in_batches_and_a_fixed_shape_is_filled_up():
    images = np.arange(BATCH + 3, dtype=np.uint8).reshape(-1, 1, 1, 1)
    for always_full, sizes in ((False, [BATCH, 3]), (True, [BATCH, BATCH])):
        seen = []

        def run(batch, seen=seen):
            seen.append(len(batch))
            return batch.reshape(len(batch), 1).astype(np.float32)

        logits = list(stream_in_batches(run, images, always_full=always_full))
        assert np.concatenate(logits).tolist() == list(range(BATCH + 3))
        assert seen == sizes
