"""An image of a cell for the person who labels it: cut from the map's raster."""

from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
from PIL import Image, ImageDraw
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.windows import Window

from overfly.runtime.assessment.class_map import ClassMap
from overfly.runtime.assessment.sample import Cell
from overfly.runtime.errors import RasterError
from overfly.runtime.images.depth import ValueRange, stretch
from overfly.runtime.mapping.record import MOSAIC_FILE
from overfly.runtime.raster.record import RasterRecord
from overfly.runtime.raster.scale import transform_points
from overfly.runtime.raster.source import COLOR_BANDS

# Width and height of an image, in pixels.
IMAGE_SIZE = 512

# The side of the ground that an image shows, in cells. A single cell is often too small to tell what it is a part of.
_N_CELLS = 4
# Nor do a few pixels of a raster tell that.
_MIN_RASTER_PIXELS = 48
# A larger side is read with fewer pixels than the raster has.
_MAX_RASTER_PIXELS = 4 * IMAGE_SIZE

# Where the raster ends. Black would look like water.
_OUTSIDE = (128, 128, 128)
# The two lines of the outline: one of them is visible on any ground.
_LINES = ((3, (0, 0, 0)), (1, (255, 255, 255)))


class CellImages(AbstractContextManager["CellImages"]):
    """Cuts images of cells from the raster that a map was made from. It is a context.

    Parameters
    ----------
    class_map
        The map. Its ``map.json`` says where the raster is, and which bands and range of values became colors.

    Raises
    ------
    RasterError
        If the raster can't be opened, or is not the one that the map was made from.
    """

    def __init__(self, class_map: ClassMap) -> None:
        record, options = class_map.record.raster, class_map.record.options
        self._path = Path(record.path)
        if self._path.name == MOSAIC_FILE and (class_map.folder / MOSAIC_FILE).exists():
            self._path = class_map.folder / MOSAIC_FILE  # the folder may have been moved
        self._bands, self._range = list(options.bands or COLOR_BANDS), options.value_range
        try:
            self._dataset: Any = rasterio.open(self._path)
        except RasterioError as error:
            raise RasterError(
                f"{self._path}, from which the images of the sample are cut, can't be opened ({error}): put the raster "
                "back where it was when the map was made"
            ) from error
        try:
            _check_raster(self._dataset, record, self._bands)
        except RasterError:
            self._dataset.close()
            raise
        self._from_cells, self._to_raster = class_map.transform, ~Affine(*record.transform[:6])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the raster."""
        self._dataset.close()

    def cut(self, cell: Cell) -> Image.Image:
        """Return the image of a cell, 8-bit RGB, `IMAGE_SIZE` pixels wide and high.

        The cell is in the middle; two thin lines, white in black, go around it. What is outside the raster is gray.

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
        scale = IMAGE_SIZE / side
        image = Image.new("RGB", (IMAGE_SIZE, IMAGE_SIZE), _OUTSIDE)
        self._paste_ground(image, origin, side)
        drawing = ImageDraw.Draw(image)
        # The lines are beside the cell, not on it.
        outline = (corners - origin) * scale
        outline += 2 * np.sign(outline - IMAGE_SIZE / 2)
        for width, color in _LINES:
            closed = [*map(tuple, outline), tuple(outline[0]), tuple(outline[1])]
            drawing.line(closed, fill=color, width=width, joint="curve")
        return image

    def _paste_ground(self, image: Image.Image, origin: npt.NDArray[np.float64], side: float) -> None:
        """Paste what the raster has of a square; `origin` (x, y) and `side` are in pixels of the raster."""
        size = np.array([self._dataset.width, self._dataset.height])
        start = np.clip(np.floor(origin), 0, size).astype(int)
        stop = np.clip(np.ceil(origin + side), 0, size).astype(int)
        if (stop <= start).any():
            return
        shrink = max(1.0, side / _MAX_RASTER_PIXELS)
        width, height = ((stop - start) / shrink).round().clip(1).astype(int)
        try:
            values = self._dataset.read(
                self._bands,
                window=Window.from_slices((start[1], stop[1]), (start[0], stop[0])),
                out_shape=(len(self._bands), int(height), int(width)),
                resampling=Resampling.average,
            )
        except RasterioError as error:
            raise RasterError(f"{self._path} can't be read ({error}): check the file and its disk") from error
        pixels = Image.fromarray(_to_colors(values, self._range))
        scale = IMAGE_SIZE / side
        left, top = (round(float(v)) for v in (start - origin) * scale)
        right, bottom = (round(float(v)) for v in (stop - origin) * scale)
        new_size = (max(1, right - left), max(1, bottom - top))
        image.paste(pixels.resize(new_size, Image.Resampling.BICUBIC), (left, top))


def _check_raster(dataset: rasterio.DatasetReader, record: RasterRecord, bands: list[int]) -> None:
    """Raise RasterError if a raster is not the recorded one, or lacks a band.

    Its content is not compared: that of a large raster takes minutes to read.
    """
    expected = (record.width, record.height)
    if (dataset.width, dataset.height) != expected:
        raise RasterError(
            f"{record.path} has {dataset.width} x {dataset.height} pixels, and the map was made from one with "
            f"{expected[0]} x {expected[1]}: put that raster back"
        )
    if not np.allclose(dataset.transform[:6], record.transform[:6]):
        raise RasterError(f"{record.path} has other coordinates than when the map was made: put that raster back")
    if max(bands) > dataset.count:
        raise RasterError(f"{record.path} has {dataset.count} bands, and the map was made from band {max(bands)}")


def _to_colors(values: npt.NDArray[Any], value_range: ValueRange | None) -> npt.NDArray[np.uint8]:
    """Return the values of bands, ``[bands, H, W]``, as 8-bit RGB, ``[H, W, 3]``; a single band becomes gray."""
    if value_range is not None:
        values = stretch(values, *value_range)
    elif values.dtype == np.uint16:
        values = values >> 8
    colors: npt.NDArray[np.uint8] = np.moveaxis(values, 0, 2).astype(np.uint8)
    return colors if colors.shape[2] > 1 else np.repeat(colors, 3, axis=2)
