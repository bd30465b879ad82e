"""How far logits are apart is computed as by hand, and the bounds depend on the precision."""

import numpy as np
import pytest

from overfly.runtime.bundle.manifest import Parity
from overfly.runtime.evaluation.parity import Bounds, compare_logits, missed_bounds, parity_bounds, problems_at_export


def test_equal_logits():
    logits = np.array([[3, 4], [-1, 2], [0.5, 0]], np.float32)
    parity = compare_logits(logits, logits.copy())
    assert (parity.n_images, parity.max_abs_diff, parity.top1_agreement) == (3, 0.0, 1.0)
    assert parity.min_cosine == pytest.approx(1)


def test_known_vectors():
    reference = np.array([[3, 4, 0], [1, 0, 0], [0, 0, 2], [1, 1, 0]], np.float32)
    logits = np.array([[4, 3, 0], [2, 0, 0], [0, 0, -2.5], [1, 0, 0]], np.float32)
    parity = compare_logits(reference, logits)
    assert parity == Parity(n_images=4, max_abs_diff=4.5, min_cosine=-1.0, top1_agreement=0.5)
    assert compare_logits(reference[:2], logits[:2]).min_cosine == pytest.approx(24 / 25)
    assert compare_logits(reference[3:], logits[3:]).min_cosine == pytest.approx(2**-0.5)


def test_the_worst_image_counts_not_the_mean():
    reference = np.tile(np.array([[1, 0]], np.float32), (100, 1))
    logits = reference.copy()
    logits[57] = (0, 1)
    parity = compare_logits(reference, logits)
    assert (parity.min_cosine, parity.top1_agreement) == (0.0, 0.99)


def test_zero_logits_have_no_direction():
    parity = compare_logits(np.zeros((1, 3), np.float32), np.ones((1, 3), np.float32))
    assert (parity.min_cosine, parity.max_abs_diff) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("variant", "precision", "bounds"),
    [
        ("fp32", "f32", (0.9999, 0.01, 1.0)),
        ("fp32", "f16", (0.99, 0.5, 0.95)),
        ("fp32", "bf16", (0.97, 2.0, 0.9)),
        ("fp16", "f32", (0.99, 0.5, 0.95)),
        ("fp16", "f16", (0.99, 0.5, 0.95)),
        ("fp16", "bf16", (0.97, 2.0, 0.9)),
        ("fp32", "unknown", (0.97, 2.0, 0.9)),
        ("int8", "f32", (0.92, 3.5, 0.91)),
        ("int8", "f16", (0.92, 3.5, 0.91)),
    ],
)
def test_bounds(variant, precision, bounds):
    signed_off = Parity(n_images=50, max_abs_diff=1.5, min_cosine=0.97, top1_agreement=0.96)
    found = parity_bounds(variant, precision, signed_off)
    assert (found.min_cosine, found.max_abs_diff, found.top1_agreement) == pytest.approx(bounds)


@pytest.mark.parametrize(("signed_off", "expected"), [(1.0, 0.95), (0.86, 0.81), (0.84, 0.8), (0.5, 0.8), (0.0, 0.8)])
def test_int8_must_agree_with_something_whatever_was_signed_off(signed_off, expected):
    lost = Parity(n_images=64, max_abs_diff=30.0, min_cosine=-0.5, top1_agreement=signed_off)
    bounds = parity_bounds("int8", "f32", lost)
    assert bounds.top1_agreement == pytest.approx(expected)
    problems = missed_bounds(lost, bounds)
    assert len(problems) == (signed_off < 0.8)
    assert all(f"{signed_off:.1%}" in problem and "80.0%" in problem for problem in problems)


@pytest.mark.parametrize(("agreement", "n_problems"), [(0.0, 1), (0.79, 1), (0.8, 0), (1.0, 0)])
def test_int8_that_lost_everything_is_known_at_export(agreement, n_problems):
    parity = Parity(n_images=100, max_abs_diff=3.0, min_cosine=-0.5, top1_agreement=agreement)
    assert len(problems_at_export("int8", parity)) == n_problems
    assert problems_at_export("fp32", parity) == []


def test_a_bound_that_is_just_reached_is_kept_and_each_that_is_missed_is_named():
    bounds = Bounds(min_cosine=0.99, max_abs_diff=0.5, top1_agreement=0.95)
    assert missed_bounds(Parity(100, 0.5, 0.99, 0.95), bounds) == []
    assert missed_bounds(Parity(100, 0.5004, 0.98999, 0.9), bounds) == [
        "the worst cosine similarity is 0.98999, expected at least 0.99",
        "a logit differs by 0.5004, expected at most 0.5",
        "top-1 agreement is 90.0%, expected at least 95.0%",
    ]
