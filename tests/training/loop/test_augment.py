"""The random changes are those that leave a scene's class as it is, and a seed repeats them."""

import dataclasses

import pytest
import torch

from overfly.training.loop.augment import augment, jitter, turn_and_crop, turn_and_mirror
from overfly.training.recipe import PAPER, Recipe

ALL = torch.arange(8)
RECIPE = Recipe(image_size=48)


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


def test_the_whole_image_unturned_is_the_image(noise):
    assert torch.allclose(turn_and_crop(noise, 0.0, 1.0, seeded(1)), noise, atol=1e-2)


def test_a_crop_magnifies_a_part():
    size, min_crop = 64, 0.5
    ramp = torch.arange(float(size)).expand(200, 3, size, size)
    cut = turn_and_crop(ramp, 0.0, min_crop, seeded(2))
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


@pytest.mark.parametrize("rotation", [30.0, 180.0])
def test_turns_are_of_any_angle_up_to_the_largest(rotation):
    size = 65
    ramp = torch.arange(float(size)).expand(400, 1, size, size)
    turned = turn_and_crop(ramp, rotation, 1.0, seeded(3))[:, 0]
    middle = size // 2
    across = (turned[:, middle, middle + 5] - turned[:, middle, middle - 5]) / 10
    down = (turned[:, middle + 5, middle] - turned[:, middle - 5, middle]) / 10
    # Turned about the middle, and neither sheared nor scaled: the slope's length is that of the ramp.
    assert torch.allclose(turned[:, middle, middle], torch.tensor(float(middle)), atol=1e-2)
    assert torch.allclose(torch.hypot(across, down), torch.tensor(1.0), atol=1e-3)
    angles = torch.rad2deg(torch.atan2(down, across))
    assert angles.abs().max() <= rotation + 0.1
    assert angles.min() < -0.95 * rotation
    assert angles.max() > 0.95 * rotation
    assert abs(angles.std() - rotation / 3**0.5) < 0.07 * rotation  # uniform


def test_the_corners_of_a_turned_scene_show_it_mirrored():
    size = 64
    ramp = torch.arange(float(size)).expand(50, 1, size, size)
    turned = turn_and_crop(ramp, 180.0, 1.0, seeded(4))
    # A repeated border would show its own value over whole corners, and black would be a value that the scene lacks.
    at_the_border = (turned < 0.5) | (turned > size - 1.5)
    assert at_the_border.float().mean(dim=(1, 2, 3)).max() < 0.05
    assert turned.min() >= 0


def test_brightness_stays_within_its_range():
    gray = torch.full((500, 3, 4, 4), 100.0)
    values = jitter(gray, 0.2, seeded(3))
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
    assert changed.shape == (16, 3, 48, 48)
    assert changed.min() >= 0
    assert changed.max() <= 255


def test_the_papers_recipe_changes_nothing(noise):
    generator = seeded(7)
    before = generator.get_state()
    assert torch.equal(augment(noise, PAPER, generator), noise)
    assert torch.equal(generator.get_state(), before)
