"""An image of a cell for the person who labels it: cut from the map's raster."""

import math
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from rasterio import Affine
from rasterio.windows import Window

from overfly.runtime.assessment.class_map import ClassMap
from overfly.runtime.assessment.sample import Cell
from overfly.runtime.errors import RasterError
from overfly.runtime.images.reading import ImagePart, resize
from overfly.runtime.mapping.blocks import open_raster
from overfly.runtime.mapping.record import MOSAIC_FILE
from overfly.runtime.raster.record import RasterRecord
from overfly.runtime.raster.scale import transform_points
from overfly.runtime.raster.source import RasterSource

# Width and height of an image, in pixels.
IMAGE_SIZE = 512

# The side of the ground that an image shows, in cells. A single cell is often too small to tell what it is a part of.
_N_CELLS = 4
# Nor do a few pixels of a raster tell that.
_MIN_RASTER_PIXELS = 48
# A larger square is read in parts of about this many pixels.
_PART_PIXELS = 8_000_000
# In pixels of an image: more than what the filter sees beyond an edge.
_REACH = 2
# In pixels of the raster: how far its grid may be from the recorded one. Only rounding makes a difference.
_MAX_SHIFT = 1e-3

# Where the raster has no pixels. Black would look like water.
_MISSING = (128, 128, 128)
# The two lines of the outline: one of them is visible on any ground.
_LINES = ((3, (0, 0, 0)), (1, (255, 255, 255)))


class CellImages(AbstractContextManager["CellImages"]):
    """Cuts images of cells from the raster that a map was made from. It is a context.

    The raster is read as the map read it, with the same bands, range of values and missing pixels.

    Parameters
    ----------
    class_map
        The map. Its ``map.json`` says where the raster is, and how it was read.

    Raises
    ------
    RasterError
        If the raster can't be opened, or is not the one that the map was made from.
    """

    def __init__(self, class_map: ClassMap) -> None:
        record = class_map.record.raster
        path = Path(record.path)
        if path.name == MOSAIC_FILE and (class_map.folder / MOSAIC_FILE).exists():
            path = class_map.folder / MOSAIC_FILE  # the folder may have been moved
        if not path.exists():
            raise RasterError(
                f"{path}, from which the images of the sample are cut, does not exist: put the raster back where it "
                "was when the map was made"
            )
        with ExitStack() as stack:
            self._source = stack.enter_context(open_raster(path, class_map.record.options))
            _check_raster(self._source, record)
            self._stack = stack.pop_all()
        self._from_cells, self._to_raster = class_map.transform, ~self._source.transform

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the raster."""
        self._stack.close()

    def cut(self, cell: Cell) -> Image.Image:
        """Return the image of a cell, 8-bit RGB, `IMAGE_SIZE` pixels wide and high.

        The cell is in the middle; two thin lines, white in black, go around it. Missing pixels, and what is outside the
        raster, are gray.

        Raises
        ------
        RasterError
            If the raster can't be read.
        """
        columns, rows = cell.column + np.array([0.0, 1, 1, 0]), cell.row + np.array([0.0, 0, 1, 1])
        points = transform_points(self._to_raster, *transform_points(self._from_cells, columns, rows))
        corners = np.stack(points, axis=1)
        side = max(_N_CELLS * float(np.ptp(corners, axis=0).max()), _MIN_RASTER_PIXELS)
        origin = corners.mean(axis=0) - side / 2
        image = self._read_ground(origin, side)
        drawing = ImageDraw.Draw(image)
        # The lines are beside the cell, not on it.
        outline = (corners - origin) * IMAGE_SIZE / side
        outline += 2 * np.sign(outline - IMAGE_SIZE / 2)
        for width, color in _LINES:
            closed = [*map(tuple, outline), tuple(outline[0]), tuple(outline[1])]
            drawing.line(closed, fill=color, width=width, joint="curve")
        return image

    def _read_ground(self, origin: npt.NDArray[np.float64], side: float) -> Image.Image:
        """Return the image of a square; `origin` (x, y) and `side` are in pixels of the raster."""
        image = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE))
        scale = side / IMAGE_SIZE
        margin = math.ceil(_REACH * max(1.0, scale))
        left, right = float(origin[0]), float(origin[0]) + side
        first_column, end_column = math.floor(left) - margin, math.ceil(right) + margin
        n_rows = max(1, math.floor(IMAGE_SIZE * min(1.0, _PART_PIXELS / side**2)))
        for row in range(0, IMAGE_SIZE, n_rows):
            end = min(row + n_rows, IMAGE_SIZE)
            top, bottom = float(origin[1]) + row * scale, float(origin[1]) + end * scale
            first_row, end_row = math.floor(top) - margin, math.ceil(bottom) + margin
            pixels, valid = self._source.read(
                Window(first_column, first_row, end_column - first_column, end_row - first_row)
            )
            part = Image.fromarray(pixels)
            if valid is not None:
                part.paste(_MISSING, mask=Image.fromarray(~valid))
            box = left - first_column, top - first_row, right - first_column, bottom - first_row
            place = ImagePart(box, origin=(first_column, first_row))
            resized = resize(part, (IMAGE_SIZE, end - row), reduce_first=True, part=place)
            image.paste(Image.fromarray(resized), (0, row))
        return image


def _check_raster(source: RasterSource, record: RasterRecord) -> None:
    """Raise RasterError if a raster is not the recorded one.

    Its content is not compared: that of a large raster takes minutes to read.
    """
    expected = (record.width, record.height)
    if (source.width, source.height) != expected:
        raise RasterError(
            f"{source.path} has {source.width} x {source.height} pixels, and the map was made from one with "
            f"{expected[0]} x {expected[1]}: put that raster back"
        )
    corners = np.array([0.0, source.width]), np.array([0.0, source.height])
    recorded = transform_points(Affine(*record.transform), *corners)
    shift = np.subtract(transform_points(~source.transform, *recorded), corners)
    if np.abs(shift).max() > _MAX_SHIFT:
        raise RasterError(f"{source.path} has other coordinates than when the map was made: put that raster back")
