"""The color of each class, the same in every file of a map."""

import colorsys

Color = tuple[int, int, int]

# The first ones differ in lightness as well as in hue, so that neighbors in the list differ for color-blind people too.
_FIRST = (
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
)
# The golden ratio of the circle: each further hue is in the largest gap.
_HUE_STEP = 0.618034
_LIGHTNESS = (0.38, 0.62, 0.5, 0.75)
_SATURATION = (0.75, 0.55, 0.9)


def class_colors(n_classes: int) -> list[Color]:
    """Return a color for each class index, as red, green and blue from 0 to 255."""
    return [_FIRST[i] if i < len(_FIRST) else _computed(i) for i in range(n_classes)]


def _computed(index: int) -> Color:
    """Return a color for a class that has none in the list."""
    lightness, saturation = _LIGHTNESS[index % len(_LIGHTNESS)], _SATURATION[index % len(_SATURATION)]
    red, green, blue = colorsys.hls_to_rgb(index * _HUE_STEP % 1, lightness, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)
