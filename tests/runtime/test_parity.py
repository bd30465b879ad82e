"""How far logits are apart is computed as by hand, and a device that answers wrongly is caught."""

from dataclasses import replace

import numpy as np
import pytest

from overfly.runtime.bundle import Bundle, Golden, Parity
from overfly.runtime.parity import check_golden, compare_logits, parity_bounds
from overfly.runtime.runner import compile_variant

PERFECT = Parity(n_images=6, max_abs_diff=0.0, min_cosine=1.0, top1_agreement=1.0)


@pytest.fixture
def runner(bundle):
    return compile_variant(bundle, variant="fp32", device="CPU")


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
        ("fp32", "f32", (0.9999, 1.0)),
        ("fp32", "f16", (0.99, 0.95)),
        ("fp32", "bf16", (0.99, 0.95)),
        ("fp16", "f32", (0.99, 0.95)),
        ("fp16", "f16", (0.99, 0.95)),
        ("int8", "f32", (0.92, 0.91)),
        ("int8", "f16", (0.92, 0.91)),
    ],
)
def test_bounds(variant, precision, bounds):
    signed_off = Parity(n_images=50, max_abs_diff=1.5, min_cosine=0.97, top1_agreement=0.96)
    assert parity_bounds(variant, precision, signed_off) == pytest.approx(bounds)


@pytest.mark.parametrize("variant", ["fp32", "fp16"])
def test_the_signed_off_answers_pass(bundle, variant):
    runner = compile_variant(bundle, variant=variant, device="CPU")
    parity, problems = check_golden(runner, bundle.golden(), PERFECT)
    assert problems == []
    assert parity.n_images == 6
    assert parity.top1_agreement == 1
    assert parity.min_cosine > 0.999


def test_other_answers_are_told_with_both_bounds(runner, bundle):
    golden = bundle.golden()
    others = Golden(golden.images, np.roll(golden.logits, 1, axis=1))
    parity, problems = check_golden(runner, others, PERFECT)
    assert parity.top1_agreement < 1
    assert problems == [
        f"the worst cosine similarity is {parity.min_cosine:.4f}, expected at least 0.9999",
        f"top-1 agreement is {parity.top1_agreement:.1%}, expected at least 100.0%",
    ]


def test_one_image_in_the_wrong_place_is_enough(runner, bundle):
    golden = bundle.golden()
    images = golden.images.copy()
    images[[0, 1]] = images[[1, 0]]
    _, problems = check_golden(runner, Golden(images, golden.logits), PERFECT)
    assert any("cosine" in problem for problem in problems)


def test_int8_is_held_to_what_was_signed_off(runner, bundle):
    golden = bundle.golden()
    runner.variant = "int8"
    turned = Golden(golden.images, np.roll(golden.logits, 1, axis=1))
    found, problems = check_golden(runner, turned, PERFECT)
    assert len(problems) == 2
    near = replace(found, min_cosine=found.min_cosine + 0.04, top1_agreement=found.top1_agreement + 0.04)
    assert check_golden(runner, turned, near) == (found, [])
    far = replace(found, min_cosine=found.min_cosine + 0.06, top1_agreement=found.top1_agreement + 0.06)
    assert len(check_golden(runner, turned, far)[1]) == 2


@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_answers_that_are_no_numbers(make_bundle, expected_logits, pixels, value):
    weights = np.full((8 * 8 * 3, 4), value, np.float32)
    images = np.stack([pixels(8, seed=i) for i in range(6)])
    bundle = Bundle.open(make_bundle(weights=weights, images=images, logits=expected_logits(images)))
    runner = compile_variant(bundle, variant="fp32", device="CPU")
    parity, problems = check_golden(runner, bundle.golden(), PERFECT)
    assert problems == ["some logits are not finite numbers"]
    assert (parity.top1_agreement, parity.min_cosine) == (0.0, 0.0)
