"""``map.json``: everything that made a map."""

from dataclasses import dataclass, field
from pathlib import Path

from overfly.runtime.bundle.manifest import FileRecord
from overfly.runtime.documents import ADDED_LATER, read_document
from overfly.runtime.images.depth import ValueRange
from overfly.runtime.raster.record import RasterRecord

MAP_SCHEMA = "overfly.map/1"

MAP_FILE = "map.json"
PROBABILITIES_FILE = "probabilities.tif"
CLASS_FILE = "class.tif"
CONFIDENCE_FILE = "confidence.tif"
POLYGONS_FILE = "map.gpkg"
AREAS_FILE = "areas.csv"
PREVIEW_FILE = "preview.png"
# With ``--merge``: all rasters as one.
MOSAIC_FILE = "mosaic.vrt"
# While a map is made.
JOURNAL_FILE = "journal"
# What the progress of the windows is called; see `overfly.runtime.reporter.Reporter`.
MAPPING_STAGE = "mapping"

# Share of a window's side that it has in common with the next one, and the cells that it covers in each direction.
OVERLAPS = {0.0: 1, 0.5: 2, 0.75: 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOptions:
    """What decides a map, next to the raster and the model.

    Attributes
    ----------
    scene_m
        Side of a window on the ground, in meters.
    overlap
        Share of a window's side that it has in common with the next one.
    bands
        Numbers of the bands for red, green and blue, from 1; None takes the first three, or the first one as gray.
    value_range
        The values that become black and white; None takes 8-bit values as they are.
    nodata
        The value of missing pixels: a number, ``none``, or None for what the raster itself says.
    gsd
        Meters per pixel, for a raster without CRS.
    min_probability
        Cells whose class has a lower probability are empty.
    area
        SHA-256 of the file of polygons that the map is limited to; None if it is not.
    unknown
        Whether cells are marked as unknown if most of their windows are.
    """

    scene_m: float
    overlap: float
    bands: tuple[int, ...] | None = None
    value_range: ValueRange | None = None
    nodata: str | None = None
    gsd: float | None = None
    min_probability: float = 0.0
    area: str | None = None
    unknown: bool = field(default=False, metadata=ADDED_LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRecord:
    """The model that classified the windows.

    Attributes
    ----------
    bundle_sha256
        Of the bundle's manifest.
    variant, device, device_name, execution_precision
        What ran where; see `overfly.runtime.inference.runner.Runner`.
    """

    bundle_sha256: str
    variant: str
    device: str
    device_name: str
    execution_precision: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineRecord:
    """A machine that computes otherwise than the one that makes the map.

    Attributes
    ----------
    device_name, execution_precision
        As in `ModelRecord`.
    golden_sha256
        Of the logits that it computes of the bundle's golden images.
    versions
        Those versions of packages that are others, by name.
    """

    device_name: str
    execution_precision: str
    golden_sha256: str
    versions: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassFigures:
    """A row of ``areas.csv``.

    Attributes
    ----------
    name
        Name of the class.
    cells
        Number of its cells.
    area_m2
        Their area on the ellipsoid; that of the pixels times the given size for a raster without CRS.
    mean_probability
        The mean probability of the class in its cells; None without cells.
    """

    name: str
    cells: int
    area_m2: float
    mean_probability: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MapRecord:
    """The content of ``map.json``.

    Attributes
    ----------
    classes
        Names of the classes; a value of ``class.tif`` is an index into it. With ``--unknown`` the last one is
        ``unknown``.
    raster, options, model
        What the map was made from.
    window_pixels
        Width and height of a window in pixels of the raster.
    n_windows
        Number of windows that were classified.
    n_columns, n_rows
        Size of the map in cells.
    figures
        For each class.
    empty_cells
        Number of cells without a class.
    unreadable
        Each part of the raster that could not be read, as text.
    files
        Every other file of the map, by name.
    versions
        Versions of the packages, by name.
    other_machines
        The machines that classified a part and compute otherwise than `model`.
    """

    classes: tuple[str, ...]
    raster: RasterRecord
    options: MapOptions
    model: ModelRecord
    window_pixels: tuple[float, float]
    n_windows: int
    n_columns: int
    n_rows: int
    figures: tuple[ClassFigures, ...]
    empty_cells: int
    unreadable: tuple[str, ...]
    files: dict[str, FileRecord]
    versions: dict[str, str]
    other_machines: tuple[MachineRecord, ...] = field(default=(), metadata=ADDED_LATER)


def read_map_record(folder: Path) -> MapRecord:
    """Read the ``map.json`` of a map.

    Raises
    ------
    DocumentError
        If it is missing or not valid.
    """
    return read_document(folder / MAP_FILE, MapRecord, schema=MAP_SCHEMA)
