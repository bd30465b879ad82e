"""A batch in shares has the gradients and statistics of its shares, whatever computes them."""

import copy
import itertools
import threading

import numpy as np
import pytest
import torch
from torch import nn

from overfly.training.distributed.team import ALONE, Piece
from overfly.training.loop import shares as shares_module
from overfly.training.loop.shares import BatchShares, SeededDropout, prepare
from overfly.training.loop.trainer import Trainer
from overfly.training.models.build import PreprocessedModel
from overfly.training.recipe import PAPER, Recipe, override

SIZE = 32
N_CLASSES = 3


@pytest.fixture
def model():
    """A network with a batch normalization that is not at its start."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        network = nn.Sequential(*layers, nn.Linear(4, N_CLASSES)).to(memory_format=torch.channels_last)
        network[1].running_mean.normal_()
    return PreprocessedModel(network, PAPER.image)


@pytest.fixture(autouse=True)
def _two_cores():
    """Let PyTorch use two cores."""
    torch.set_num_threads(2)


def batch(n_images):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n_images, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(n_images) % N_CLASSES


def by_hand(model, pixels, targets):
    """Return the loss and gradients, and the statistics, of images that are normalized together, by PyTorch itself."""
    network = copy.deepcopy(model.model).train()
    loss = nn.functional.cross_entropy(network(model.normalize(pixels.permute(0, 3, 1, 2))), targets)
    loss.backward()
    return [loss.detach(), *(p.grad for p in network.parameters())], list(network[1].buffers())


@pytest.mark.parametrize(
    ("n_images", "n_shares", "cuts"),
    [(8, 1, [0, 8]), (8, 2, [0, 4, 8]), (7, 2, [0, 3, 7]), (7, 3, [0, 2, 4, 7]), (5, 3, [0, 5]), (3, 2, [0, 3])],
)
def test_gradients_and_statistics_are_the_mean_over_the_shares(model, n_images, n_shares, cuts):
    pixels, targets = batch(n_images)
    parts = [by_hand(model, pixels[a:b], targets[a:b]) for a, b in itertools.pairwise(cuts)]
    gradients, statistics = zip(*parts, strict=True)
    weights = np.diff(cuts) / n_images
    shares = BatchShares(model, override(PAPER, batch_shares=n_shares), team=ALONE, precision="fp32")
    shares.load(pixels, targets, torch.Generator())
    with shares.run_threads():
        loss = shares.backward(update_statistics=True)
    found = [torch.tensor(loss), *(p.grad for p in model.model.parameters())]
    for ours, *theirs in zip(found, *gradients, strict=True):
        expected = sum(weight * value for weight, value in zip(weights, theirs, strict=True))
        torch.testing.assert_close(ours, expected.float(), rtol=1e-4, atol=1e-5)
    for ours, *theirs in zip(model.model[1].buffers(), *statistics, strict=True):
        torch.testing.assert_close(ours.float(), torch.stack(theirs).float().mean(dim=0), rtol=1e-5, atol=1e-6)


def test_a_second_pass_over_a_batch_sees_the_same_images_and_leaves_the_statistics(model):
    shares = BatchShares(model, Recipe(batch_shares=2), team=ALONE, precision="fp32")
    shares.load(*batch(8), torch.Generator().manual_seed(5))
    first = shares.backward(update_statistics=True)
    gradient, mean = model.model[0].weight.grad.clone(), model.model[1].running_mean.clone()
    assert shares.backward(update_statistics=False) == first
    assert torch.equal(model.model[0].weight.grad, gradient)
    assert torch.equal(model.model[1].running_mean, mean)


@pytest.mark.parametrize("changes", [{}, {"batch_norm": "frozen"}, {"frozen_fraction": 0.5}])
@pytest.mark.parametrize("n_shares", [2, 3])
def test_the_weights_do_not_depend_on_the_number_of_threads(model, n_shares, changes):
    recipe = Recipe(image_size=SIZE, epochs=2, batch_size=7, batch_shares=n_shares, learning_rate=0.01, **changes)
    model.model.insert(5, nn.Dropout(0.3))
    images, labels = (tensor.numpy() for tensor in batch(21))
    states = []
    for n_threads in (1, 2, 2):
        torch.set_num_threads(n_threads)
        trainer = Trainer(copy.deepcopy(model), recipe, n_images=21, seed=3, device=torch.device("cpu"))
        for _ in range(2):
            trainer.run_epoch(images, labels, lambda *_: None)
        states.append(trainer.model.state_dict())
    for name, value in states[0].items():
        assert torch.equal(states[1][name], value), name
        assert torch.equal(states[2][name], value), name
    assert not torch.equal(states[0]["model.6.weight"], model.state_dict()["model.6.weight"])


def test_two_shares_are_computed_at_the_same_time_on_a_core_each(model, monkeypatch):
    shares = BatchShares(model, override(PAPER, batch_shares=2), team=ALONE, precision="fp32")
    both, n_cores = threading.Barrier(2), []

    def meet(*arguments):
        both.wait(timeout=60)
        n_cores.append(torch.get_num_threads())
        return prepare(*arguments)

    monkeypatch.setattr(shares_module, "prepare", meet)
    shares.load(*batch(8), torch.Generator())
    with shares.run_threads():
        assert torch.get_num_threads() == 1
        shares.backward(update_statistics=True)
    assert n_cores == [1, 1]
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize(("n_cores", "n_shares", "expected"), [(1, 2, 1), (2, 1, 2), (4, 2, 2), (3, 2, 1)])
def test_threads_divide_the_cores(model, monkeypatch, n_cores, n_shares, expected):
    torch.set_num_threads(n_cores)
    shares = BatchShares(model, override(PAPER, batch_shares=n_shares), team=ALONE, precision="fp32")
    found = []
    monkeypatch.setattr(shares_module, "prepare", lambda *a: found.append(torch.get_num_threads()) or prepare(*a))
    shares.load(*batch(8), torch.Generator())
    with shares.run_threads():
        shares.backward(update_statistics=True)
    assert found == [expected] * n_shares
    assert torch.get_num_threads() == n_cores


def test_an_error_in_a_thread_is_raised(model, monkeypatch):
    shares = BatchShares(model, override(PAPER, batch_shares=2), team=ALONE, precision="fp32")
    monkeypatch.setattr(shares_module, "prepare", lambda *_: torch.empty(10**15))
    shares.load(*batch(8), torch.Generator())
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"), shares.run_threads():
        shares.backward(update_statistics=True)
    assert torch.get_num_threads() == 2


def test_dropout_draws_for_the_whole_share():
    features = torch.ones(8, 500)
    noise = []
    for rows in (slice(0, 8), slice(0, 3), slice(3, 8)):
        generator = torch.Generator().manual_seed(4)
        with shares_module._draw_dropout(generator, Piece(0, slice(8, 16), rows, 1.0)):
            noise.append(SeededDropout(0.2)(features[rows]))
    assert torch.equal(torch.cat(noise[1:]), noise[0])
    assert sorted(noise[0].unique().tolist()) == pytest.approx([0, 1 / 0.8])
    assert (noise[0] == 0).float().mean() == pytest.approx(0.2, abs=0.03)


def test_images_are_augmented_and_normalized(model):
    pixels, _ = batch(4)
    plain = prepare(model, pixels, PAPER, torch.Generator())
    assert torch.equal(plain, model.normalize(pixels.permute(0, 3, 1, 2)))
    assert plain.is_contiguous(memory_format=torch.channels_last)
    augmented = [prepare(model, pixels, Recipe(), torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert torch.equal(augmented[0], augmented[1])
    assert not torch.equal(augmented[0], augmented[2])
