"""A canvas for drawing the ground from above: noise, shapes, tree crowns, shadows, camera.

`overfly.training.synthetic.scenes` draws in meters on a `Canvas`. The canvas has a rotation, a ground resolution and a
sun, and renders the result as a photograph.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Color: TypeAlias = tuple[float, float, float]
"""Reflectance in red, green and blue, each 0 to 1."""
# numpy keeps float32 if a Python number is added to it; its type hints say float64.
Field: TypeAlias = NDArray[np.floating[Any]]
"""One value per pixel, float32 `[size, size]`."""
ColorField: TypeAlias = NDArray[np.floating[Any]]
"""One color per pixel, float32 `[3, size, size]`."""

REFERENCE_SIZE_PX = 256
_REFERENCE_M_PER_PX = 0.3
_SUPERSAMPLING = 2
# Only skylight reaches the shade, so it is dark and slightly blue.
_SHADE = np.array([0.36, 0.42, 0.52], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Shape:
    """A polygon on the ground or on top of something.

    Attributes
    ----------
    points_m
        Corners in scene coordinates (meters), float `[corners, 2]`.
    color
        Fill.
    height_m
        Height of its top above the ground, which determines its shadow.
    """

    points_m: NDArray[np.float64]
    color: Color
    height_m: float = 0.0


class Canvas:
    """A square of ground under construction.

    The scene is drawn in coordinates `u`, `v` in meters. Their origin is near the image center and their axes have a
    random rotation. The ground area does not depend on the number of pixels.

    Parameters
    ----------
    rng
        Random generator for everything drawn.
    size
        Side of the image in pixels.

    Attributes
    ----------
    albedo
        Color of the ground and of what stands on it, float32 `[3, size, size]`: one plane per channel,
        because numpy is several times slower if the innermost axis has three elements.
    height_m
        Height above the ground in meters, float32 `[size, size]`.
    u, v
        Scene coordinates of every pixel in meters, float32 `[size, size]`.
    reach_m
        Radius in meters around the origin that covers the whole image.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        self.m_per_px = _REFERENCE_M_PER_PX * REFERENCE_SIZE_PX / size * rng.uniform(0.82, 1.22)
        angle, azimuth = rng.uniform(0.0, 2.0 * np.pi, size=2)
        self.turn = (float(np.cos(angle)), float(np.sin(angle)))
        self.sun = (float(np.cos(azimuth)), float(np.sin(azimuth)))  # where shadows point, in the image
        self.sun_slope = float(rng.uniform(0.7, 1.6))  # meters down per meter of shadow
        self.extent_m = size * self.m_per_px
        self.reach_m = 0.75 * self.extent_m
        axis = ((np.arange(size) + 0.5 - size / 2) * self.m_per_px).astype(np.float32)
        x, y = axis[None, :], axis[:, None]
        cos, sin = self.turn
        self.u, self.v = (cos * x + sin * y).astype(np.float32), (cos * y - sin * x).astype(np.float32)
        self.albedo = np.zeros((3, size, size), dtype=np.float32)
        self.height_m = np.zeros((size, size), dtype=np.float32)

    def to_pixels(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert scene coordinates `[n, 2]` in meters to image coordinates `[n, 2]` (x, y) in pixels."""
        cos, sin = self.turn
        rotation = np.array([[cos, sin], [-sin, cos]])
        return np.asarray(points_m @ rotation / self.m_per_px + self.size / 2)

    # Randomness ----------------------------------------------------------------------------------------

    def between(self, low: float, high: float) -> float:
        """Draw a uniform random number."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Return True with this probability."""
        return bool(self.rng.random() < probability)

    def pick(self, palette: Sequence[Color], spread: float = 0.03) -> Color:
        """Choose a color of the palette and vary it; `spread` is a standard deviation."""
        color = palette[int(self.rng.integers(len(palette)))]
        # Mostly the lightness varies: ground with varying hues would look painted.
        lightness, *hue = self.rng.standard_normal(4).tolist()
        moved = (c * (1 + 2 * spread * lightness + 0.5 * spread * h) for c, h in zip(color, hue, strict=True))
        red, green, blue = (min(max(channel, 0.02), 0.98) for channel in moved)
        return red, green, blue

    def blend_of(self, palette: Sequence[Color]) -> Color:
        """Return a random mix of two colors of the palette."""
        first, second = self.pick(palette), self.pick(palette)
        return mixed(first, second, self.between(0.0, 1.0))

    def noise(self, feature_m: float, octaves: int = 3) -> Field:
        """Make smooth noise of mean about 0 and standard deviation about 1.

        Parameters
        ----------
        feature_m
            Size in meters of the largest features.
        octaves
            How many times half-size detail is added.
        """
        # Each octave is added at its own resolution; only the sum is resized to the image.
        lattice = np.zeros((1, 1), dtype=np.float32)
        for octave in range(octaves):
            side = min(int(self.extent_m / feature_m * 2**octave) + 2, self.size)
            detail = self.rng.standard_normal((side, side), dtype=np.float32)
            lattice = _resized(lattice, side) + 0.6**octave * detail
        # Bicubic interpolation between lattice points keeps about 0.8 of the standard deviation.
        deviation = 0.8 * math.sqrt(sum(0.6 ** (2 * octave) for octave in range(octaves)))
        return _resized(lattice / deviation, self.size)

    def wiggle(self, wavelength_m: float, amplitude_m: float) -> Field:
        """Make a smooth random curve over `u`, for shores and banks."""
        total = np.zeros_like(self.u)
        for harmonic in (1.0, 1.9, 4.3, 9.1):
            phase, strength = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.5, 1.0) / harmonic
            wave = np.sin(self.u * (2 * np.pi * harmonic / wavelength_m) + phase)
            total += amplitude_m * strength * wave
        return total

    # Painting --------------------------------------------------------------------------------------------

    def fill(self, color: Color, mottle: float, feature_m: float = 12.0) -> None:
        """Cover everything with one color whose lightness varies by about `mottle` (a fraction)."""
        tone = 1 + mottle * self.noise(feature_m, octaves=6)
        self.albedo[:] = colored(tone, color)

    def tint(self, color: Color, alpha: Field) -> None:
        """Mix a color in, by `alpha` (0 to 1) at each pixel."""
        self.lay(np.array(color, dtype=np.float32)[:, None, None], alpha)

    def lay(self, colors: ColorField, alpha: Field) -> None:
        """Mix a color per pixel in, by `alpha` (0 to 1) at each pixel."""
        self.albedo += np.minimum(np.maximum(alpha, 0), 1) * (colors - self.albedo)

    def edge(self, distance_m: Field, softness_m: float = 0.0) -> Field:
        """Turn a signed distance into coverage: 1 inside (positive), 0 outside, smooth over a pixel or more."""
        return np.asarray(np.clip(distance_m / max(self.m_per_px, softness_m) + 0.5, 0, 1))

    def strip(self, across_m: Field, width_m: float, softness_m: float = 0.0) -> Field:
        """Cover the strip `|across_m| < width_m / 2`, also where it is narrower than a pixel."""
        inside = self.edge(width_m / 2 - np.abs(across_m), softness_m)
        return inside * min(1.0, width_m / self.m_per_px)

    def periodic(self, coordinate_m: Field, first_m: float, pitch_m: float) -> Field:
        """Measure the signed distance to the nearest of the lines at `first_m + k * pitch_m`."""
        return np.asarray(np.mod(coordinate_m - first_m + pitch_m / 2, pitch_m) - pitch_m / 2)

    def stamp(self, shapes: Iterable[Shape]) -> None:
        """Draw polygons, later ones on top of earlier ones, and raise the height map under them."""
        drawn = list(shapes)
        if not drawn:
            return
        side = self.size * _SUPERSAMPLING
        colors, heights = Image.new("RGBA", (side, side)), Image.new("F", (side, side))
        draw_color, draw_height = ImageDraw.Draw(colors), ImageDraw.Draw(heights)
        corners_px = self.to_pixels(np.concatenate([shape.points_m for shape in drawn])) * _SUPERSAMPLING
        ends = np.cumsum([len(shape.points_m) for shape in drawn])
        for shape, corners in zip(drawn, np.split(corners_px, ends[:-1]), strict=True):
            polygon = corners.ravel().tolist()
            red, green, blue = (round(255 * channel) for channel in shape.color)
            draw_color.polygon(polygon, fill=(red, green, blue, 255))
            draw_height.polygon(polygon, fill=shape.height_m)
        painted = _planes(colors.reduce(_SUPERSAMPLING))
        self.albedo += painted[3] * (painted[:3] - self.albedo)
        np.maximum(self.height_m, np.asarray(heights.reduce(_SUPERSAMPLING)), out=self.height_m)

    # Trees -----------------------------------------------------------------------------------------------

    def plant(
        self,
        places_m: NDArray[np.float64],
        *,
        radius_m: tuple[float, float],
        palette: Sequence[Color],
        spread: float = 0.05,
    ) -> None:
        """Put trees at scene coordinates `[n, 2]`. Crowns hide what is lower and are lit from the side of the sun.

        Parameters
        ----------
        places_m
            Positions of the trunks.
        radius_m
            Smallest and largest crown radius.
        palette
            Colors of the leaves.
        spread
            How much the colors of the trees differ.
        """
        leaves = 1 + 0.16 * self.noise(0.9, octaves=2)
        ragged = 1 + 0.28 * self.noise(2.2, octaves=2)
        trunks_px, margin_px = self.to_pixels(places_m), radius_m[1] / self.m_per_px
        near = np.all((trunks_px > -margin_px) & (trunks_px < self.size + margin_px), axis=1)
        for x, y in trunks_px[near].tolist():
            radius_px = self.between(*radius_m) / self.m_per_px
            self._crown((x, y), radius_px, self.pick(palette, spread), leaves, ragged)

    def _crown(self, center: tuple[float, float], radius_px: float, color: Color, leaves: Field, ragged: Field) -> None:
        """Draw one crown: a ragged dome, visible only where nothing is higher."""
        columns, rows = (self._around(middle, 1.3 * radius_px) for middle in center)
        patch = (slice(*rows), slice(*columns))
        dx = ((np.arange(*columns) + 0.5 - center[0]) / radius_px).astype(np.float32)[None, :]
        dy = ((np.arange(*rows) + 0.5 - center[1]) / radius_px).astype(np.float32)[:, None]
        inside = np.maximum(1 - (dx * dx + dy * dy) * ragged[patch], 0)
        radius_m = radius_px * self.m_per_px
        # A dome on a trunk. Outside the dome the height is below any ground.
        top_m = np.sqrt(inside) * (1.2 * radius_m) + np.where(inside > 0, np.float32(0.9 * radius_m), -1)
        visible = np.minimum(inside * (radius_px / 2), 1) * (top_m > self.height_m[patch])
        facing = dx * self.sun[0] + dy * self.sun[1]
        light = (0.95 - 0.42 * facing) * leaves[patch]
        ground = self.albedo[:, slice(*rows), slice(*columns)]
        ground += visible * (colored(light, color) - ground)
        np.maximum(self.height_m[patch], top_m, out=self.height_m[patch])

    def _around(self, middle: float, radius: float) -> tuple[int, int]:
        """Return the pixel range within `radius` of `middle`, cut at the image borders (empty outside)."""
        first = min(max(int(middle - radius), 0), self.size)
        return first, min(max(int(middle + radius) + 1, first), self.size)

    def sees(self, place_m: tuple[float, float], margin_m: float) -> bool:
        """Return whether a scene point lies in the image or within a margin around it."""
        cos, sin = self.turn
        x, y = cos * place_m[0] - sin * place_m[1], sin * place_m[0] + cos * place_m[1]
        return max(abs(x), abs(y)) < self.extent_m / 2 + margin_m

    def scatter(self, count: int) -> NDArray[np.float64]:
        """Choose `count` random scene points over the image and a little beyond, float `[count, 2]`."""
        return self.rng.uniform(-self.reach_m, self.reach_m, size=(count, 2))

    # Photograph ----------------------------------------------------------------------------------------

    def photograph(self) -> Image.Image:
        """Render the photograph: shadows, and random light, color cast, haze, blur and sensor noise."""
        light = 1 + self._shade() * (_SHADE[:, None, None] - 1)
        cast = self.between(0.72, 1.28) * np.exp(self.rng.normal(0.0, 0.045, size=(3, 1, 1)))
        haze = np.float32(self.between(0.0, 0.16))
        veil = haze * np.array([0.62, 0.67, 0.72], dtype=np.float32)[:, None, None]
        exposed = np.clip(self.albedo, 0, 1) * light * cast.astype(np.float32) * (1 - haze) + veil
        soft = _to_image(exposed).filter(ImageFilter.BoxBlur(self.between(0.1, 0.65)))
        gamma = self.between(0.85, 1.15)
        developed = soft.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)
        grain = self.rng.standard_normal((3, self.size, self.size), dtype=np.float32)
        return _to_image(_planes(developed) + self.between(0.004, 0.02) * grain)

    def _shade(self) -> Field:
        """Return the fraction of direct sunlight that is blocked at each pixel.

        The reach of the search for what blocks the sun doubles in each round: after k rounds it is 2**k - 1 pixels.
        """
        roof = self.height_m
        drop_m = self.sun_slope * self.m_per_px
        for step in (1, 2, 4, 8, 16, 32):
            left, top = (step - round(direction * step) for direction in self.sun)
            moved = np.pad(roof, step)[top : top + self.size, left : left + self.size]
            roof = np.maximum(roof, moved - step * drop_m)
        return np.asarray(np.clip((roof - self.height_m - 0.15) / 0.4, 0, 1))


def _resized(field: Field, side: int) -> Field:
    image = Image.fromarray(field).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def _planes(image: Image.Image) -> ColorField:
    """Split an 8-bit image into planes from 0 to 1."""
    planes = np.stack([np.asarray(channel, dtype=np.float32) for channel in image.split()])
    return np.asarray(planes * (1 / 255))


def _to_image(colors: ColorField) -> Image.Image:
    levels = (np.clip(colors, 0, 1) * 255 + 0.5).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(plane) for plane in levels])


def colored(tone: Field, color: Color) -> ColorField:
    """Multiply a lightness at each pixel by one color."""
    return np.asarray(tone * np.array(color, dtype=np.float32)[:, None, None], dtype=np.float32)


def mixed(first: Color, second: Color, share: float) -> Color:
    """Mix two colors: `share` 0 gives the first, 1 the second."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(first, second, strict=True))
    return red, green, blue


def scaled(color: Color, factor: float) -> Color:
    """Make a color lighter or darker, kept within 0 to 1."""
    red, green, blue = (min(max(factor * channel, 0.0), 1.0) for channel in color)
    return red, green, blue


def rectangle(
    center_m: tuple[float, float], length_m: float, width_m: float, heading: float = 0.0
) -> NDArray[np.float64]:
    """Return the corners of a rectangle whose long side points along `heading` (radians), float `[4, 2]`."""
    corners = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]) * (length_m, width_m)
    return placed(corners, center_m, heading)


def placed(points_m: NDArray[np.float64], center_m: tuple[float, float], heading: float) -> NDArray[np.float64]:
    """Rotate points by `heading` (radians), then move them to `center_m`."""
    cos, sin = np.cos(heading), np.sin(heading)
    return np.asarray(points_m @ np.array([[cos, sin], [-sin, cos]]) + np.array(center_m))
