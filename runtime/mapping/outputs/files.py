"""Write the files of a map, all of them derived from the probabilities of its cells."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.labels import UNKNOWN
from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.pipeline import ThreadPool
from overfly.runtime.mapping.outputs.areas import areas_csv
from overfly.runtime.mapping.outputs.cells import MapCells, decide
from overfly.runtime.mapping.outputs.geotiff import MapPlace, as_bands, cloud_optimized, geotiff
from overfly.runtime.mapping.outputs.palette import Color, class_colors
from overfly.runtime.mapping.outputs.polygons import polygons_file
from overfly.runtime.mapping.outputs.preview import Caption, preview
from overfly.runtime.mapping.outputs.styles import attribute_table, qgis_style
from overfly.runtime.mapping.record import (
    AREAS_FILE,
    CLASS_FILE,
    CONFIDENCE_FILE,
    POLYGONS_FILE,
    PREVIEW_FILE,
    PROBABILITIES_FILE,
    ClassFigures,
)
from overfly.runtime.mapping.sums import NO_DATA, ONE, Quantized
from overfly.runtime.reporter import StageProgress

_EMPTY_8_BIT, _EMPTY_16_BIT = 255, 65535
# Description of a band.
_KNOWN = "known windows"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapContent:
    """What the files of a map are made from.

    Attributes
    ----------
    title
        The headline of the preview.
    classes
        Names of the classes.
    place
        Where the cells are.
    probabilities
        uint16, shape ``[n_rows, n_columns, n_values]``; see `overfly.runtime.mapping.sums`.
    areas
        float64, shape ``[n_rows, n_columns]``: the area of each cell in square meters.
    inside
        bool, same shape: the cells that the map is limited to; None for all.
    min_probability
        Cells whose class has a lower probability are empty.
    unknown
        Whether the last value of a cell is the share of its windows that are known.
    picture
        uint8, shape ``[n_rows * p, n_columns * p, 3]``: the raster, with `p` pixels for each cell.
    cell_m
        Width and height of a cell in meters.
    """

    title: str
    classes: tuple[str, ...]
    place: MapPlace
    probabilities: Quantized
    areas: npt.NDArray[np.float64]
    inside: npt.NDArray[np.bool_] | None
    min_probability: float
    picture: ImageBatch
    cell_m: tuple[float, float]
    unknown: bool = False

    @property
    def class_names(self) -> tuple[str, ...]:
        """The names of the classes that a cell can have."""
        return (*self.classes, UNKNOWN) if self.unknown else self.classes

    @property
    def colors(self) -> list[Color]:
        """Their colors."""
        return class_colors(len(self.classes), unknown=self.unknown)


def write_outputs(
    folder: Path, content: MapContent, progress: StageProgress
) -> tuple[tuple[ClassFigures, ...], int, tuple[str, ...]]:
    """Write every file of a map but its record.

    Parameters
    ----------
    folder
        Where to write.
    content
        What the map shows.
    progress
        Receives the file that is being written as a stage.

    Returns
    -------
    tuple
        The figures of each class, the number of empty cells, and the names of the files.
    """
    cells = decide(
        content.probabilities,
        content.areas,
        min_probability=content.min_probability,
        inside=content.inside,
        unknown=content.unknown,
    )
    classes, colors = content.class_names, content.colors
    figures = cells.figures(classes)
    counts = [row.cells for row in figures]
    caption = Caption(title=content.title, figures=figures, colors=colors, cell_m=content.cell_m)
    with ThreadPool(1) as pool:
        # The picture takes as long as all other files of a small map.
        picture = pool.submit(preview, content.picture, cells, caption)
        # Each of the others is made when its turn comes: together they would take much memory.
        files: dict[str, Callable[[], bytes]] = {
            PROBABILITIES_FILE: lambda: _probabilities(content),
            CLASS_FILE: lambda: _classes(cells, content),
            f"{CLASS_FILE}.aux.xml": lambda: attribute_table(classes, colors, counts),
            Path(CLASS_FILE).with_suffix(".qml").name: lambda: qgis_style(classes, colors),
            CONFIDENCE_FILE: lambda: _confidence(cells, content),
            POLYGONS_FILE: lambda: polygons_file(cells, classes, content.place),
            AREAS_FILE: lambda: areas_csv(figures),
            PREVIEW_FILE: picture.result,
        }
        for name, make in files.items():
            progress(f"writing {name}", 0, 1)
            write_atomically(folder / name, make())
            progress(f"writing {name}", 1, 1)
    return figures, int(np.count_nonzero(cells.indices < 0)), tuple(sorted(files))


def _probabilities(content: MapContent) -> bytes:
    """Return ``probabilities.tif``: a band for each class, and one for the share of known windows."""
    with geotiff(
        as_bands(content.probabilities),
        content.place,
        nodata=NO_DATA,
        descriptions=[*content.classes, _KNOWN] if content.unknown else content.classes,
        scale=1 / ONE,
    ) as memory:
        return bytes(memory.getbuffer())


def _classes(cells: MapCells, content: MapContent) -> bytes:
    """Return ``class.tif``."""
    n_classes = len(content.class_names)
    # A GeoTIFF has a palette for 8 bits only.
    is_small = n_classes <= _EMPTY_8_BIT
    empty, dtype = (_EMPTY_8_BIT, np.uint8) if is_small else (_EMPTY_16_BIT, np.uint16)
    values = np.where(cells.indices < 0, empty, cells.indices).astype(dtype)
    with geotiff(
        values[None],
        content.place,
        nodata=empty,
        descriptions=["class"],
        colors=content.colors if is_small else None,
    ) as memory:
        return cloud_optimized(memory, resampling="MODE")


def _confidence(cells: MapCells, content: MapContent) -> bytes:
    """Return ``confidence.tif``."""
    with geotiff(
        cells.confidence[None], content.place, nodata=NO_DATA, descriptions=["confidence"], scale=1 / ONE
    ) as memory:
        return cloud_optimized(memory, resampling="AVERAGE")
