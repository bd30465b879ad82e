"""Draw activation maps over images."""

import io
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from overfly.runtime.images.reading import ImageBatch

# float32, shape [rows, columns].
Map = npt.NDArray[np.float32]

# What speaks for a class, and what speaks against it. Orange and blue also differ for people who are color-blind.
_FOR, _AGAINST = (255, 96, 0), (0, 96, 255)
_MAX_OPACITY = 0.65

_MARGIN = 8
_FONT_SIZE = 20


def largest(maps: Sequence[Map]) -> float:
    """Return the largest absolute value of maps that are drawn in one scale; at least a tiny positive number."""
    return max([float(np.finfo(np.float32).tiny), *(float(np.abs(values).max()) for values in maps)])


def colors(values: Map, *, scale: float, size: int) -> Image.Image:
    """Return a map as a layer to put over an image.

    Parameters
    ----------
    values
        What each part of an image adds to a logit, float32 of shape ``[rows, columns]``.
    scale
        The value with the full color; see `largest`.
    size
        Height and width of the layer in pixels. The values are interpolated.

    Returns
    -------
    PIL.Image.Image
        RGBA: orange for a positive value, blue for a negative one, the stronger the larger it is.
    """
    smooth = np.asarray(Image.fromarray(values).resize((size, size), Image.Resampling.BILINEAR))
    layer = np.empty((size, size, 4), np.uint8)
    layer[..., :3] = np.where((smooth > 0)[..., np.newaxis], np.array(_FOR, np.uint8), np.array(_AGAINST, np.uint8))
    layer[..., 3] = np.rint(255 * _MAX_OPACITY * np.minimum(1, np.abs(smooth) / scale))
    return Image.fromarray(layer)


def explain_image(image: ImageBatch, panels: Sequence[tuple[str, Map]]) -> Image.Image:
    """Return an image, and next to it the same image under each map, with a caption below each.

    Parameters
    ----------
    image
        uint8, shape ``[size, size, 3]``, RGB.
    panels
        The caption and the map of each class.
    """
    size = len(image)
    font = ImageFont.load_default(_FONT_SIZE)
    scale = largest([values for _, values in panels])
    plain = Image.fromarray(image)
    height = size + 2 * _MARGIN + _FONT_SIZE
    sheet = Image.new("RGB", ((size + _MARGIN) * (1 + len(panels)) - _MARGIN, height), "white")
    sheet.paste(plain, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for number, (caption, values) in enumerate(panels, start=1):
        left = number * (size + _MARGIN)
        layered = Image.alpha_composite(plain.convert("RGBA"), colors(values, scale=scale, size=size))
        sheet.paste(layered.convert("RGB"), (left, 0))
        draw.text((left, size + _MARGIN), _fitted(caption, font, size), "black", font)
    return sheet


def _fitted(caption: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return a caption, with its end replaced by three dots if it is wider than this number of pixels."""
    if font.getlength(caption) <= width:
        return caption
    return next(
        shorter
        for n in range(len(caption) - 1, -1, -1)
        if font.getlength(shorter := f"{caption[:n]}...") <= width or n == 0
    )


def encode(image: Image.Image, kind: str, **options: int) -> bytes:
    """Return the content of an image file of this kind: ``PNG`` or ``JPEG``."""
    stream = io.BytesIO()
    image.save(stream, kind, optimize=True, **options)
    return stream.getvalue()
