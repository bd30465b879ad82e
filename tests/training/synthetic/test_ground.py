"""The materials: their seasons, and surfaces that vary around their color."""

import numpy as np
import pytest

from overfly.training.synthetic import ground
from overfly.training.synthetic.canvas import Canvas


@pytest.fixture
def canvas():
    return Canvas(np.random.default_rng(7), 64)


def test_grass_is_between_green_and_dry(canvas):
    for color, green, dry in zip(ground.grass_palette(canvas), ground.GREENS, ground.DRY, strict=True):
        assert all(min(a, b) <= c <= max(a, b) for c, a, b in zip(color, green, dry, strict=True))


def test_leaves_are_sometimes_those_of_autumn(canvas):
    reds = [np.mean(ground.leaf_palette(canvas), axis=0)[0] for _ in range(40)]
    assert len(ground.leaf_palette(canvas)) == len(ground.LEAVES)
    assert np.ptp(reds) > 0.05


@pytest.mark.parametrize("paint", [lambda canvas, color: ground.water(canvas, color, 0.05), ground.asphalt])
def test_a_surface_varies_around_its_color(canvas, paint):
    color = (0.2, 0.3, 0.4)
    surface = paint(canvas, color)
    assert surface.shape == (3, 64, 64)
    assert surface.dtype == np.float32
    assert surface.mean(axis=(1, 2)) == pytest.approx(color, rel=0.15)
    assert 0.01 < surface[0].std() / 0.2 < 0.3
