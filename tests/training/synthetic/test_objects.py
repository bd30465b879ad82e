"""The objects: where they are and how large."""

import numpy as np
import pytest

from overfly.training.synthetic.canvas import Canvas
from overfly.training.synthetic.objects import boat, car, house, roof, truck

PLACE = (12.0, -7.0)


@pytest.fixture
def canvas():
    return Canvas(np.random.default_rng(3), 64)


def extent(shapes):
    """Return length and width in meters of an object with heading 0, and its center."""
    points = np.concatenate([shape.points_m for shape in shapes])
    return np.ptp(points, axis=0), (points.min(axis=0) + points.max(axis=0)) / 2


@pytest.mark.parametrize(
    ("build", "length_m", "width_m"),
    [
        (car, (4.1, 5.2), (1.75, 2.05)),
        (truck, (11, 17), (2.6, 2.6)),
        (lambda *arguments: boat(*arguments, 10.0), (10, 10), (2.4, 3.5)),
        (lambda canvas, place, heading: roof(canvas, place, (12.0, 8.0), heading, (0.5, 0.5, 0.5)), (12, 12), (8, 8)),
    ],
    ids=["car", "truck", "boat", "roof"],
)
def test_an_object_has_its_size_at_its_place(canvas, build, length_m, width_m):
    for _ in range(10):
        shapes = list(build(canvas, PLACE, 0.0))
        (length, width), center = extent(shapes)
        assert length_m[0] - 1e-6 <= length <= length_m[1] + 1e-6
        assert width_m[0] - 1e-6 <= width <= width_m[1] + 1e-6
        assert center == pytest.approx(PLACE, abs=2.0)
        assert all(shape.height_m > 0 for shape in shapes)


def test_a_heading_turns_the_object(canvas):
    length, width = extent(car(canvas, PLACE, np.pi / 2))[0]
    assert length < 2.1
    assert width > 4


def test_the_face_of_a_roof_that_looks_to_the_sun_is_brighter(canvas):
    canvas.turn, canvas.sun = (1.0, 0.0), (0.0, 1.0)
    # Shadows point to positive y, so that the sun stands at negative y.
    away, towards, *gables = roof(canvas, PLACE, (12.0, 8.0), 0.0, (0.5, 0.5, 0.5))
    assert away.color[0] < gables[0].color[0] < towards.color[0]
    assert gables[0].color[0] == pytest.approx(0.5)


def test_houses_differ_in_their_wings_and_chimneys(canvas):
    n_shapes = {len(list(house(canvas, PLACE, 0.0, (12.0, 9.0)))) for _ in range(40)}
    assert n_shapes == {4, 5, 8, 9}
