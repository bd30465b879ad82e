"""The ONNX file: its answers at any batch size, and what it says about itself."""

import json

import numpy as np
import onnx
import pytest

from overfly.export.onnx_model import run_onnx
from overfly.runtime.bundle.bundle import Bundle


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


@pytest.mark.parametrize("batch_size", [1, 5, 16])
def test_onnx_runtime_gives_pytorchs_logits_at_any_batch(bundle, batch_size):
    golden = bundle.golden()
    logits = run_onnx(bundle.path / "model.onnx", golden.images, batch_size=batch_size)
    assert np.abs(logits - golden.logits).max() < 1e-3


def test_the_onnx_file_says_what_it_is(bundle):
    model = onnx.load(bundle.path / "model.onnx")
    facts = {item.key: json.loads(item.value) for item in model.metadata_props}
    assert facts["classes"] == list(bundle.manifest.classes)
    assert facts["image"]["size"] == 64
    assert facts["run_sha256"] == bundle.manifest.provenance.run_sha256
    assert model.opset_import[0].version == bundle.manifest.onnx.opset
    shape = model.graph.input[0].type.tensor_type
    assert shape.elem_type == onnx.TensorProto.UINT8
    assert [dim.dim_param or dim.dim_value for dim in shape.shape.dim] == ["batch", 64, 64, 3]
