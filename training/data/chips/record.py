"""``chips.json``: what the images of a data folder show, and what they were cut from."""

from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.bundle.manifest import SceneSpec
from overfly.runtime.documents import read_document
from overfly.runtime.errors import DataError, DocumentError
from overfly.runtime.images.depth import ValueRange
from overfly.runtime.raster.record import RasterRecord
from overfly.training.run_layout import SPLIT_FILE

CHIPS_SCHEMA = "overfly.chips/1"

CHIPS_FILE = "chips.json"
FOOTPRINTS_FILE = "chips.gpkg"
# The folder of the scenes that are cut without labels.
UNLABELED_FOLDER = "unlabeled"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelsRecord:
    """The labels that were used.

    Attributes
    ----------
    path
        As absolute path.
    sha256
        Of the file; of a Shapefile, of all its files.
    layer, field, crs
        Name of the layer and of the column, and the CRS as text.
    min_cover
        The share of a scene that a class must cover.
    outside
        The class of scenes without a label; None if they were dropped.
    """

    path: str
    sha256: str
    layer: str
    field: str
    crs: str
    min_cover: float
    outside: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipSource:
    """A raster that scenes were cut from.

    Attributes
    ----------
    raster
        The file and its grid.
    window_pixels
        Width and height of its scenes.
    n_windows
        Number of windows in it, including those that were dropped.
    """

    raster: RasterRecord
    window_pixels: tuple[int, int]
    n_windows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipsOptions:
    """The choices that are the same for all rasters.

    Attributes
    ----------
    stride_m
        Distance of neighboring windows, in meters.
    auto_range
        Whether the range of values was measured.
    nodata
        The value of missing pixels: a number, ``none``, or None for what each raster says.
    gsd
        Meters per pixel of rasters without CRS.
    test_fraction, val_fraction, seed
        See `overfly.training.data.chips.spatial_split.SplitPlan`.
    block
        Side of the blocks that go to a part as a whole, in scenes.
    """

    stride_m: float
    auto_range: bool
    nodata: str | None
    gsd: float | None
    test_fraction: float
    val_fraction: float
    seed: int
    block: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipsRecord:
    """The content of ``chips.json``.

    Attributes
    ----------
    scene
        The side of a scene on the ground, and the bands.
    value_range
        The values of the rasters that are black and white; None if the scenes have the values of 8-bit rasters.
    rasters
        What the scenes were cut from.
    labels
        What gave them their classes; None if they were cut without labels.
    options
        The other choices.
    counts
        Number of scenes by class and part; the part is empty without labels.
    dropped
        Number of windows that are no scenes, by the reason: ``unlabeled``, ``ambiguous`` (two classes cover the same),
        ``missing_pixels`` (more than half of them), ``near_other_part``. Also the number of features of the labels
        ``without_class`` and ``without_geometry``, at all rasters together.
    versions
        Versions of the packages, by name.
    """

    scene: SceneSpec
    value_range: ValueRange | None
    rasters: tuple[ChipSource, ...]
    labels: LabelsRecord | None
    options: ChipsOptions
    counts: dict[str, dict[str, int]]
    dropped: dict[str, int]
    versions: dict[str, str]

    @property
    def n_scenes(self) -> int:
        """The number of scenes."""
        return sum(sum(parts.values()) for parts in self.counts.values())


def find_chips_record(folder: Path) -> ChipsRecord | None:
    """Return the ``chips.json`` of a data folder; None if it has none.

    Raises
    ------
    DataError
        If it is not valid.
    """
    path = folder / CHIPS_FILE
    if not path.is_file():
        return None
    try:
        return read_document(path, ChipsRecord, schema=CHIPS_SCHEMA)
    except DocumentError as error:
        raise DataError(f"{error}. To train without it, rename {path}") from error


def range_of_chips(folder: Path, record: ChipsRecord, given: ValueRange | None) -> ValueRange | None:
    """Return the range of values that scenes were cut with; None if they have the values of 8-bit rasters.

    The scenes have 8 bits, so that the range changes nothing in them. A bundle needs it for the rasters themselves.

    Parameters
    ----------
    folder, record
        The data folder, and its ``chips.json``.
    given
        The range that a person chose.

    Raises
    ------
    DataError
        If it is another one.
    """
    if given is not None and given != record.value_range:
        found = "the values of 8-bit rasters" if record.value_range is None else _text(record.value_range)
        raise DataError(
            f"{folder / CHIPS_FILE} says that the images have {found}, expected {_text(given)}: leave out --range, or "
            "cut them again"
        )
    return record.value_range


def chips_notes(folder: Path, record: ChipsRecord, *, is_divided: bool) -> list[str]:
    """Return what a person should know before a training on scenes; `is_divided` if another split is chosen."""
    path, scene = folder / CHIPS_FILE, record.scene
    bands = ",".join(map(str, scene.bands))
    notes = [f"each image shows {scene.scene_m:g} m of the ground in the bands {bands}, as {path} says"]
    if record.labels is None and not is_divided and not (folder / SPLIT_FILE).is_file():
        notes.append(
            f"{path} says that the images were cut without a split: a new one may put neighbors, which are alike, into "
            "different parts"
        )
    return notes


def _text(value_range: ValueRange) -> str:
    """Return a range in words."""
    return f"the range {value_range[0]:g},{value_range[1]:g}"
