"""Folding frozen batch normalizations into the convolutions changes the time, not the training."""

import copy

import pytest
import torch
from torch import nn

from overfly.training.models.build import build_model
from overfly.training.models.freezing import FrozenStatistics, freeze_first, train_mode_except_frozen
from overfly.training.models.registry import MODELS
from overfly.training.recipe import Recipe


def used_model(name, n_classes=5):
    """A model of the registry whose batch normalizations have statistics, scales and shifts as after a training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = build_model(name, n_classes)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias, 0, 0.1)
            elif isinstance(module, nn.Dropout):
                module.p = 0.0
    return model


def images(n_images=2, size=96):
    return torch.randn(n_images, 3, size, size, generator=torch.Generator().manual_seed(1))


def distance(a, b):
    """Largest difference, relative to the largest value."""
    return ((a - b).abs().max() / a.abs().max().clamp(min=1e-9)).item()


# They are large, and have no batch normalization.
LARGE = {"alexnet", "vgg16"}
SLOW = [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in sorted(MODELS)]


@pytest.mark.parametrize("name", SLOW)
def test_outputs_and_gradients_are_those_of_the_unfolded_model_in_eval_mode(name):
    plain = used_model(name).eval()
    folded = copy.deepcopy(plain)
    expected = plain(images())
    found = FrozenStatistics(folded)(images())
    assert distance(expected, found) < 1e-4
    expected.square().sum().backward()
    found.square().sum().backward()
    for (key, p), q in zip(plain.named_parameters(), folded.parameters(), strict=True):
        assert distance(p.grad, q.grad) < 1e-3, key


def test_the_statistics_stay_and_dropout_drops():
    model = used_model("mobilenet_v2")
    model.classifier[0].p = 0.5
    before = copy.deepcopy(model.state_dict())
    folded = FrozenStatistics(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        first, second = folded(images()), folded(images())
    assert not torch.equal(first, second)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_it_shares_the_models_parameters_and_holds_no_others():
    model = used_model("resnet18")
    folded = FrozenStatistics(model)
    assert [id(p) for p in folded.parameters()] == [id(p) for p in model.parameters()]
    before = folded(images())
    with torch.no_grad():
        model.bn1.bias += 1
    assert not torch.allclose(folded(images()), before)


def test_a_convolution_with_a_bias_is_folded_too():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    model[1].running_mean.fill_(0.5)
    model[1].running_var.fill_(3.0)
    expected = copy.deepcopy(model).eval()(images(size=8))
    assert torch.allclose(FrozenStatistics(model)(images(size=8)), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("fraction", "last_frozen", "first_learned"),
    [
        (0.0, None, "features.0.0.weight"),
        (0.02, "features.0.1.bias", "features.1.conv.0.0.weight"),
        (0.175, "features.3.conv.3.bias", "features.4.conv.0.0.weight"),
        (1.0, "features.18.1.bias", "classifier.1.weight"),
    ],
)
def test_the_first_convolutions_with_their_normalizations_are_frozen(fraction, last_frozen, first_learned):
    model = build_model("mobilenet_v2", 5)
    freeze_first(model, fraction)
    names = [name for name, _ in model.named_parameters()]
    learnt = [name for name, p in model.named_parameters() if p.requires_grad]
    assert learnt == names[names.index(first_learned) :]
    assert last_frozen is None or names[len(names) - len(learnt) - 1] == last_frozen


def test_a_model_of_few_convolutions_learns_all_of_them_with_the_default_fraction():
    model = build_model("alexnet", 5)
    freeze_first(model, Recipe().frozen_fraction)
    assert all(p.requires_grad for p in model.parameters())


def test_in_training_mode_only_frozen_normalizations_keep_their_statistics():
    model = used_model("mobilenet_v2")
    freeze_first(model, 0.02)
    before = copy.deepcopy(model.state_dict())
    train_mode_except_frozen(model)
    model(images())
    changed = {key for key, value in model.state_dict().items() if not torch.equal(value, before[key])}
    assert not any(key.startswith("features.0.") for key in changed)
    assert "features.1.conv.0.1.running_mean" in changed
    assert model.training
