"""Batch normalization over the piece of one process is PyTorch's own, unless the piece is a part of a share."""

import copy

import torch
from torch import nn

from overfly.training.distributed.layers import SharedBatchNorm, share_batch_norm
from overfly.training.distributed.team import Piece


def test_the_layers_are_replaced_and_keep_their_parameters_and_statistics():
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
    before = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    share_batch_norm(model, None, lambda: None)
    assert type(model[1][0]) is SharedBatchNorm
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert all(after[name] is value for name, value in before.items())
    assert after.keys() == before.keys()


def test_a_whole_share_and_evaluation_are_as_in_pytorch():
    plain = nn.BatchNorm2d(4)
    shared = SharedBatchNorm(copy.deepcopy(plain), None, lambda: Piece(0, slice(0, 6), slice(0, 6), 1.0))
    images = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(0))
    assert torch.equal(shared(images), plain(images))
    assert torch.equal(shared.running_var, plain.running_var)
    assert torch.equal(shared.eval()(images[:2]), plain.eval()(images[:2]))
