"""The classes of a map, as an assessment needs them: the only module here that knows what is in the folder of a map."""

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio import Affine
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from overfly.runtime.errors import RasterError
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.mapping.grid import WindowGrid
from overfly.runtime.mapping.record import CLASS_FILE, MAP_FILE, OVERLAPS, MapRecord, read_map_record
from overfly.runtime.raster.scale import cell_areas

# A map without coordinates is fine: it has a grid of pixels.
warnings.filterwarnings("ignore", category=NotGeoreferencedWarning)

# The index of a cell without a class.
EMPTY = -1

# As many hexadecimal digits of the hash of a map are in the names of its cells.
_KEY_LENGTH = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ClassMap:
    """A map, read from its folder.

    Attributes
    ----------
    folder
        Where it is.
    record
        Its ``map.json``.
    sha256
        Of ``class.tif``.
    indices
        int32, shape ``[n_rows, n_columns]``: the index of each cell's class, `EMPTY` without one.
    transform
        From (column, row) of a cell to coordinates.
    crs
        Of the coordinates; None if the raster had none.
    cells
        int64, shape ``[n_classes]``: number of cells of each class.
    areas_m2
        float64, shape ``[n_classes]``: their area on the ellipsoid. Without a CRS, that of ``map.json``.
    area_ratio
        The area of the largest cell with a class, divided by that of the smallest.
    """

    folder: Path
    record: MapRecord
    sha256: str
    indices: npt.NDArray[np.int32]
    transform: Affine
    crs: CRS | None
    cells: npt.NDArray[np.int64]
    areas_m2: npt.NDArray[np.float64]
    area_ratio: float

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.record.classes

    @property
    def key(self) -> str:
        """The beginning of the map's hash, which the names of its cells carry."""
        return self.sha256[:_KEY_LENGTH]

    @property
    def weights(self) -> npt.NDArray[np.float64]:
        """The share of the area that each class has, float64, shape ``[n_classes]``; the sum is 1."""
        weights: npt.NDArray[np.float64] = self.areas_m2 / self.areas_m2.sum()
        return weights


def read_class_map(folder: Path) -> ClassMap:
    """Read the classes of a map and measure their areas.

    Parameters
    ----------
    folder
        What `map` wrote for one raster.

    Raises
    ------
    DocumentError
        If ``map.json`` is missing or not valid.
    RasterError
        If the folder holds the maps of several rasters, or ``class.tif`` can't be read, does not fit ``map.json``, or
        has no cell with a class.
    """
    _check_single(folder)
    record = read_map_record(folder)
    path = folder / CLASS_FILE
    try:
        with rasterio.open(path) as dataset:
            values, nodata = dataset.read(1), dataset.nodata
            transform, crs = dataset.transform, dataset.crs
    except RasterioError as error:
        raise RasterError(f"{path} can't be read ({error}): make or copy the map again") from error
    if values.shape != (record.n_rows, record.n_columns):
        raise RasterError(
            f"{path} has {values.shape[1]} x {values.shape[0]} cells, expected {record.n_columns} x {record.n_rows} as "
            f"in {MAP_FILE}: make or copy the map again"
        )
    indices = np.where(values == nodata, EMPTY, values.astype(np.int32))
    n_classes = len(record.classes)
    if (highest := int(indices.max())) >= n_classes:
        raise RasterError(f"{path} has the class {highest}, and {MAP_FILE} names {n_classes}: copy the map again")
    if highest == EMPTY:
        raise RasterError(f"{path} has no cell with a class, so there is nothing to assess: use another map")
    areas, ratio = _class_areas(indices, record, transform, crs)
    return ClassMap(
        folder=folder,
        record=record,
        sha256=sha256_file(path),
        indices=indices,
        transform=transform,
        crs=crs,
        cells=_count(indices, n_classes),
        areas_m2=areas,
        area_ratio=ratio,
    )


def _check_single(folder: Path) -> None:
    """Raise RasterError if a folder has the maps of several rasters in it, one in each sub-folder."""
    inside = sorted(path.parent.name for path in folder.glob(f"*/{MAP_FILE}"))
    if inside and not (folder / MAP_FILE).exists():
        raise RasterError(
            f"{folder} holds the maps {', '.join(inside)}: give one of them, such as {folder / inside[0]}"
        )


def _count(indices: npt.NDArray[np.int32], n_classes: int) -> npt.NDArray[np.int64]:
    """Return the number of cells of each class."""
    return np.bincount(indices[indices != EMPTY], minlength=n_classes).astype(np.int64)


def _class_areas(
    indices: npt.NDArray[np.int32], record: MapRecord, transform: Affine, crs: CRS | None
) -> tuple[npt.NDArray[np.float64], float]:
    """Return the area of each class in square meters, and the ratio of the largest cell to the smallest."""
    n_classes = len(record.classes)
    if crs is None:
        # All cells are equal, and the map knows their size from what the user said of the raster's.
        n_cells, area = (sum(getattr(f, name) for f in record.figures) for name in ("cells", "area_m2"))
        return _count(indices, n_classes) * (area / max(n_cells, 1)), 1.0
    try:
        of_cells = (cell_areas(crs, transform, *indices.shape) * _shares_inside(record))[indices != EMPTY]
    except ValueError as error:
        raise RasterError(f"the cells of the map have no place on the Earth ({error}): check its raster") from error
    areas: npt.NDArray[np.float64] = np.bincount(
        indices[indices != EMPTY], weights=of_cells, minlength=n_classes
    ).astype(np.float64)
    return areas, float(of_cells.max() / of_cells.min())


def _shares_inside(record: MapRecord) -> npt.NDArray[np.float64]:
    """Return the share of each cell that is inside of the raster."""
    raster, per_side = record.raster, OVERLAPS[record.options.overlap]
    return WindowGrid(raster.width, raster.height, *record.window_pixels, per_side=per_side).shares_inside()
