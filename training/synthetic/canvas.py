"""A canvas for drawing the ground as an aircraft sees it: noise, shapes, tree crowns, shadows, camera.

The scenes of the procedural data set (`overfly.training.synthetic.scenes`) draw in metres on a `Canvas`; the
canvas knows the rotation, the ground resolution and the sun, and turns the result into a photograph.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Colour: TypeAlias = tuple[float, float, float]
"""Reflectance in red, green and blue, each 0 to 1."""
Field: TypeAlias = NDArray[np.float32]
"""One value per pixel, float32 `[size, size]`."""
Picture: TypeAlias = NDArray[np.float32]
"""One colour per pixel, float32 `[3, size, size]`."""

REFERENCE_SIZE_PX = 256
_REFERENCE_M_PER_PX = 0.3
_SUPERSAMPLING = 2
# Sky light reaches the shade, sunlight does not: shade is dark and slightly blue.
_SHADE = np.array([0.36, 0.42, 0.52], dtype=np.float32)


@dataclass(frozen=True, slots=True)
class Shape:
    """A polygon on the ground or on top of something.

    Attributes
    ----------
    points_m
        Corners in scene coordinates (metres), float `[corners, 2]`.
    colour
        Fill.
    height_m
        Height of its top above the ground; it casts the shadow.
    """

    points_m: NDArray[np.float64]
    colour: Colour
    height_m: float = 0.0


class Canvas:
    """A square of ground under construction.

    The scene is drawn in coordinates `u`, `v` in metres whose origin is near the image centre and whose axes
    are turned at random. Its extent on the ground does not depend on the number of pixels.

    Parameters
    ----------
    rng
        The only source of chance.
    size
        Side of the image in pixels.

    Attributes
    ----------
    albedo
        Colour of the ground and of what stands on it, float32 `[3, size, size]`: one plane per channel,
        because numpy is several times slower where the innermost axis has three elements.
    height_m
        Height above the ground in metres, float32 `[size, size]`.
    u, v
        Scene coordinates of every pixel in metres, float32 `[size, size]`.
    reach_m
        Radius in metres around the origin that surely covers the image.
    """

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng = rng
        self.size = size
        self.m_per_px = _REFERENCE_M_PER_PX * REFERENCE_SIZE_PX / size * rng.uniform(0.82, 1.22)
        angle, azimuth = rng.uniform(0.0, 2.0 * np.pi, size=2)
        self.turn = (float(np.cos(angle)), float(np.sin(angle)))
        self.sun = (float(np.cos(azimuth)), float(np.sin(azimuth)))  # where shadows point, in the image
        self.sun_slope = float(rng.uniform(0.7, 1.6))  # metres down per metre of shadow
        self.extent_m = size * self.m_per_px
        self.reach_m = 0.75 * self.extent_m
        self.u, self.v = self._scene_coordinates()
        self.albedo = np.zeros((3, size, size), dtype=np.float32)
        self.height_m = np.zeros((size, size), dtype=np.float32)

    def _scene_coordinates(self) -> tuple[Field, Field]:
        axis = ((np.arange(self.size) + 0.5 - self.size / 2) * self.m_per_px).astype(np.float32)
        x, y = axis[None, :], axis[:, None]
        cos, sin = self.turn
        return (cos * x + sin * y).astype(np.float32), (cos * y - sin * x).astype(np.float32)

    def to_pixels(self, points_m: NDArray[np.float64]) -> NDArray[np.float64]:
        """Convert scene coordinates `[n, 2]` in metres to image coordinates `[n, 2]` (x, y) in pixels."""
        cos, sin = self.turn
        rotation = np.array([[cos, sin], [-sin, cos]])
        return np.asarray(points_m @ rotation / self.m_per_px + self.size / 2)

    # Chance ----------------------------------------------------------------------------------------------

    def between(self, low: float, high: float) -> float:
        """Draw a uniform random number."""
        return float(self.rng.uniform(low, high))

    def chance(self, probability: float) -> bool:
        """Toss a coin that shows heads with this probability."""
        return bool(self.rng.random() < probability)

    def pick(self, palette: Sequence[Colour], spread: float = 0.03) -> Colour:
        """Choose a colour of the palette, a little off: `spread` is a standard deviation."""
        colour = palette[int(self.rng.integers(len(palette)))]
        # Most of the variation is lightness: hues that wander look like paint, not like ground.
        lightness, *hue = self.rng.standard_normal(4).tolist()
        moved = (c * (1 + 2 * spread * lightness + 0.5 * spread * h) for c, h in zip(colour, hue, strict=True))
        red, green, blue = (min(max(channel, 0.02), 0.98) for channel in moved)
        return red, green, blue

    def blend_of(self, palette: Sequence[Colour], spread: float = 0.03) -> Colour:
        """Choose a colour somewhere between two colours of the palette."""
        first, second = self.pick(palette, spread), self.pick(palette, spread)
        return mixed(first, second, self.between(0.0, 1.0))

    def noise(self, feature_m: float, octaves: int = 3) -> Field:
        """Make smooth noise of mean about 0 and standard deviation about 1.

        Parameters
        ----------
        feature_m
            Size in metres of the largest features.
        octaves
            How many times half-size detail is added.
        """
        # Each octave is added at its own resolution; only the sum is brought to the size of the image.
        lattice = np.zeros((1, 1), dtype=np.float32)
        for octave in range(octaves):
            side = min(int(self.extent_m / feature_m * 2**octave) + 2, self.size)
            detail = self.rng.standard_normal((side, side), dtype=np.float32)
            lattice = _resized(lattice, side) + np.float32(0.6**octave) * detail
        # Bicubic interpolation between lattice points keeps about 0.8 of the standard deviation.
        deviation = 0.8 * math.sqrt(sum(0.6 ** (2 * octave) for octave in range(octaves)))
        return _resized(lattice / np.float32(deviation), self.size)

    def wiggle(self, along: Field, wavelength_m: float, amplitude_m: float) -> Field:
        """Make a smooth random curve over `along`, for shores and banks."""
        total = np.zeros_like(along)
        for harmonic in (1.0, 1.9, 4.3, 9.1):
            phase, strength = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0.5, 1.0) / harmonic
            wave = np.sin(along * np.float32(2 * np.pi * harmonic / wavelength_m) + np.float32(phase))
            total += np.float32(amplitude_m * strength) * wave
        return total

    # Painting --------------------------------------------------------------------------------------------

    def fill(self, colour: Colour, mottle: float = 0.1, feature_m: float = 12.0) -> None:
        """Cover everything with one colour whose lightness varies by about `mottle` (a fraction)."""
        tone = 1 + np.float32(mottle) * self.noise(feature_m, octaves=6)
        self.albedo[:] = coloured(tone, colour)

    def tint(self, colour: Colour, alpha: Field) -> None:
        """Mix a colour in, by `alpha` (0 to 1) at each pixel."""
        self.lay(np.array(colour, dtype=np.float32)[:, None, None], alpha)

    def lay(self, picture: Picture, alpha: Field) -> None:
        """Mix a picture in, by `alpha` (0 to 1) at each pixel."""
        self.albedo += np.minimum(np.maximum(alpha, 0), 1) * (picture - self.albedo)

    def edge(self, distance_m: Field, softness_m: float = 0.0) -> Field:
        """Turn a signed distance into coverage: 1 inside (positive), 0 outside, smooth over a pixel or more."""
        width_m = np.float32(max(self.m_per_px, softness_m))
        coverage: Field = np.clip(distance_m / width_m + np.float32(0.5), 0, 1)
        return coverage

    def strip(self, across_m: Field, width_m: float, softness_m: float = 0.0) -> Field:
        """Cover the strip `|across_m| < width_m / 2`, also where it is narrower than a pixel."""
        inside = self.edge(np.float32(width_m / 2) - np.abs(across_m), softness_m)
        coverage: Field = inside * np.float32(min(1.0, width_m / self.m_per_px))
        return coverage

    def periodic(self, coordinate_m: Field, first_m: float, pitch_m: float) -> Field:
        """Measure the signed distance to the nearest of the lines at `first_m + k * pitch_m`."""
        half_m = np.float32(pitch_m / 2)
        distance_m: Field = np.mod(coordinate_m - np.float32(first_m) + half_m, np.float32(pitch_m)) - half_m
        return distance_m

    def stamp(self, shapes: Iterable[Shape]) -> None:
        """Draw polygons, later ones on top of earlier ones, and raise the height map under them."""
        drawn = list(shapes)
        if not drawn:
            return
        side = self.size * _SUPERSAMPLING
        colours, heights = Image.new("RGBA", (side, side)), Image.new("F", (side, side))
        draw_colour, draw_height = ImageDraw.Draw(colours), ImageDraw.Draw(heights)
        corners_px = self.to_pixels(np.concatenate([shape.points_m for shape in drawn])) * _SUPERSAMPLING
        flat, first = corners_px.ravel().tolist(), 0
        for shape in drawn:
            last = first + 2 * len(shape.points_m)
            red, green, blue = (round(255 * channel) for channel in shape.colour)
            draw_colour.polygon(flat[first:last], fill=(red, green, blue, 255))
            draw_height.polygon(flat[first:last], fill=shape.height_m)
            first = last
        painted = _planes(colours.reduce(_SUPERSAMPLING))
        self.albedo += painted[3] * (painted[:3] - self.albedo)
        np.maximum(self.height_m, np.asarray(heights.reduce(_SUPERSAMPLING)), out=self.height_m)

    # Trees -----------------------------------------------------------------------------------------------

    def plant(
        self,
        places_m: NDArray[np.float64],
        *,
        radius_m: tuple[float, float],
        palette: Sequence[Colour],
        spread: float = 0.05,
    ) -> None:
        """Put trees at scene coordinates `[n, 2]`; crowns hide what is lower and are lit from the sun's side.

        Parameters
        ----------
        places_m
            Trunks in scene coordinates.
        radius_m
            Smallest and largest crown radius.
        palette
            Colours of the leaves.
        spread
            How much single trees differ in colour.
        """
        leaves = 1 + np.float32(0.16) * self.noise(0.9, octaves=2)
        ragged = 1 + np.float32(0.28) * self.noise(2.2, octaves=2)
        trunks_px, margin_px = self.to_pixels(places_m), radius_m[1] / self.m_per_px
        near = np.all((trunks_px > -margin_px) & (trunks_px < self.size + margin_px), axis=1)
        for x, y in trunks_px[near].tolist():
            radius_px = self.between(*radius_m) / self.m_per_px
            self._crown((x, y), radius_px, self.pick(palette, spread), leaves, ragged)

    def _crown(
        self, centre: tuple[float, float], radius_px: float, colour: Colour, leaves: Field, ragged: Field
    ) -> None:
        """Draw one crown: a ragged dome, drawn only where it is the highest thing."""
        columns, rows = (self._around(middle, 1.3 * radius_px) for middle in centre)
        patch = (slice(rows[0], rows[1]), slice(columns[0], columns[1]))
        dx = ((np.arange(*columns) + 0.5 - centre[0]) / radius_px).astype(np.float32)[None, :]
        dy = ((np.arange(*rows) + 0.5 - centre[1]) / radius_px).astype(np.float32)[:, None]
        inside = np.maximum(1 - (dx * dx + dy * dy) * ragged[patch], 0)
        radius_m = radius_px * self.m_per_px
        # A dome on a stem; where nothing is inside, the stem is below any ground.
        top_m = np.sqrt(inside) * np.float32(1.2 * radius_m) + np.where(inside > 0, np.float32(0.9 * radius_m), -1)
        visible = np.minimum(inside * np.float32(radius_px / 2), 1) * (top_m > self.height_m[patch])
        facing = dx * np.float32(self.sun[0]) + dy * np.float32(self.sun[1])
        light = (np.float32(0.95) - np.float32(0.42) * facing) * leaves[patch]
        ground = self.albedo[:, rows[0] : rows[1], columns[0] : columns[1]]
        ground += visible * (coloured(light, colour) - ground)
        np.maximum(self.height_m[patch], top_m, out=self.height_m[patch])

    def _around(self, middle: float, radius: float) -> tuple[int, int]:
        """Give the pixel range within `radius` of `middle`, cut at the image borders (empty outside)."""
        first = min(max(int(middle - radius), 0), self.size)
        return first, min(max(int(middle + radius) + 1, first), self.size)

    def sees(self, place_m: tuple[float, float], margin_m: float) -> bool:
        """Tell whether a scene point lies in the image or within a margin around it."""
        cos, sin = self.turn
        x, y = cos * place_m[0] - sin * place_m[1], sin * place_m[0] + cos * place_m[1]
        return max(abs(x), abs(y)) < self.extent_m / 2 + margin_m

    def scatter(self, count: int) -> NDArray[np.float64]:
        """Choose `count` random scene points over the image and a little beyond, float `[count, 2]`."""
        return self.rng.uniform(-self.reach_m, self.reach_m, size=(count, 2))

    # The photograph --------------------------------------------------------------------------------------

    def photograph(self) -> Image.Image:
        """Cast the shadows and expose: light, colour cast, haze, blur and sensor noise differ per image."""
        light = 1 + self._shade() * (_SHADE[:, None, None] - 1)
        cast = self.between(0.72, 1.28) * np.exp(self.rng.normal(0.0, 0.045, size=(3, 1, 1)))
        haze = np.float32(self.between(0.0, 0.16))
        veil = haze * np.array([0.62, 0.67, 0.72], dtype=np.float32)[:, None, None]
        exposed = np.clip(self.albedo, 0, 1) * light * cast.astype(np.float32) * (1 - haze) + veil
        soft = _to_image(exposed).filter(ImageFilter.BoxBlur(self.between(0.1, 0.65)))
        gamma = self.between(0.85, 1.15)
        developed = soft.point([round(255 * (level / 255) ** gamma) for level in range(256)] * 3)
        grain = self.rng.standard_normal((3, self.size, self.size), dtype=np.float32)
        return _to_image(_planes(developed) + np.float32(self.between(0.004, 0.02)) * grain)

    def _shade(self) -> Field:
        """Find the fraction of direct sun that is blocked at each pixel.

        The highest line of sight towards the sun is found by doubling: after k rounds the reach is 2**k - 1
        pixels, instead of one pixel per round.
        """
        roof = self.height_m
        drop_m = self.sun_slope * self.m_per_px
        for power in range(6):
            step = 2**power
            moved = _shifted(roof, round(self.sun[0] * step), round(self.sun[1] * step))
            roof = np.maximum(roof, moved - np.float32(step * drop_m))
        shade: Field = np.clip((roof - self.height_m - np.float32(0.15)) / np.float32(0.4), 0, 1)
        return shade


def _resized(field: Field, side: int) -> Field:
    image = Image.fromarray(field).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(image, dtype=np.float32)


def _shifted(field: Field, right: int, down: int) -> Field:
    """Move a field by whole pixels; zeros move in."""
    height, width = field.shape
    moved = np.zeros_like(field)
    if abs(right) < width and abs(down) < height:
        moved[max(down, 0) : height + min(down, 0), max(right, 0) : width + min(right, 0)] = field[
            max(-down, 0) : height + min(-down, 0), max(-right, 0) : width + min(-right, 0)
        ]
    return moved


def _planes(image: Image.Image) -> Picture:
    """Split an 8-bit image into planes from 0 to 1."""
    channels = [np.asarray(channel, dtype=np.float32) for channel in image.split()]
    picture: Picture = np.stack(channels) * np.float32(1 / 255)
    return picture


def _to_image(picture: Picture) -> Image.Image:
    levels = (np.clip(picture, 0, 1) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    return Image.merge("RGB", [Image.fromarray(plane) for plane in levels])


def coloured(tone: Field, colour: Colour) -> Picture:
    """Multiply a lightness at each pixel by one colour."""
    return np.asarray(tone * np.array(colour, dtype=np.float32)[:, None, None], dtype=np.float32)


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """Mix two colours: `share` 0 gives the first, 1 the second."""
    red, green, blue = ((1 - share) * a + share * b for a, b in zip(first, second, strict=True))
    return red, green, blue


def scaled(colour: Colour, factor: float) -> Colour:
    """Make a colour lighter or darker, kept within 0 to 1."""
    red, green, blue = (min(max(factor * channel, 0.0), 1.0) for channel in colour)
    return red, green, blue


def rectangle(
    centre_m: tuple[float, float], length_m: float, width_m: float, heading: float = 0.0
) -> NDArray[np.float64]:
    """Give the corners of a rectangle whose long side points along `heading` (radians), float `[4, 2]`."""
    corners = np.array([[0.5, 0.5], [-0.5, 0.5], [-0.5, -0.5], [0.5, -0.5]]) * (length_m, width_m)
    return placed(corners, centre_m, heading)


def placed(points_m: NDArray[np.float64], centre_m: tuple[float, float], heading: float) -> NDArray[np.float64]:
    """Turn points by `heading` (radians), then move them to `centre_m`."""
    cos, sin = np.cos(heading), np.sin(heading)
    return np.asarray(points_m @ np.array([[cos, sin], [-sin, cos]]) + np.array(centre_m))
