"""Every class draws on the whole canvas, and each image differently."""

import numpy as np
import pytest

from overfly.training.synthetic.canvas import Canvas
from overfly.training.synthetic.scenes import SCENES


def draw(name, seed, size=48):
    canvas = Canvas(np.random.default_rng(seed), size)
    SCENES[name](canvas)
    return canvas


@pytest.mark.parametrize("name", SCENES)
def test_no_ground_stays_bare_and_no_two_images_are_alike(name):
    first, second = draw(name, 0), draw(name, 1)
    assert (first.albedo.max(axis=0) > 0).all()
    assert np.isfinite(first.albedo).all()
    assert np.abs(first.albedo - second.albedo).mean() > 0.01


@pytest.mark.parametrize(("name", "rises"), [("forest", True), ("denseresidential", True), ("agricultural", False)])
def test_what_stands_on_the_ground_has_a_height(name, rises):
    assert (draw(name, 0).height_m.max() > 3) == rises
