"""The map of one raster: its plan, the classification of its blocks, and its files."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from rasterio.features import rasterize

from overfly.runtime.bundle.manifest import N_COLORS, Manifest, hash_files
from overfly.runtime.classifier import Classifier
from overfly.runtime.documents import write_document
from overfly.runtime.errors import OverflyError, RasterError
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.files.names import utf8_text
from overfly.runtime.files.output_guards import explain_os_errors
from overfly.runtime.files.replacing import remove, remove_partials
from overfly.runtime.files.unfinished import unfinished_folder
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.mapping.classification import BlockClassifier, BlockResult
from overfly.runtime.mapping.grid import Block, WindowGrid
from overfly.runtime.mapping.journal import Journal
from overfly.runtime.mapping.outputs.files import MapContent, write_outputs
from overfly.runtime.mapping.outputs.geotiff import MapPlace
from overfly.runtime.mapping.record import (
    JOURNAL_FILE,
    MAP_FILE,
    MAP_SCHEMA,
    MOSAIC_FILE,
    OVERLAPS,
    MapOptions,
    MapRecord,
    ModelRecord,
)
from overfly.runtime.mapping.sums import CellSums
from overfly.runtime.raster.mosaic import write_mosaic
from overfly.runtime.raster.record import RasterRecord
from overfly.runtime.raster.scale import cell_areas
from overfly.runtime.raster.source import RasterSource
from overfly.runtime.raster.vectors import read_polygons
from overfly.runtime.reporter import Reporter
from overfly.runtime.versions import installed_versions

if TYPE_CHECKING:
    from overfly.runtime.mapping.job import MapJob

# A larger window would not fit into the memory that a map may take.
_MAX_WINDOW_PIXELS = 8192
# The longer side of the picture that is kept for the preview, in pixels.
_PREVIEW_SIDE = 1400
_WHITE = 255


@dataclass(slots=True)
class _Windows:
    """The classified windows of a raster.

    Attributes
    ----------
    sums
        The probabilities of the cells.
    picture
        uint8, shape ``[n_rows * p, n_columns * p, 3]``: the raster, white where nothing was classified.
    problems
        Why blocks could not be read.
    n_classified
        Number of windows.
    """

    sums: CellSums
    picture: ImageBatch
    problems: list[RasterError] = field(default_factory=list)
    n_classified: int = 0

    def add(self, block: Block, result: BlockResult, cell_pixels: int) -> None:
        """Add a block."""
        self.sums.add(block, result.classified, result.probabilities)
        self.n_classified += len(result.probabilities)
        if result.thumbnail is not None:
            rows, columns = (
                slice(start * cell_pixels, (start + n) * cell_pixels)
                for start, n in ((block.row, block.n_rows), (block.column, block.n_columns))
            )
            self.picture[rows, columns] = result.thumbnail


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterMap:
    """A map that can be made: its raster could be opened.

    Attributes
    ----------
    name
        Of the map's folder below the output; empty for the output itself.
    title
        The headline of its picture.
    source, raster, options, grid
        What it is made from.
    manifest
        Of the bundle.
    inside
        bool, shape ``[n_rows, n_columns]``: the cells that the map is limited to; None for all.
    """

    name: str
    title: str
    source: RasterSource
    raster: RasterRecord
    options: MapOptions
    grid: WindowGrid
    manifest: Manifest
    inside: npt.NDArray[np.bool_] | None

    @property
    def n_windows(self) -> int:
        """The number of windows, with those that may turn out to have too few valid pixels."""
        return self.grid.n_rows * self.grid.n_columns

    def write(
        self, folder: Path, classifier: Classifier, model: ModelRecord, progress: Callable[[int], None]
    ) -> tuple[MapRecord, list[RasterError]]:
        """Classify the windows and write the files of the map.

        Parameters
        ----------
        folder
            Where to write. A journal that is there is continued.
        classifier, model
            The model.
        progress
            Called with the number of windows that are done.

        Returns
        -------
        tuple
            The record, and why parts of the raster could not be read.

        Raises
        ------
        RasterError
            If no part of the raster could be read.
        """
        folder.mkdir(parents=True, exist_ok=True)
        remove_partials(folder)
        windows = self._classify(folder, classifier, model, progress)
        if windows.problems and not windows.n_classified:
            raise windows.problems[0]
        content = MapContent(
            title=utf8_text(self.title),
            classes=self.manifest.classes,
            place=MapPlace(crs=self.source.crs, transform=self.grid.transform(self.source.transform)),
            probabilities=windows.sums.probabilities(),
            areas=self._areas(),
            inside=self.inside,
            min_probability=self.options.min_probability,
            picture=windows.picture,
            cell_m=self._cell_m(),
        )
        figures, n_empty = write_outputs(folder, content)
        remove(folder / MAP_FILE)
        record = MapRecord(
            classes=self.manifest.classes,
            raster=self.raster,
            options=self.options,
            model=model,
            window_pixels=(self.grid.window_width, self.grid.window_height),
            n_windows=windows.n_classified,
            n_columns=self.grid.n_columns,
            n_rows=self.grid.n_rows,
            figures=figures,
            empty_cells=n_empty,
            unreadable=tuple(utf8_text(problem) for problem in windows.problems),
            files={name: record for name, record in hash_files(folder).items() if name != JOURNAL_FILE},
            versions=installed_versions(),
        )
        write_document(folder / MAP_FILE, record, schema=MAP_SCHEMA)
        return record, windows.problems

    def _classify(
        self, folder: Path, classifier: Classifier, model: ModelRecord, progress: Callable[[int], None]
    ) -> "_Windows":
        """Classify the windows that are not in the journal, and put all together."""
        side = self._cell_pixels()
        shape = self.grid.n_rows * side, self.grid.n_columns * side, N_COLORS
        windows = _Windows(CellSums(self.grid, len(self.manifest.classes)), np.full(shape, _WHITE, np.uint8))
        blocks = list(self.grid.blocks())
        n_done = 0
        with Journal(folder / JOURNAL_FILE, self._identity(model, side)) as journal:
            for index, result in self._results(journal, classifier, side):
                block = blocks[index]
                if isinstance(result, RasterError):
                    windows.problems.append(result)
                else:
                    windows.add(block, result, side)
                n_done += block.n_rows * block.n_columns
                progress(n_done)
        return windows

    def _results(
        self, journal: Journal, classifier: Classifier, cell_pixels: int
    ) -> Iterator[tuple[int, BlockResult | RasterError]]:
        """Yield the result of each block, from the journal if it is there."""
        blocks = dict(enumerate(self.grid.blocks()))
        n_classes = len(self.manifest.classes)
        for index, data in journal.records():
            block = blocks.pop(index)
            yield index, BlockResult.from_bytes(data, block, n_classes=n_classes, cell_pixels=cell_pixels)
        block_classifier = BlockClassifier(
            source=self.source,
            grid=self.grid,
            wanted=self._wanted(),
            runner=classifier.runner,
            n_classes=n_classes,
            size=self.manifest.image.size,
            reduce_first=self.manifest.image.reduce_first,
            cell_pixels=cell_pixels,
        )
        for index, result in block_classifier.results(blocks.items()):
            if isinstance(result, BlockResult):
                journal.write(index, result.to_bytes())
            yield index, result

    def _identity(self, model: ModelRecord, cell_pixels: int) -> str:
        """Return a hash of all that decides the content of the journal."""
        parts = [dataclasses.asdict(part) for part in (self.raster, self.options, model, self.grid)]
        return hashlib.sha256(json.dumps([parts, cell_pixels], sort_keys=True).encode()).hexdigest()

    def _wanted(self) -> npt.NDArray[np.bool_]:
        """Return the windows that cover a cell inside the area."""
        shape = self.grid.n_rows, self.grid.n_columns
        if self.inside is None:
            return np.ones(shape, np.bool_)
        per_side = self.grid.per_side
        beyond = np.pad(self.inside, ((0, per_side - 1), (0, per_side - 1)))
        return np.asarray(np.lib.stride_tricks.sliding_window_view(beyond, (per_side, per_side)).any(axis=(2, 3)))

    def _cell_pixels(self) -> int:
        """Return the side of a cell in the picture that is kept for the preview."""
        largest = self.manifest.image.size // self.grid.per_side
        return max(1, min(largest, math.ceil(_PREVIEW_SIDE / max(self.grid.n_rows, self.grid.n_columns))))

    def _cell_m(self) -> tuple[float, float]:
        """Return the width and the height of a cell in meters."""
        size = self.source.pixel_size
        return self.grid.cell_width * size.x, self.grid.cell_height * size.y

    def _areas(self) -> npt.NDArray[np.float64]:
        """Return the area of each cell in square meters."""
        shape = self.grid.n_rows, self.grid.n_columns
        if self.source.crs is None:
            return np.full(shape, math.prod(self._cell_m()))
        return cell_areas(self.source.crs, self.grid.transform(self.source.transform), *shape)


def plan_maps(
    job: "MapJob", options: MapOptions, manifest: Manifest, stack: ExitStack, reporter: Reporter
) -> tuple[list[RasterMap], list[OverflyError]]:
    """Open the rasters of a job, and plan their maps.

    Parameters
    ----------
    job, options, manifest
        What to do.
    stack
        Closes the rasters.
    reporter
        Receives progress.

    Returns
    -------
    tuple
        The maps, and why other rasters can't be mapped.
    """
    maps: list[RasterMap] = []
    problems: list[OverflyError] = []
    rasters = job.rasters
    if job.merge and len(rasters) > 1:
        rasters = (unfinished_folder(job.out) / MOSAIC_FILE,)
        with explain_os_errors(job.out):
            rasters[0].parent.mkdir(parents=True, exist_ok=True)
            write_mosaic(rasters[0], job.rasters, ignore_nodata=job.nodata is not None)
    names = _folder_names(rasters)
    for done, (path, name) in enumerate(zip(rasters, names, strict=True), start=1):
        try:
            maps.append(_plan(path, name, job, options, manifest, stack))
        except RasterError as error:
            problems.append(error)
        reporter.progress("hashing rasters", done, len(names))
    return maps, problems


def _plan(path: Path, name: str, job: "MapJob", options: MapOptions, manifest: Manifest, stack: ExitStack) -> RasterMap:
    """Open a raster and plan its map."""
    source = stack.enter_context(
        RasterSource(path, bands=options.bands, value_range=options.value_range, nodata=options.nodata, gsd=options.gsd)
    )
    window = options.scene_m / source.pixel_size.x, options.scene_m / source.pixel_size.y
    _check_window(path, window, options.scene_m)
    grid = WindowGrid(source.width, source.height, *window, per_side=OVERLAPS[options.overlap])
    raster = RasterRecord(
        # The mosaic moves with the folder that it is in.
        path=utf8_text(job.out.absolute() / MOSAIC_FILE if path.name == MOSAIC_FILE else path.absolute()),
        sha256=_hash_all(source.files),
        width=source.width,
        height=source.height,
        crs=None if source.crs is None else source.crs.to_string(),
        transform=tuple(source.transform)[:6],
    )
    return RasterMap(
        name=name,
        title=job.out.name if job.merge else path.stem,
        source=source,
        raster=raster,
        options=replace(options, bands=source.bands),
        grid=grid,
        manifest=manifest,
        inside=None if job.area is None else _cells_inside(job.area, source, grid),
    )


def _check_window(path: Path, window: tuple[float, float], scene_m: float) -> None:
    """Raise RasterError if a window has too few or too many pixels."""
    width, height = window
    if min(window) < 1:
        raise RasterError(
            f"{path} has pixels larger than a window of {scene_m:g} m: give the scene size that the model was trained "
            "with, or a raster of a higher resolution"
        )
    if max(window) > _MAX_WINDOW_PIXELS:
        raise RasterError(
            f"{path} has {width:.0f} x {height:.0f} pixels in a window of {scene_m:g} m, expected at most "
            f"{_MAX_WINDOW_PIXELS}: reduce its resolution first, for example with gdalwarp -tr and -r average"
        )


def _cells_inside(area: Path, source: RasterSource, grid: WindowGrid) -> npt.NDArray[np.bool_]:
    """Return the cells whose center is in a polygon of a file."""
    if source.crs is None:
        raise RasterError(f"{source.path} has no coordinate reference system, so --area can't limit it: assign one")
    inside: npt.NDArray[np.bool_] = rasterize(
        read_polygons(area, source.crs),
        out_shape=(grid.n_rows, grid.n_columns),
        transform=grid.transform(source.transform),
        dtype="uint8",
    ).astype(np.bool_)
    if not inside.any():
        raise RasterError(f"{source.path} has no cell in the area of {area}: check that both show the same place")
    return inside


def _hash_all(files: tuple[Path, ...]) -> str:
    """Return a hash of the content of files."""
    if len(files) == 1:
        return sha256_file(files[0])
    return hashlib.sha256("".join(sha256_file(file) for file in files).encode()).hexdigest()


def _folder_names(rasters: tuple[Path, ...]) -> list[str]:
    """Return a folder for each raster: empty for a single one; the stem, with a number if another has the same."""
    if len(rasters) == 1:
        return [""]
    names: list[str] = []
    taken: set[str] = set()
    for path in rasters:
        name, number = path.stem, 1
        # Some file systems don't distinguish upper and lower case.
        while name.casefold() in taken:
            number += 1
            name = f"{path.stem}-{number}"
        taken.add(name.casefold())
        names.append(name)
    return names
