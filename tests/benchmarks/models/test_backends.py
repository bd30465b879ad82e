"""What executes a model: torch.compile for real, on a model that it compiles soon."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from overfly.benchmarks.models.backends import BATCH, BatchBackend, _compile, load_onnxruntime
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
    compiled = _compile(model, (1, BATCH), SIZE)
    images = np.random.default_rng(0).integers(0, 256, (BATCH + 3, SIZE, SIZE, 3), dtype=np.uint8)
    expected = run_of(model)(images)
    backend = BatchBackend(run_of(compiled), always_full=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        singles = np.concatenate([backend.infer(images[i : i + 1]) for i in range(3)])
        streamed = np.stack(list(backend.stream(iter(images))))
    assert singles == pytest.approx(expected[:3], abs=1e-4)
    assert streamed == pytest.approx(expected, abs=1e-4)


@pytest.mark.slow
def test_without_a_compiler_the_reason_is_one_sentence(model, monkeypatch):
    import torch._inductor.config

    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    with pytest.raises(DeviceError, match=r"torch\.compile failed: .*no-such-compiler.*; it needs a C\+\+ compiler"):
        _compile(model, (1,), SIZE)


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
    backend = load_onnxruntime(path, variant="fp32").backend
    assert backend.infer(np.full((1, SIZE, SIZE, 3), 7, np.uint8)).max() == 7
    with pytest.raises(DeviceError, match=r"ONNX Runtime can't run .*model\.onnx: .*[Gg]ot invalid dimensions"):
        backend.infer(np.zeros((1, SIZE, SIZE, 4), np.uint8))
