"""The learning rate, the start of SAM and the cost of steps, by hand."""

import math
import sys
from itertools import pairwise

import pytest

from overfly.training.loop.schedule import learning_rate, n_backward_passes, sam_start_step, steps_per_epoch
from overfly.training.recipe import PAPER, override


@pytest.mark.parametrize(("n_images", "n_steps"), [(2, 1), (3, 1), (4, 1), (5, 1), (6, 2), (8, 2), (9, 2), (10, 3)])
def test_a_last_batch_of_one_image_is_left_out(n_images, n_steps):
    assert steps_per_epoch(n_images, batch_size=4) == n_steps


def test_warm_up_and_cosine():
    recipe = override(PAPER, learning_rate=0.5, warmup_fraction=0.1, schedule="cosine")
    rates = [learning_rate(step, 100, recipe) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * i for i in range(1, 11)])
    assert rates[10] == 0.5
    assert rates[25] == pytest.approx(0.25 * (1 + math.cos(math.pi / 6)))
    assert rates[55] == pytest.approx(0.25)
    assert rates[70] == pytest.approx(0.125)
    assert rates[99] == pytest.approx(0.5 * math.sin(math.pi / 180) ** 2)
    assert all(a >= b for a, b in pairwise(rates[9:]))


def test_a_warm_up_that_is_not_a_whole_number_of_steps():
    recipe = override(PAPER, learning_rate=1.0, warmup_fraction=0.1, schedule="cosine")
    assert [learning_rate(step, 15, recipe) for step in (0, 1)] == [0.5, 1.0]
    assert learning_rate(2, 15, recipe) == pytest.approx((1 + math.cos(math.pi * 0.5 / 13.5)) / 2)


def test_the_papers_learning_rate_is_constant():
    assert {learning_rate(step, 6300, PAPER) for step in range(0, 6300, 100)} == {1e-5}


def test_a_constant_rate_after_a_warm_up():
    recipe = override(PAPER, learning_rate=0.01, warmup_fraction=0.4)
    rates = [learning_rate(step, 10, recipe) for step in range(10)]
    assert rates == pytest.approx([0.0025, 0.005, 0.0075] + [0.01] * 7)


@pytest.mark.parametrize(
    ("rho", "fraction", "first"),
    [(0.3, 0.5, 5), (0.3, 0.7, 3), (0.3, 1.0, 0), (0.3, 0.0, None), (0.3, 0.09, None), (0.0, 1.0, None)],
)
def test_the_last_steps_use_sam_and_cost_twice_as_much(rho, fraction, first):
    recipe = override(PAPER, sam_rho=rho, sam_fraction=fraction)
    assert sam_start_step(10, recipe) == (sys.maxsize if first is None else first)
    costs = [1 + (first is not None and step >= first) for step in range(10)]
    assert [n_backward_passes(n, 10, recipe) for n in range(11)] == [sum(costs[:n]) for n in range(11)]
