"""``preview.png``: the map over the image, with a legend and a scale bar, for a presentation."""

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.mapping.outputs.cells import MapCells
from overfly.runtime.mapping.outputs.palette import Color
from overfly.runtime.mapping.record import ClassFigures

# The longer side of the map in the picture, in pixels.
MAP_SIDE = 1400
# How much of the class color covers the image.
_OPACITY = 0.45
_MARGIN = 40
_LEGEND_WIDTH = 420
_LINE = 40
_SWATCH = 24
_FONT_SIZE = 22
_TITLE_SIZE = 30
# zlib's Z_RLE. For a photo its default finds nothing more, and takes half as long again.
_RUN_LENGTHS = 3
_INK = (30, 30, 30)
_PAPER = (255, 255, 255)
_EDGE = (120, 120, 120)
# Even a flat map has a legend of this many lines.
_MIN_LINES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Caption:
    """What is written on the picture.

    Attributes
    ----------
    title
        The headline.
    figures
        The figures of each class.
    colors
        The color of each class.
    cell_m
        Width and height of a cell on the ground, in meters.
    """

    title: str
    figures: Sequence[ClassFigures]
    colors: Sequence[Color]
    cell_m: tuple[float, float]


def preview(image: ImageBatch, cells: MapCells, caption: Caption) -> bytes:
    """Draw the picture and return it as PNG.

    Parameters
    ----------
    image
        uint8, shape ``[n_rows * p, n_columns * p, 3]``: the raster with `p` pixels for each cell.
    cells
        The map.
    caption
        What is written on it.
    """
    n_rows, n_columns = cells.indices.shape
    ground = n_columns * caption.cell_m[0], n_rows * caption.cell_m[1]
    scale = MAP_SIDE / max(ground)
    size = max(1, round(ground[0] * scale)), max(1, round(ground[1] * scale))
    picture = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    palette = np.array([*caption.colors, _PAPER], np.uint8)
    # The last entry of the palette is that of index -1.
    colors = Image.fromarray(palette[cells.indices]).resize(size, Image.Resampling.NEAREST)
    opacity = Image.fromarray(np.where(cells.indices >= 0, round(255 * _OPACITY), 0).astype(np.uint8))
    picture.paste(colors, mask=opacity.resize(size, Image.Resampling.NEAREST))
    return _with_legend(picture, caption, meters_per_pixel=1 / scale)


def _with_legend(picture: Image.Image, caption: Caption, *, meters_per_pixel: float) -> bytes:
    """Put a map on paper with its title, legend and scale bar."""
    shown = sorted((f for f in caption.figures if f.cells), key=lambda f: -f.area_m2)
    colors = {row.name: color for row, color in zip(caption.figures, caption.colors, strict=True)}
    room = max(_MIN_LINES, picture.height // _LINE - 2)
    rest = shown[room:]
    height = max(picture.height, (min(len(shown), room) + bool(rest) + 2) * _LINE)
    top = _MARGIN + _TITLE_SIZE + _MARGIN // 2
    page = Image.new("RGB", (picture.width + _LEGEND_WIDTH + 3 * _MARGIN, height + top + _MARGIN), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((_MARGIN, _MARGIN // 2), caption.title, _INK, ImageFont.load_default(_TITLE_SIZE))
    page.paste(picture, (_MARGIN, top))
    draw.rectangle((_MARGIN - 1, top - 1, _MARGIN + picture.width, top + picture.height), outline=_EDGE)
    font = ImageFont.load_default(_FONT_SIZE)
    total = sum(row.area_m2 for row in shown)
    left, right = picture.width + 2 * _MARGIN, page.width - _MARGIN
    lines = [(row.name, row.area_m2, colors[row.name]) for row in shown[:room]]
    if rest:
        lines.append((f"{len(rest)} more", sum(row.area_m2 for row in rest), _PAPER))
    for number, (name, area, color) in enumerate(lines):
        y = top + number * _LINE
        draw.rectangle((left, y, left + _SWATCH, y + _SWATCH), color, _EDGE)
        share = f"{area / total:.1%}"
        width = right - left - _SWATCH - _MARGIN - round(font.getlength(share))
        draw.text((left + _SWATCH + 14, y - 1), _shortened(name, font, width), _INK, font)
        draw.text((right, y - 1), share, _INK, font, anchor="ra")
    _draw_scale_bar(draw, font, (left, top + len(lines) * _LINE + _LINE // 2), meters_per_pixel)
    content = io.BytesIO()
    page.save(content, "PNG", compress_type=_RUN_LENGTHS, compress_level=1)
    return content.getvalue()


def _draw_scale_bar(
    draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, at: tuple[int, int], scale: float
) -> None:
    """Draw a bar of a round length, of at most half the legend; `scale` is in meters per pixel."""
    longest = _LEGEND_WIDTH / 2 * scale
    unit = 10 ** math.floor(math.log10(longest))
    length = next(factor for factor in (5, 2, 1) if factor * unit <= longest) * unit
    x, y = at
    end = x + round(length / scale)
    draw.line((x, y, end, y), _INK, 3)
    for tick in (x, end):
        draw.line((tick, y - 6, tick, y + 6), _INK, 3)
    text = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"  # noqa: PLR2004 - meters in a kilometer
    draw.text((end + 14, y), text, _INK, font, anchor="lm")


def _shortened(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Return a text that fits into a width in pixels, with an ellipsis if it was too long."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}...") > width:
        text = text[:-1]
    return f"{text}..."
