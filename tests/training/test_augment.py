"""The random changes are those that leave a scene's class as it is, and a seed repeats them."""

import dataclasses

import pytest
import torch

from overfly.training.augment import augment, crop_and_resize, jitter, turn_and_mirror
from overfly.training.recipe import PAPER, Recipe

ALL = torch.arange(8)
RECIPE = Recipe(image_size=48, train_scale=0.875)


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def noise():
    """Pixels in 0..255, float32 `[16, 3, 48, 48]`."""
    return torch.rand(16, 3, 48, 48, generator=seeded(0)) * 255


def test_the_eight_symmetries_are_distinct(noise):
    turned = turn_and_mirror(noise[:1].expand(8, -1, -1, -1), ALL)
    assert len({tuple(image.flatten().tolist()) for image in turned}) == 8
    for image in turned:
        assert torch.equal(image.flatten().sort().values, noise[0].flatten().sort().values)


def test_quarter_turns_and_mirrors_by_hand():
    square = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(8, 1, 2, 2)
    turned = turn_and_mirror(square, ALL)[:, 0].tolist()
    assert turned[:4] == [[[1, 2], [3, 4]], [[2, 4], [1, 3]], [[4, 3], [2, 1]], [[3, 1], [4, 2]]]
    assert turned[4:] == [[row[::-1] for row in image] for image in turned[:4]]


def test_undoing_a_symmetry_restores_the_image(noise):
    images = noise[:8]
    turned = turn_and_mirror(images, ALL)
    # A turn is undone by the opposite turn; a turn and then a mirror is its own inverse.
    inverse = torch.tensor([0, 3, 2, 1, 4, 5, 6, 7])
    assert torch.equal(turn_and_mirror(turned, inverse), images)
    assert not torch.equal(turned[1:], images[1:])


def test_each_image_gets_its_own_symmetry(noise):
    ops = torch.tensor([3, 0, 7, 7, 5, 1, 2, 6, 4, 0, 3, 3, 2, 1, 5, 6])
    turned = turn_and_mirror(noise, ops)
    for image, op, result in zip(noise, ops, turned, strict=True):
        assert torch.equal(turn_and_mirror(image[None], op[None])[0], result)


def test_all_symmetries_are_drawn_equally_often():
    recipe = dataclasses.replace(PAPER, dihedral=True)
    images = torch.arange(4.0).view(1, 1, 2, 2).expand(4000, 1, 2, 2)
    drawn, counts = augment(images, recipe, seeded(5)).flatten(1).unique(dim=0, return_counts=True)
    assert len(drawn) == 8
    assert counts.min() > 400  # 500 expected, standard deviation 21
    assert counts.max() < 600


def test_a_crop_of_the_whole_image_is_the_image(noise):
    assert torch.allclose(crop_and_resize(noise, 1.0, 48, seeded(1)), noise, atol=1e-2)


def test_a_crop_magnifies_a_part():
    size, min_crop = 64, 0.5
    ramp = torch.arange(float(size)).expand(200, 3, size, size)
    cut = crop_and_resize(ramp, min_crop, size, seeded(2))
    assert cut.shape == ramp.shape
    inner = cut[:, 0, size // 2, 2:-2]  # away from the border, whose last half pixel is repeated
    slopes = inner.diff(dim=1)
    assert torch.allclose(slopes, slopes.mean(dim=1, keepdim=True).expand_as(slopes), atol=1e-2)
    assert slopes.min() > min_crop - 0.01
    assert slopes.max() < 1.01
    assert slopes.mean(dim=1).std() > 0.1
    assert cut.min() >= 0
    assert cut.max() <= size - 1
    # Rows of a horizontal ramp are equal: nothing was turned or sheared.
    assert torch.allclose(cut, cut[:, :, :1].expand_as(cut), atol=1e-2)


def test_a_smaller_size_shows_the_whole_image_smaller():
    size = 64
    ramp = torch.arange(float(size)).expand(2, 3, size, size)
    cut = crop_and_resize(ramp, 1.0, size // 2, seeded(2))
    assert torch.allclose(cut[0, 0, 0], 0.5 + 2 * torch.arange(size / 2), atol=1e-3)


def test_brightness_stays_within_its_range():
    grey = torch.full((500, 3, 4, 4), 100.0)
    values = jitter(grey, 0.2, seeded(3))
    assert torch.allclose(values, values[:, :1, :1, :1].expand_as(values))
    factors = values[:, 0, 0, 0] / 100
    assert 0.8 <= factors.min() < 0.82
    assert 1.18 < factors.max() <= 1.2


def test_contrast_is_changed_about_the_mean():
    images = torch.tensor([90.0, 110.0]).view(1, 1, 1, 2).expand(500, 3, 2, 2)
    changed = jitter(images, 0.2, seeded(4))
    brightness = changed.mean(dim=(1, 2, 3)) / 100
    contrast = (changed[:, 0, 0, 1] - changed[:, 0, 0, 0]) / 20 / brightness
    for factors in (brightness, contrast):
        assert factors.min() > 0.8 - 1e-4
        assert factors.max() < 1.2 + 1e-4
        assert 0.1 < factors.std() < 0.13  # uniform: 0.4 / sqrt(12)
    assert abs(torch.corrcoef(torch.stack([brightness, contrast]))[0, 1]) < 0.15


def test_jitter_stays_within_the_pixels_range():
    extreme = torch.tensor([0.0, 255.0]).view(1, 1, 1, 2).expand(100, 3, 2, 2)
    changed = jitter(extreme, 0.9, seeded(6))
    assert changed.min() == 0
    assert changed.max() == 255


def test_a_seed_repeats_the_batch_and_another_does_not(noise):
    first, again, other = (augment(noise, RECIPE, seeded(seed)) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_generator_is_left_alone(noise):
    before = torch.get_rng_state()
    augment(noise, RECIPE, seeded(7))
    assert torch.equal(torch.get_rng_state(), before)


def test_the_callers_images_stay_as_they_are(noise):
    pixels = noise.to(torch.uint8)
    before = pixels.clone()
    changed = augment(pixels, RECIPE, seeded(7))
    assert torch.equal(pixels, before)
    assert changed.dtype == torch.float32
    assert changed.shape == (16, 3, 42, 42)
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_the_papers_recipe_changes_nothing(noise):
    generator = seeded(7)
    before = generator.get_state()
    assert torch.equal(augment(noise, PAPER, generator), noise)
    assert torch.equal(generator.get_state(), before)
