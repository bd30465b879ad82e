"""Write a sample for a person to label: a GeoPackage with an empty column, and an image of each cell.

The class on the map is left out on purpose. A person who sees it tends to agree with it, and the accuracy would come
out too high. The names of the cells say where they are, so `reference` finds the class again.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import shapely

from overfly.runtime.assessment.cell_images import CellImages
from overfly.runtime.assessment.class_map import ClassMap, read_class_map
from overfly.runtime.assessment.reference import read_labels
from overfly.runtime.assessment.sample import ID_COLUMN, REFERENCE_COLUMN, Cell, draw_sample
from overfly.runtime.documents import write_document
from overfly.runtime.errors import OutputError
from overfly.runtime.files.atomic import atomic_folder
from overfly.runtime.files.output_guards import check_inputs_safe, check_overwrite, explain_os_errors
from overfly.runtime.raster.geopackage import geopackage
from overfly.runtime.raster.scale import transform_points

SAMPLE_SCHEMA = "overfly.sample/1"

SAMPLE_FILE = "sample.json"
CELLS_FILE = "sample.gpkg"
CLASSES_FILE = "classes.txt"
IMAGES_FOLDER = "images"

LAYER = "sample"
IMAGE_COLUMN = "image"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stratum:
    """A class of the map, as it was sampled.

    Attributes
    ----------
    name
        Name of the class.
    cells, sampled
        Number of its cells, and how many of them were drawn.
    """

    name: str
    cells: int
    sampled: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """The content of ``sample.json``.

    Attributes
    ----------
    map_sha256
        Of the ``class.tif`` that the cells were drawn from.
    seed
        Of the draw.
    strata
        The classes that have cells.
    """

    map_sha256: str
    seed: int
    strata: tuple[Stratum, ...]


def write_sample(
    folder: Path,
    n_cells: int,
    *,
    out: Path,
    seed: int = 0,
    overwrite: bool = False,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> SampleRecord:
    """Draw a sample of a map and write it as a folder.

    The folder has ``sample.gpkg`` with the outlines of the cells and the columns ``id``, ``image`` and ``reference``,
    which is empty; ``images`` with a PNG for each cell; ``classes.txt`` with the valid labels; and ``sample.json``.

    Parameters
    ----------
    folder
        Of the map.
    n_cells, seed
        See `draw_sample`.
    out
        The folder to write.
    overwrite
        Replace an existing folder, but never one with labels in it.
    progress
        Called with the number of images that are done, and of all.

    Raises
    ------
    DocumentError
        If ``map.json`` can't be read.
    RasterError
        If the map or its raster can't be used, or the map can't give such a sample.
    OutputError
        If `out` exists and may not be replaced, has labels in it, or can't be written.
    """
    class_map = read_class_map(folder)
    check_inputs_safe(out, [folder, Path(class_map.record.raster.path)])
    check_overwrite(out, overwrite=overwrite)
    _check_no_labels(out / CELLS_FILE)
    cells = draw_sample(class_map, n_cells, seed=seed)
    sampled = Counter(int(class_map.indices[cell.row, cell.column]) for cell in cells)
    strata = tuple(
        Stratum(name=class_map.classes[k], cells=int(class_map.cells[k]), sampled=n) for k, n in sorted(sampled.items())
    )
    record = SampleRecord(map_sha256=class_map.sha256, seed=seed, strata=strata)
    with (
        CellImages(class_map) as images,
        atomic_folder(out, overwrite=overwrite) as partial,
        explain_os_errors(out, "check the free disk space"),
    ):
        (partial / IMAGES_FOLDER).mkdir()
        for done, cell in enumerate(cells, start=1):
            images.cut(cell).save(partial / _image_name(class_map, cell))
            progress(done, len(cells))
        (partial / CELLS_FILE).write_bytes(_cells_file(class_map, cells))
        (partial / CLASSES_FILE).write_bytes("".join(f"{name}\n" for name in class_map.classes).encode())
        write_document(partial / SAMPLE_FILE, record, schema=SAMPLE_SCHEMA)
    return record


def _check_no_labels(path: Path) -> None:
    """Raise OutputError if an earlier sample has labels: they are hours of work, and no command can make them again."""
    if not path.exists():
        return
    n_labels = sum(1 for _, label in read_labels(path) if label)
    if n_labels:
        raise OutputError(f"{path} has {n_labels} labels, which would be lost: choose another output, or move the file")


def _image_name(class_map: ClassMap, cell: Cell) -> str:
    """Return the name of a cell's image, from the folder of the sample."""
    return f"{IMAGES_FOLDER}/{cell.name(class_map.key)}.png"


def _cells_file(class_map: ClassMap, cells: list[Cell]) -> bytes:
    """Return a GeoPackage with the outlines of cells and the columns for their labels."""
    # Shape [cells, corners, 2], columns and rows.
    corners = np.array([[(c.column + x, c.row + y) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))] for c in cells], float)
    xs, ys = transform_points(class_map.transform, corners[..., 0], corners[..., 1])
    columns = {
        ID_COLUMN: [cell.name(class_map.key) for cell in cells],
        IMAGE_COLUMN: [_image_name(class_map, cell) for cell in cells],
        REFERENCE_COLUMN: [""] * len(cells),
    }
    return geopackage(
        shapely.polygons(np.stack([xs, ys], axis=-1)),
        {name: np.array(values, object) for name, values in columns.items()},
        layer=LAYER,
        crs=class_map.crs,
        spatial_index=False,
    )
