"""Every model of the registry is what the rest of the program expects of it."""

import pytest
import torch
from torch import nn

from overfly.training.models.freezing import normalized_convolutions
from overfly.training.models.registry import MODELS
from overfly.training.models.torchvision_import import torchvision_models


@pytest.mark.parametrize("name", MODELS)
def test_the_named_layer_is_the_last_and_gives_the_logits(name):
    with torch.device("meta"):
        model = getattr(torchvision_models(), name)(weights=None)
        layers = [path for path, module in model.named_modules() if isinstance(module, nn.Linear)]
        assert layers[-1] == MODELS[name]
        assert model.train()(torch.zeros(2, 3, 224, 224)).shape == (2, model.get_submodule(MODELS[name]).out_features)


@pytest.mark.parametrize("name", MODELS)
def test_each_batch_normalization_has_the_channels_of_the_convolution_before_it(name):
    with torch.device("meta"):
        model = getattr(torchvision_models(), name)(weights=None)
    pairs = normalized_convolutions(model)
    assert len(pairs) == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    for convolution, norm in pairs:
        assert model.get_submodule(convolution).out_channels == model.get_submodule(norm).num_features
