"""Dropout and batch normalization of a shared batch are those of one process."""

import pytest
import torch
from torch import nn

from overfly.training.distributed.layers import SharedDropout, share_batch
from overfly.training.distributed.team import ALONE, Team


def test_the_model_of_a_process_alone_stays_as_it_is():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2))
    dropout = model[1]
    share_batch(model, ALONE, lambda: 0)
    assert model[1] is dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("size", "n_images"), [(2, 16), (3, 16), (4, 5)])
def test_shared_dropout_is_that_of_one_process(dtype, size, n_images):
    features = torch.arange(n_images * 40, dtype=dtype).reshape(n_images, 40)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = nn.Dropout(0.3)(features)
        after = torch.get_rng_state()
        for rank in range(size):
            team = Team(rank, size, rank)
            torch.manual_seed(3)
            model = nn.Sequential(nn.Identity(), nn.Sequential(nn.Dropout(0.3)))
            share_batch(model, team, lambda: n_images)
            share = team.share(n_images)
            assert torch.equal(model(features[share]), expected[share])
            assert torch.equal(torch.get_rng_state(), after)
    assert 0.1 < (expected == 0).float().mean() < 0.5


def test_shared_dropout_does_nothing_in_eval_mode():
    features = torch.ones(4, 5)
    assert SharedDropout(0.5, Team(0, 2), lambda: 8).eval()(features) is features
