"""Which layers of a model are in INT8."""

import openvino as ov
import pytest
import torch

from overfly.export.int8 import quantize
from overfly.export.layers import float_layers, operations, weighted_layers
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.reporter import SILENT
from overfly.training.run import Run


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


def test_every_convolution_and_the_classifier_are_quantized(bundle):
    layers = weighted_layers(ov.Core().read_model(bundle.path / "int8.xml"))
    modules = Run.open(bundle.path.with_name("run")).load_model().model.named_modules()
    weighted = [name for name, module in modules if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert list(layers) == weighted
    assert len(layers) == 53
    assert all(layers.values())
    assert bundle.variant("int8").float_layers == ()


@pytest.mark.slow
def test_a_layer_that_is_left_in_floating_point_is_found(bundle):
    model = ov.Core().read_model(bundle.path / "fp32.xml")
    assert float_layers(model) == list(weighted_layers(model))
    ignored = operations(model, {"features.0.0", "features.18.0"})
    assert ignored == ["features.0.0/WithoutBiases", "features.18.0/WithoutBiases"]
    quantized = quantize(model, bundle.golden().images[:2], SILENT, ignored=ignored)
    assert float_layers(quantized) == ["features.0.0", "features.18.0"]
