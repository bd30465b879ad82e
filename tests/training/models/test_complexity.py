"""Parameters and operations are those of the paper's tables, and of a count by hand."""

import pytest
import torch
from torch import nn

from overfly.benchmarks.paper.published import PUBLISHED_ROWS
from overfly.training.models.build import build_model
from overfly.training.models.complexity import Complexity, count

# Name: parameters and operations as the paper's Table 2 prints them, each with the unit and the digits it has there.
PRINTED = {
    "mobilenet_v2": ("2.2508M", "426.0928M"),
    "resnet18": ("11.1873M", "2.3818G"),
    "shufflenet_v2_x1_0": ("1.2751M", "198.1404M"),
    "vgg16": ("134.3466M", "20.1643G"),
    "alexnet": ("57.0899M", "923.1359M"),
}


def as_printed(number, unit):
    return f"{number / {'M': 1e6, 'G': 1e9}[unit]:.4f}{unit}"


@pytest.mark.parametrize("name", PRINTED)
def test_the_papers_columns_in_every_printed_digit(name):
    # On the meta device, where shapes are computed but no numbers.
    with torch.device("meta"):
        found = count(build_model(name, 21), image_size=256)
    params, flops = PRINTED[name]
    assert (as_printed(found.params, params[-1]), as_printed(found.flops, flops[-1])) == (params, flops)
    assert {(row.params, row.flops) for row in PUBLISHED_ROWS if row.model == name} == {(params, flops)}


def test_a_small_model_by_hand():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3),  # 6 x 6 outputs in 4 channels, 3 x 3 x 3 products each; 4 x 27 weights, 4 biases
        nn.BatchNorm2d(4),  # 4 x 6 x 6 values; 8 parameters
        nn.ReLU(),
        nn.Conv2d(4, 4, 3, groups=4, bias=False),  # 4 x 4 outputs in 4 channels, 3 x 3 products each
        nn.AdaptiveAvgPool2d(1),  # 4 x 4 x 4 values in, 4 out
        nn.Flatten(),
        nn.Linear(4, 5),  # 4 x 5 products; 5 biases
    ).train()
    flops = 144 * 27 + 4 * 144 + 64 * 9 + (64 + 4) + 20
    assert count(model, image_size=8) == Complexity(112 + 8 + 36 + 25, flops)
    # What was counted is left as it was.
    assert all(module.training for module in model.modules())
    assert model[1].num_batches_tracked == 0
    assert not any(module._forward_hooks for module in model.modules())
