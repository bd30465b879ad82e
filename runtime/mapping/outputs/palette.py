"""The color of each class, the same in every file of a map."""

import colorsys

Color = tuple[int, int, int]

# The first twelve differ in lightness as well as in hue, so that color-blind people can tell them apart. Each further
# one is that of a grid of colors which is farthest, in CIELAB, from those before it.
_LISTED = (
    (230, 159, 0),
    (0, 114, 178),
    (0, 158, 115),
    (204, 71, 120),
    (240, 228, 66),
    (86, 180, 233),
    (148, 52, 18),
    (120, 94, 240),
    (170, 215, 90),
    (110, 110, 110),
    (255, 150, 170),
    (20, 70, 55),
    (0, 255, 0),
    (255, 0, 210),
    (0, 0, 255),
    (255, 0, 0),
    (240, 225, 180),
    (105, 105, 15),
    (0, 255, 150),
    (225, 165, 255),
    (120, 0, 120),
    (90, 240, 240),
    (0, 135, 15),
    (195, 15, 255),
    (240, 0, 75),
    (225, 210, 240),
    (105, 45, 75),
    (255, 120, 60),
    (45, 60, 150),
    (195, 135, 90),
    (165, 240, 0),
    (165, 240, 180),
)
# Nearly black, like no class.
_UNKNOWN = (45, 45, 45)
# The golden ratio of the circle: each further hue is in the largest gap.
_HUE_STEP = 0.618034
_LIGHTNESS = (0.38, 0.62, 0.5, 0.75)
_SATURATION = (0.75, 0.55, 0.9)


def class_colors(n_classes: int, *, unknown: bool = False) -> list[Color]:
    """Return a color for each class index, and one for unknown cells, as red, green and blue from 0 to 255."""
    colors = [_LISTED[i] if i < len(_LISTED) else _computed(i) for i in range(n_classes)]
    return [*colors, _UNKNOWN] if unknown else colors


def _computed(index: int) -> Color:
    """Return a color for a class that has none in the list."""
    lightness, saturation = _LIGHTNESS[index % len(_LIGHTNESS)], _SATURATION[index % len(_SATURATION)]
    red, green, blue = colorsys.hls_to_rgb(index * _HUE_STEP % 1, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)
