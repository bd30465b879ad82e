"""Processes share a batch evenly, and errors of communication become one sentence."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overfly.runtime.errors import DeviceError, OutputError, TeamError
from overfly.training.distributed.team import ALONE, Piece, Team, join
from overfly.training.identity import TrainingIdentity
from overfly.training.recipe import PAPER


def team_of(size):
    return [Team(rank, size, rank) for rank in range(size)]


@st.composite
def shared_batches(draw):
    """Numbers of processes, of shares and of images; the processes divide the shares or the shares the processes."""
    few = draw(st.integers(1, 5))
    numbers = (few, few * draw(st.integers(1, 4)))
    return *draw(st.permutations(numbers)), draw(st.integers(1, 70))


@given(shared_batches())
def test_the_pieces_are_the_shares_of_one_process_cut_evenly(numbers):
    n_processes, n_shares, n_images = numbers
    alone = ALONE.pieces(n_images, n_shares)
    batch = list(range(n_images))
    assert [image for piece in alone for image in batch[piece.share]] == batch
    assert len(alone) == (n_shares if n_images >= 2 * n_shares else 1)
    computed = {piece.index: [] for piece in alone}
    for pieces in (team.pieces(n_images, n_shares) for team in team_of(n_processes)):
        for piece in pieces:
            assert piece.share == alone[piece.index].share
            computed[piece.index].append(batch[piece.share][piece.rows])
    for piece in alone:
        share, parts = batch[piece.share], computed[piece.index]
        if n_images >= 2 * max(n_processes, n_shares):
            assert [image for part in parts for image in part] == share
        else:
            assert all(part == share for part in parts)
    lengths = {len(part) for parts in computed.values() for part in parts}
    assert max(lengths) - min(lengths) <= 1
    assert min(lengths) >= 2 or n_images == 1


@given(shared_batches(), st.integers(0, 9))
def test_the_weighted_means_of_the_pieces_add_up_to_the_mean_of_the_batch(numbers, seed):
    n_processes, n_shares, n_images = numbers
    values = np.random.default_rng(seed).normal(size=n_images)
    pieces = [piece for team in team_of(n_processes) for piece in team.pieces(n_images, n_shares)]
    total = sum(piece.weight * values[piece.share][piece.rows].mean() for piece in pieces)
    assert total == pytest.approx(values.mean(), abs=1e-12)


@pytest.mark.parametrize(("n_processes", "n_shares"), [(3, 2), (2, 3), (4, 6)])
def test_shares_that_can_not_be_divided_evenly_are_an_error(n_processes, n_shares):
    with pytest.raises(TeamError) as caught:
        Team(0, n_processes).check_divides(n_shares)
    assert str(caught.value) == (
        f"{n_processes} processes can't divide the {n_shares} shares of a batch evenly: start another number of "
        f"processes, or start a new training with --set batch_shares={n_processes}"
    )


def test_a_process_alone_takes_the_batch_as_it_is():
    assert ALONE.pieces(7, 1) == [Piece(0, slice(0, 7), slice(0, 7), 1.0)]
    assert ALONE.group(2) is None
    values = torch.tensor([0.1])
    ALONE.add_up([values])
    assert values == torch.tensor([0.1])
    assert ALONE.from_first(lambda: values) is values
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
