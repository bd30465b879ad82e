"""The materials of the drawn scenes: palettes, open water, asphalt.

The palettes are shared between classes on purpose, so that no class can be recognized by its color alone.
"""

import numpy as np

from overfly.training.synthetic.canvas import Canvas, Color, ColorField, Field, colored, mixed

GREENS: tuple[Color, ...] = ((0.24, 0.33, 0.16), (0.30, 0.37, 0.19), (0.20, 0.27, 0.14), (0.34, 0.38, 0.22))
LEAVES: tuple[Color, ...] = (
    (0.20, 0.30, 0.14), (0.25, 0.34, 0.17), (0.17, 0.25, 0.14), (0.31, 0.36, 0.18), (0.36, 0.34, 0.18),
)  # fmt: skip
AUTUMN: tuple[Color, ...] = ((0.44, 0.34, 0.18), (0.42, 0.27, 0.16), (0.36, 0.34, 0.20), (0.38, 0.34, 0.28))
DRY: tuple[Color, ...] = ((0.54, 0.48, 0.34), (0.48, 0.42, 0.30), (0.60, 0.54, 0.40), (0.44, 0.40, 0.28))
SOILS: tuple[Color, ...] = ((0.46, 0.37, 0.28), (0.38, 0.30, 0.23), (0.56, 0.47, 0.36), (0.50, 0.46, 0.40))
SANDS: tuple[Color, ...] = ((0.70, 0.63, 0.50), (0.62, 0.57, 0.49), (0.76, 0.71, 0.61), (0.56, 0.50, 0.42))
ASPHALTS: tuple[Color, ...] = ((0.34, 0.34, 0.35), (0.44, 0.43, 0.42), (0.27, 0.27, 0.29), (0.54, 0.53, 0.51))
CONCRETE: tuple[Color, ...] = ((0.66, 0.65, 0.62), (0.58, 0.56, 0.53), (0.72, 0.70, 0.66))
WATERS: tuple[Color, ...] = (
    (0.12, 0.23, 0.30), (0.17, 0.29, 0.29), (0.24, 0.29, 0.22), (0.10, 0.16, 0.21), (0.28, 0.33, 0.32),
    (0.33, 0.30, 0.22),
)  # fmt: skip
PAINT: Color = (0.86, 0.86, 0.83)
YELLOW: Color = (0.82, 0.68, 0.28)


def grass_palette(canvas: Canvas) -> tuple[Color, ...]:
    """Choose the grass of the season: green, dry, or in between."""
    season = canvas.between(0.0, 1.0)
    return tuple(mixed(green, dry, season) for green, dry in zip(GREENS, DRY, strict=True))


def leaf_palette(canvas: Canvas) -> tuple[Color, ...]:
    """Choose the leaves of the season: mostly green, sometimes autumn."""
    share = canvas.between(0.0, 0.25) if canvas.chance(0.7) else canvas.between(0.4, 1.0)
    return tuple(mixed(leaf, AUTUMN[i % len(AUTUMN)], share) for i, leaf in enumerate(LEAVES))


def _ripples(canvas: Canvas, wavelength_m: float) -> Field:
    """Return wind waves: a few wave trains of nearly the same direction, broken up by gusts."""
    wind = canvas.between(0, 2 * np.pi)
    bend = canvas.noise(8.0, octaves=3)
    total = np.zeros_like(bend)
    for _ in range(4):
        heading, number = wind + canvas.between(-0.5, 0.5), 2 * np.pi / (wavelength_m * canvas.between(0.7, 1.5))
        along = canvas.u * np.float32(number * np.cos(heading)) + canvas.v * np.float32(number * np.sin(heading))
        total += np.sin(along + 1.4 * bend)
    gusts = np.clip(0.6 + 0.4 * canvas.noise(25.0), 0, 2)
    return np.asarray(total / 4 * gusts + 0.25 * canvas.noise(1.2, octaves=1), dtype=np.float32)


def water(canvas: Canvas, color: Color, roughness: float) -> ColorField:
    """Paint the surface of open water, with wind waves."""
    depth = 1 + 0.10 * canvas.noise(35.0, octaves=3)
    tone = depth + roughness * _ripples(canvas, canvas.between(1.6, 3.2))
    return colored(tone, color)


def asphalt(canvas: Canvas, color: Color) -> ColorField:
    """Paint a paved surface with stains and grain."""
    tone = 1 + 0.05 * canvas.noise(14.0, octaves=4) + 0.035 * canvas.noise(0.6, octaves=1)
    return colored(tone, color)
