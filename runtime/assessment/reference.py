"""Read the labels that a person gave to the cells of a sample."""

import difflib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from overfly.runtime.assessment.class_map import EMPTY, ClassMap
from overfly.runtime.assessment.sample import ID_COLUMN, REFERENCE_COLUMN, Cell
from overfly.runtime.errors import RasterError

_CELL_NAME = re.compile(r"(?P<key>[0-9a-f]+)-(?P<row>\d+)-(?P<column>\d+)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reference:
    """The labels of a sample, counted.

    Attributes
    ----------
    counts
        int64, shape ``[n_classes, n_classes]``: number of labeled cells, rows the map, columns the labels.
    n_blank
        Number of cells without a label.
    """

    counts: npt.NDArray[np.int64]
    n_blank: int


def read_labels(path: Path) -> list[tuple[str, str]]:
    """Read the names of the cells and their labels from a GeoPackage, GeoJSON, Shapefile or CSV file.

    Returns
    -------
    list of tuple
        The name of a cell and its label, both without spaces around them; an empty text stands for a missing one.

    Raises
    ------
    RasterError
        If the file can't be read, or has no layer with the columns ``id`` and ``reference``.
    """
    try:
        for layer, _ in pyogrio.list_layers(path):
            fields = {str(name).lower(): str(name) for name in pyogrio.read_info(path, layer=layer)["fields"]}
            if {ID_COLUMN, REFERENCE_COLUMN} <= fields.keys():
                columns = [fields[ID_COLUMN], fields[REFERENCE_COLUMN]]
                meta, _, _, values = pyogrio.raw.read(path, layer=layer, columns=columns, read_geometry=False)
                found = dict(zip(meta["fields"], values, strict=True))  # in the order of the file
                names, labels = (map(_as_text, found[column]) for column in columns)
                return [pair for pair in zip(names, labels, strict=True) if any(pair)]
    except (DataSourceError, DataLayerError) as error:
        raise RasterError(
            f"{path} can't be read ({error}): expected a GeoPackage, GeoJSON or CSV file with the labels"
        ) from error
    raise RasterError(
        f"{path} has no layer with the columns {ID_COLUMN!r} and {REFERENCE_COLUMN!r}: use the file that --sample wrote"
    )


def read_reference(path: Path, class_map: ClassMap) -> Reference:
    """Read the labels of a sample of a map, and count them by the class on the map.

    Parameters
    ----------
    path
        See `read_labels`.
    class_map
        The map that the sample was drawn from.

    Raises
    ------
    RasterError
        If the file can't be read, a cell is not one of this map's or comes twice, a label is no class of the map, or
        no cell has a label.
    """
    counts = np.zeros((len(class_map.classes),) * 2, dtype=np.int64)
    numbers = {name: k for k, name in enumerate(class_map.classes)}
    seen: set[Cell] = set()
    n_blank = 0
    for name, label in read_labels(path):
        cell = _find_cell(name, path, class_map)
        if cell in seen:
            raise RasterError(f"{path} has the cell {name!r} twice: keep one of the two rows")
        seen.add(cell)
        if not label:
            n_blank += 1
            continue
        if label not in numbers:
            raise RasterError(f"{path}: {_explain_label(label, name, class_map.classes)}")
        counts[class_map.indices[cell.row, cell.column], numbers[label]] += 1
    if not counts.any():
        raise RasterError(
            f"{path} has no label in its {n_blank} cells: write the class of each cell into {REFERENCE_COLUMN!r}"
        )
    return Reference(counts=counts, n_blank=n_blank)


def _as_text(value: object) -> str:
    """Return a value of a column as text: a column of numbers holds classes, too, and NaN where one is missing."""
    if value is None or value != value:  # noqa: PLR0124 - true of NaN alone
        return ""
    return str(int(value) if isinstance(value, float) and value.is_integer() else value).strip()


def _find_cell(name: str, path: Path, class_map: ClassMap) -> Cell:
    """Return the cell of a map that has a name; raise RasterError if there is none."""
    match = _CELL_NAME.fullmatch(name)
    if match is None:
        raise RasterError(
            f"{path} has the {ID_COLUMN} {name!r}, expected one such as '{class_map.key}-12-34': keep the column as "
            "--sample wrote it"
        )
    if match["key"] != class_map.key:
        raise RasterError(
            f"{path} is a sample of another map: its cell {name!r} does not begin with {class_map.key!r}, as those of "
            f"{class_map.folder} do; use the map that it was drawn from, or draw a new sample"
        )
    cell = Cell(int(match["row"]), int(match["column"]))
    n_rows, n_columns = class_map.indices.shape
    if cell.row >= n_rows or cell.column >= n_columns or class_map.indices[cell.row, cell.column] == EMPTY:
        raise RasterError(f"{path} has the cell {name!r}, where {class_map.folder} has no class: remove the row")
    return cell


def _explain_label(label: str, name: str, classes: tuple[str, ...]) -> str:
    """Return what is wrong with a label that is no class."""
    close = difflib.get_close_matches(label.lower(), classes, n=1)
    hint = f"did you mean {close[0]!r}? " if close else ""
    return (
        f"the label {label!r} of the cell {name!r} is no class of the map, whose classes are {', '.join(classes)}: "
        f"{hint}a label is one of these, or empty if nobody can tell"
    )
