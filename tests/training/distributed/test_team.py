"""Processes share a batch evenly, and errors of communication become one sentence."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from overfly.runtime.errors import DeviceError, OutputError, TeamError
from overfly.training.distributed.team import ALONE, Team, join
from overfly.training.identity import TrainingIdentity
from overfly.training.recipe import PAPER

SIZES = st.integers(1, 9)


def team_of(size):
    return [Team(rank, size, rank) for rank in range(size)]


@given(size=SIZES, n_images=st.integers(1, 70))
def test_shares_are_the_batch_cut_evenly_or_all_of_it(size, n_images):
    batch = list(range(n_images))
    shares = [batch[team.share(n_images)] for team in team_of(size)]
    if n_images < 2 * size:
        assert shares == [batch] * size
    else:
        assert [image for share in shares for image in share] == batch
        lengths = {len(share) for share in shares}
        assert min(lengths) >= 2
        assert max(lengths) - min(lengths) <= 1


@given(size=SIZES, values=st.lists(st.floats(-10, 10), min_size=1, max_size=70))
def test_the_weighted_means_of_the_shares_come_to_the_mean_of_the_batch(size, values):
    n = len(values)
    means = []
    for team in team_of(size):
        share = values[team.share(n)]
        means.append(team.weight(n) * sum(share) / len(share))
    assert sum(means) / size == pytest.approx(sum(values) / n, abs=1e-12)


def test_a_process_alone_takes_the_batch_as_it_is():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2))
    assert ALONE.wrap(model) is model
    assert (ALONE.share(7), ALONE.weight(7), ALONE.mean(0.1)) == (slice(0, 7), 1.0, 0.1)
    assert ALONE.from_first(lambda: model) is model
    assert ALONE.leads
    assert [ALONE.any(flag=flag) for flag in (False, True)] == [False, True]
    assert ALONE.own_device(torch.device("xpu")) == torch.device("xpu")


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with join() as team:
        assert team is ALONE
    assert not torch.distributed.is_initialized()


def test_a_lost_process_is_one_sentence():
    gloo = "[/pytorch/gloo/transport/tcp/pair.cc:553] Connection closed by peer [192.0.2.1]:37777. This is\ntypical"
    with pytest.raises(TeamError) as caught, Team(1, 3).explain_lost_peer():
        raise RuntimeError(gloo)
    assert str(caught.value) == (
        "process 1 of 3 lost the connection to another process (Connection closed by peer [192.0.2.1]:37777): check "
        "that process's output, then restart all of them with the same command and --resume"
    )


@pytest.mark.parametrize("error", [OutputError("full"), torch.OutOfMemoryError("small")])
def test_other_errors_stay_as_they_are(error):
    with pytest.raises(type(error)) as caught, Team(0, 2).explain_lost_peer():
        raise error
    assert caught.value is error
    with pytest.raises(RuntimeError, match=r"^(?!process 0)"), Team(0, 2).explain_lost_peer():
        torch.empty(10**15)
    with pytest.raises(RuntimeError, match=r"^odd$"), ALONE.explain_lost_peer():
        raise RuntimeError("odd")


def test_only_cpus_and_gpus_of_cuda_are_shared(monkeypatch):
    team = Team(1, 2, 1)
    assert team.own_device(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(DeviceError) as caught:
        team.own_device(torch.device("xpu"))
    assert str(caught.value) == "several processes can't train on xpu: add --device cpu or --device cuda"
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError) as caught:
        team.own_device(torch.device("cuda"))
    assert str(caught.value) == (
        "process 2 of this machine has no GPU of its own, because PyTorch found 1: start as many processes as there "
        "are GPUs, or add --device cpu"
    )


def test_processes_with_different_trainings_are_rejected(monkeypatch):
    first = TrainingIdentity(recipe=PAPER, seed=5, weights="none", split_sha256="a")
    monkeypatch.setattr(Team, "from_first", lambda *_: first)
    Team(1, 2).check_same(dataclasses.replace(first))
    with pytest.raises(TeamError) as caught:
        Team(1, 2).check_same(dataclasses.replace(first, split_sha256="b"))
    assert str(caught.value) == (
        "process 1 has split_sha256 = b, and process 0 has a: start all with the same command, on the same data"
    )
