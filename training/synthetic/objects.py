"""The objects of the drawn scenes: vehicles, houses, boats.

Every function returns polygons in the order in which `Canvas.stamp` should draw them.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from overfly.training.synthetic.canvas import Canvas, Color, Shape, mixed, placed, rectangle, scaled

CAR_COLORS: tuple[Color, ...] = (
    (0.88, 0.88, 0.87), (0.80, 0.81, 0.82), (0.62, 0.63, 0.65), (0.44, 0.45, 0.47), (0.14, 0.14, 0.16),
    (0.10, 0.11, 0.13), (0.45, 0.10, 0.10), (0.14, 0.20, 0.38), (0.16, 0.26, 0.24), (0.55, 0.50, 0.40),
)  # fmt: skip
ROOFS: tuple[Color, ...] = (
    (0.42, 0.36, 0.33), (0.34, 0.33, 0.34), (0.55, 0.52, 0.49), (0.52, 0.33, 0.26), (0.47, 0.42, 0.36),
    (0.64, 0.61, 0.57), (0.30, 0.28, 0.28), (0.58, 0.41, 0.32),
)  # fmt: skip
_GLASS: Color = (0.12, 0.14, 0.17)
_HULLS: tuple[Color, ...] = ((0.90, 0.90, 0.89), (0.84, 0.85, 0.86), (0.78, 0.77, 0.73), (0.20, 0.25, 0.36))
_DECKS: tuple[Color, ...] = ((0.76, 0.75, 0.72), (0.58, 0.50, 0.40), (0.70, 0.71, 0.73), (0.83, 0.82, 0.80))
_COVERS: tuple[Color, ...] = ((0.16, 0.25, 0.46), (0.28, 0.30, 0.33), (0.72, 0.70, 0.66), (0.20, 0.36, 0.34))
_HULL = np.array([[-0.5, 0.42], [-0.5, -0.42], [0.1, -0.5], [0.34, -0.3], [0.5, 0], [0.34, 0.3], [0.1, 0.5]])
_BODY = np.array(
    [[0.5, 0.3], [0.44, 0.48], [-0.46, 0.5], [-0.5, 0.36], [-0.5, -0.36], [-0.46, -0.5], [0.44, -0.48], [0.5, -0.3]]
)
_CABIN = rectangle((-0.07, 0.0), 0.56, 0.86)
_CAR_ROOF = rectangle((-0.10, 0.0), 0.30, 0.78)

_Part: TypeAlias = tuple[NDArray[np.float64], Color, float]
"""Outline in units of the object's length and width, color, height in meters."""


def _assembled(
    parts: Sequence[_Part], size_m: tuple[float, float], place_m: tuple[float, float], heading: float
) -> list[Shape]:
    """Scale, rotate and move all parts of an object with one product, because there are thousands of objects."""
    outlines = [outline for outline, _, _ in parts]
    moved = placed(np.concatenate(outlines) * size_m, place_m, heading)
    ends = list(accumulate(len(outline) for outline in outlines))
    return [
        Shape(moved[end - len(outline) : end], color, height_m)
        for (outline, color, height_m), end in zip(parts, ends, strict=True)
    ]


def car(canvas: Canvas, place_m: tuple[float, float], heading: float) -> list[Shape]:
    """Build a car: body, the glass around the cabin, and the roof."""
    size_m = (canvas.between(4.1, 5.2), canvas.between(1.75, 2.05))
    paint = canvas.pick(CAR_COLORS, 0.05)
    parts = [(_BODY, paint, 1.0), (_CABIN, _GLASS, 1.4), (_CAR_ROOF, scaled(paint, 1.08), 1.5)]
    return _assembled(parts, size_m, place_m, heading)


def truck(canvas: Canvas, place_m: tuple[float, float], heading: float) -> list[Shape]:
    """Build a truck with a long box and a cab in front."""
    length_m = canvas.between(9.0, 14.0)
    box = (rectangle((0.0, 0.0), length_m, 2.6), canvas.pick(CAR_COLORS[:3], 0.04), 3.8)
    cab = (rectangle((length_m / 2 + 1.7, 0.0), 2.2, 2.4), canvas.pick(CAR_COLORS, 0.05), 2.8)
    return _assembled([box, cab], (1.0, 1.0), place_m, heading)


def roof(
    canvas: Canvas, place_m: tuple[float, float], plan_m: tuple[float, float], heading: float, color: Color
) -> list[Shape]:
    """Build a gable or hip roof over a plan of length x width; each face is lit by how it faces the sun."""
    x, y = plan_m[0] / 2, plan_m[1] / 2
    ridge = max(x - y * canvas.between(0.0, 1.0), 0.2)
    height_m = canvas.between(3.5, 6.0)
    # By their outward direction before the rotation by `heading`, as a complex number.
    faces = {
        1j: np.array([[x, y], [-x, y], [-ridge, 0], [ridge, 0]]),
        -1j: np.array([[-x, -y], [x, -y], [ridge, 0], [-ridge, 0]]),
        1: np.array([[x, y], [ridge, 0], [x, -y]]),
        -1: np.array([[-x, y], [-ridge, 0], [-x, -y]]),
    }
    turn = complex(*canvas.turn) * complex(math.cos(heading), math.sin(heading))
    lit = []
    for facing, face in faces.items():
        outward = facing * turn
        light = 1.0 - 0.26 * (outward.real * canvas.sun[0] + outward.imag * canvas.sun[1])
        lit.append((face, scaled(color, light), height_m))
    return _assembled(lit, (1.0, 1.0), place_m, heading)


def house(canvas: Canvas, place_m: tuple[float, float], heading: float, plan_m: tuple[float, float]) -> Iterator[Shape]:
    """Build a house: a main roof, often a wing across it, sometimes a chimney or a skylight."""
    color = canvas.pick(ROOFS, 0.06)
    yield from roof(canvas, place_m, plan_m, heading, color)
    if canvas.chance(0.65):
        aside = placed(np.array([[canvas.between(-0.3, 0.3) * plan_m[0], 0.32 * plan_m[1]]]), place_m, heading)[0]
        wing_m = (plan_m[1] * 0.8, plan_m[0] * canvas.between(0.35, 0.5))
        yield from roof(canvas, (aside[0], aside[1]), wing_m, heading + np.pi / 2, color)
    if canvas.chance(0.5):
        at = placed(canvas.rng.uniform(-0.3, 0.3, size=(1, 2)) * plan_m, place_m, heading)[0]
        yield Shape(rectangle((at[0], at[1]), 1.1, 0.8, heading), (0.72, 0.70, 0.67), 6.5)


def boat(canvas: Canvas, place_m: tuple[float, float], heading: float, length_m: float) -> list[Shape]:
    """Build a sailing boat with boom and cover, or a motor boat with cabin and screen."""
    size_m = (length_m, length_m * canvas.between(0.27, 0.35))
    hull = canvas.pick(_HULLS, 0.03)
    deck = mixed(hull, canvas.pick(_DECKS, 0.05), 0.8)
    if canvas.chance(0.4):
        cover = canvas.pick(_COVERS, 0.04)
        fittings = [
            (rectangle((0.05, 0.0), 0.34, 0.44), scaled(hull, 0.82), 1.6),
            (rectangle((-0.32, 0.0), 0.22, 0.50), (0.42, 0.38, 0.33), 1.2),
            (rectangle((-0.12, 0.0), 0.46, 0.14), cover, 2.4),
        ]
    else:
        cabin_at = canvas.between(-0.14, 0.06)
        aft = canvas.pick(_COVERS if canvas.chance(0.35) else _DECKS, 0.04)
        fittings = [
            (rectangle((-0.32, 0.0), 0.26, 0.66), scaled(aft, 0.85), 1.3),
            (rectangle((cabin_at + 0.12, 0.0), 0.14, 0.56), _GLASS, 2.0),
            (rectangle((cabin_at, 0.0), 0.22, 0.60), scaled(hull, 1.05), 2.6),
        ]
    return _assembled([(_HULL, hull, 1.2), (0.84 * _HULL, deck, 1.2), *fittings], size_m, place_m, heading)
