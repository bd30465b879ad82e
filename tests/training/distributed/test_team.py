"""Several processes share a batch, and every image of it meets what it would meet in one process."""

import dataclasses
import socket
from types import SimpleNamespace

import psutil
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from overfly.runtime.errors import DeviceError, OutputError, TeamError
from overfly.training.distributed.team import ALONE, SharedDropout, Team, interface_towards, join, share_batch
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
    dropout = model[1]
    share_batch(model, ALONE, lambda: 0)
    assert model[1] is dropout
    assert ALONE.wrap(model) is model
    assert (ALONE.share(7), ALONE.weight(7), ALONE.mean(0.1)) == (slice(0, 7), 1.0, 0.1)
    assert ALONE.from_first(lambda: model) is model
    assert ALONE.leads
    assert [ALONE.any(wish=wish) for wish in (False, True)] == [False, True]
    assert ALONE.place(torch.device("xpu")) == torch.device("xpu")


def test_without_torchrun_a_process_is_alone(monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    with join() as team:
        assert team is ALONE
    assert not torch.distributed.is_initialized()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("size", "n_images"), [(2, 16), (3, 16), (4, 5)])
def test_shared_dropout_is_that_of_one_process(dtype, size, n_images):
    features = torch.arange(n_images * 40, dtype=dtype).reshape(n_images, 40)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        expected = nn.Dropout(0.3)(features)
        after = torch.get_rng_state()
        for team in team_of(size):
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


def test_gone_processes_are_told_in_a_sentence():
    gloo = "[/pytorch/gloo/transport/tcp/pair.cc:553] Connection closed by peer [192.0.2.1]:37777. This is\ntypical"
    with pytest.raises(TeamError) as caught, Team(1, 3).explain_lost_peer():
        raise RuntimeError(gloo)
    assert str(caught.value) == (
        "process 1 of 3 lost touch with another one (Connection closed by peer [192.0.2.1]:37777): see what that one "
        "says, then start all again with the same command and --resume"
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
    assert team.place(torch.device("cpu")) == torch.device("cpu")
    with pytest.raises(DeviceError, match="can't train on xpu: add --device cpu or --device cuda"):
        team.place(torch.device("xpu"))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(DeviceError) as caught:
        team.place(torch.device("cuda"))
    assert str(caught.value) == (
        "process 2 of this machine finds no GPU of its own, only 1: start as many processes as there are GPUs, "
        "or add --device cpu"
    )


def test_processes_with_different_trainings_are_refused(monkeypatch):
    first = TrainingIdentity(recipe=PAPER, seed=5, weights="none", split_sha256="a")
    monkeypatch.setattr(Team, "from_first", lambda *_: first)
    Team(1, 2).require_same(dataclasses.replace(first))
    with pytest.raises(TeamError) as caught:
        Team(1, 2).require_same(dataclasses.replace(first, split_sha256="b"))
    assert str(caught.value) == (
        "process 1 has split_sha256 = b, and process 0 has a: start all with the same command, on the same data"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "", "a..b", "x" * 64])
def test_for_this_machine_and_for_no_machine_no_network_is_named(host):
    assert interface_towards(host) is None


class Probe(socket.socket):
    """Goes out from 192.0.2.7, whatever it is connected to."""

    def connect(self, place):
        assert place == ("198.51.100.1", 1)

    def getsockname(self):
        return ("192.0.2.7", 40000)


def address(text):
    return SimpleNamespace(family=socket.AF_INET6 if ":" in text else socket.AF_INET, address=text)


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ({"lo": ["127.0.0.1"], "eth0": ["192.0.2.8"], "eth1": ["192.0.2.7", "fe80::1"]}, "eth1"),
        # By its name, gloo would take the other address.
        ({"lo": ["127.0.0.1"], "eth0": ["10.0.0.1", "192.0.2.7"]}, None),
        ({"lo": ["127.0.0.1"]}, None),
        ({"down": [], "eth0": ["192.0.2.7"]}, "eth0"),
    ],
)
def test_a_network_is_named_whose_first_address_the_host_is_reached_from(monkeypatch, addresses, expected):
    found = {name: [address(text) for text in texts] for name, texts in addresses.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    monkeypatch.setattr(socket, "socket", Probe)
    assert interface_towards("198.51.100.1") == expected


def test_where_the_networks_may_not_be_listed_none_is_named(monkeypatch):
    def refuse():
        raise PermissionError

    monkeypatch.setattr(psutil, "net_if_addrs", refuse)
    monkeypatch.setattr(socket, "socket", Probe)
    assert interface_towards("198.51.100.1") is None
