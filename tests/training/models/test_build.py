"""Every model has the right number of outputs, and carries its preprocessing."""

import numpy as np
import pytest
import torch
from torch import nn

from overfly.runtime.images.reading import ImageSpec
from overfly.training.models.build import PreprocessedModel, build_model
from overfly.training.models.registry import MODELS
from overfly.training.models.torchvision_import import torchvision_models
from overfly.training.recipe import Recipe

# Millions of parameters with 21 outputs: the column Params of the paper's Table 2.
MILLIONS = {
    "alexnet": 57.0899,
    "mobilenet_v2": 2.2508,
    "resnet18": 11.1873,
    "shufflenet_v2_x1_0": 1.2751,
    "vgg16": 134.3466,
}


def test_the_papers_five_models():
    assert sorted(MODELS) == sorted(MILLIONS)


# On the meta device, where shapes are computed but no numbers: VGG16's would take half a gigabyte.
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("n_classes", [2, 21])
def test_the_number_of_outputs(name, n_classes):
    with torch.device("meta"):
        model = build_model(name, n_classes)
        logits = model(torch.empty(3, 3, 64, 64))
    assert logits.shape == (3, n_classes)


@pytest.mark.parametrize("name", MODELS)
def test_only_the_head_differs_from_torchvisions_model(name):
    with torch.device("meta"):
        ours = {key: value.shape for key, value in build_model(name, 5).state_dict().items()}
        theirs = {key: value.shape for key, value in getattr(torchvision_models(), name)().state_dict().items()}
    assert ours.keys() == theirs.keys()
    assert {key for key in ours if ours[key] != theirs[key]} == {f"{MODELS[name]}.weight", f"{MODELS[name]}.bias"}
    assert ours[f"{MODELS[name]}.bias"] == (5,)


@pytest.mark.parametrize("name", MODELS)
def test_the_papers_number_of_parameters(name):
    with torch.device("meta"):
        n_parameters = sum(p.numel() for p in build_model(name, 21).parameters())
    assert round(n_parameters / 1e6, 4) == MILLIONS[name]


@pytest.mark.parametrize(("name", "size"), [(name, 63 if name == "alexnet" else 32) for name in MODELS])
def test_the_smallest_image_of_every_model(name, size):
    with torch.device("meta"):
        assert build_model(name, 3)(torch.empty(2, 3, size, size)).shape == (2, 3)


def test_the_same_seed_draws_the_same_weights():
    states = []
    for seed in (1, 1, 2):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            states.append(build_model("shufflenet_v2_x1_0", 3).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())
    assert not torch.equal(states[0]["fc.weight"], states[2]["fc.weight"])


def test_the_preprocessing_by_hand():
    image = ImageSpec(4, (0.1, 0.2, 0.3), (0.5, 0.25, 2.0))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    scaled = (pixels / 255 - np.array(image.mean)) / np.array(image.std)
    result = PreprocessedModel(nn.Identity(), image)(torch.from_numpy(pixels))
    assert result.dtype == torch.float32
    assert np.allclose(result.numpy(), scaled.transpose(0, 3, 1, 2), atol=1e-6)


def test_a_deployed_model_equals_the_model_on_normalized_images():
    model = build_model("shufflenet_v2_x1_0", 4).eval()
    recipe = Recipe(image_size=32)
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (recipe.image.mean, recipe.image.std))
    with torch.inference_mode():
        expected = model((pixels.permute(0, 3, 1, 2).float() / 255 - mean) / std)
        found = PreprocessedModel(model, recipe.image).eval()(pixels)
    assert found.shape == (3, 4)
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_preprocessing_is_no_part_of_what_is_trained():
    deployed = PreprocessedModel(build_model("shufflenet_v2_x1_0", 3), Recipe().image)
    assert {name.partition(".")[0] for name, _ in deployed.named_parameters()} == {"model"}
