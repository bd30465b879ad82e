"""The map of one raster: its plan, the classification of its blocks, and its files."""

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.manifest import N_COLORS, FileRecord, Manifest
from overfly.runtime.documents import write_document
from overfly.runtime.errors import OutputError, RasterError
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.files.names import utf8_text
from overfly.runtime.files.replacing import remove_partials
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.mapping.blocks import open_raster
from overfly.runtime.mapping.classification import BlockResult, BlockSpec
from overfly.runtime.mapping.engine import BlockEngine, MapWork
from overfly.runtime.mapping.grid import Block, WindowGrid
from overfly.runtime.mapping.journal import MACHINE, Journal
from overfly.runtime.mapping.outputs.files import MapContent, write_outputs
from overfly.runtime.mapping.outputs.geotiff import MapPlace
from overfly.runtime.mapping.outputs.preview import MAP_SIDE
from overfly.runtime.mapping.record import (
    JOURNAL_FILE,
    MAP_FILE,
    MAP_SCHEMA,
    MAPPING_STAGE,
    MachineRecord,
    MapOptions,
    MapRecord,
    ModelRecord,
)
from overfly.runtime.mapping.sums import CellSums
from overfly.runtime.raster.description import file_states
from overfly.runtime.raster.record import RasterRecord
from overfly.runtime.reporter import StageProgress
from overfly.runtime.versions import installed_versions

_WHITE = 255


@dataclass(slots=True)
class ClassifiedWindows:
    """The classified windows of a raster.

    Attributes
    ----------
    sums
        The probabilities of the cells.
    picture
        uint8, shape ``[n_rows * p, n_columns * p, 3]``: the raster, white where nothing was classified.
    problems
        Why blocks could not be read.
    machines
        Those that classified some of them and compute otherwise.
    n_classified
        Number of windows.
    """

    sums: CellSums
    picture: ImageBatch
    problems: list[RasterError] = field(default_factory=list)
    machines: list[MachineRecord] = field(default_factory=list)
    n_classified: int = 0

    def add(self, block: Block, result: BlockResult, cell_pixels: int) -> None:
        """Add a block."""
        self.sums.add(block, result.classified, result.present, result.probabilities)
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
    path
        The raster.
    files, states
        All files that the raster consists of, and the states of those that matter, from before they were hashed.
    place, raster, options, grid
        What it is made from.
    cell_m
        Width and height of a cell in meters.
    areas
        float64, shape ``[n_rows, n_columns]``: the area of each cell in square meters.
    manifest
        Of the bundle.
    inside
        bool, shape ``[n_rows, n_columns]``: the cells that the map is limited to; None for all.
    allow_mixed
        Whether machines that compute otherwise may classify a part.
    """

    name: str
    title: str
    path: Path
    files: tuple[Path, ...]
    states: Mapping[Path, str]
    place: MapPlace
    raster: RasterRecord
    options: MapOptions
    grid: WindowGrid
    cell_m: tuple[float, float]
    areas: npt.NDArray[np.float64]
    manifest: Manifest
    inside: npt.NDArray[np.bool_] | None
    allow_mixed: bool

    @property
    def n_windows(self) -> int:
        """The number of windows, with those that may turn out to have too few valid pixels."""
        return self.grid.n_rows * self.grid.n_columns

    def work(self) -> MapWork:
        """Return what has to be known to classify the blocks."""
        return MapWork(
            name=self.name,
            path=self.path,
            sha256=self.raster.sha256,
            states=self.states,
            options=self.options,
            spec=self._spec(),
            wanted=self._wanted(),
        )

    def write(self, folder: Path, engine: BlockEngine, progress: StageProgress) -> tuple[MapRecord, list[RasterError]]:
        """Classify the windows and write the files of the map.

        Parameters
        ----------
        folder
            Where to write. A journal that is there is continued.
        engine
            Classifies the blocks.
        progress
            Receives the number of windows that are done, and then each file that is being written.

        Returns
        -------
        tuple
            The record, and why parts of the raster could not be read.

        Raises
        ------
        RasterError
            If no part of the raster could be read.
        OutputError
            If the journal has blocks of machines that compute otherwise, and these are not allowed.
        """
        folder.mkdir(parents=True, exist_ok=True)
        remove_partials(folder)
        with open_raster(self.path, self.options) as source:
            files = source.files
        self._check_unchanged(files)
        windows = self.classify(folder, engine, progress)
        self._check_unchanged(files)
        if not windows.n_classified:
            raise self._nothing_classified(windows)
        content = MapContent(
            title=utf8_text(self.title),
            classes=self.manifest.classes,
            place=self.place,
            probabilities=windows.sums.probabilities(),
            areas=self.areas,
            inside=self.inside,
            min_probability=self.options.min_probability,
            unknown=self.options.unknown,
            picture=windows.picture,
            cell_m=self.cell_m,
        )
        figures, n_empty, names = write_outputs(folder, content, progress)
        record = MapRecord(
            classes=content.class_names,
            raster=self.raster,
            options=self.options,
            model=engine.model,
            window_pixels=(self.grid.window_width, self.grid.window_height),
            n_windows=windows.n_classified,
            n_columns=self.grid.n_columns,
            n_rows=self.grid.n_rows,
            figures=figures,
            empty_cells=n_empty,
            unreadable=tuple(utf8_text(problem) for problem in windows.problems),
            files={name: FileRecord(sha256_file(folder / name), (folder / name).stat().st_size) for name in names},
            versions=installed_versions(),
            other_machines=tuple(windows.machines),
        )
        write_document(folder / MAP_FILE, record, schema=MAP_SCHEMA)
        return record, self._summary(windows.problems)

    def _check_unchanged(self, files: Iterable[Path]) -> None:
        """Raise RasterError if a raster of these files is another one than that which was hashed."""
        found = file_states(files)
        for path in {**self.states, **found}:
            if self.states.get(path) != found.get(path):
                raise RasterError(f"{path} has changed while it was mapped: map it again with --overwrite")

    def _nothing_classified(self, windows: ClassifiedWindows) -> RasterError:
        """Return why the map has no cell."""
        if windows.problems:
            return self._summary(windows.problems)[0]
        return RasterError(
            f"{self.path} has no window of {self.options.scene_m:g} m ({self.grid.window_width:.0f} x "
            f"{self.grid.window_height:.0f} pixels) with at least half of its pixels: if they are marked as missing "
            "but are not, add --nodata none; otherwise choose another raster or scene size"
        )

    def _summary(self, problems: list[RasterError]) -> list[RasterError]:
        """Return the problems with parts of the raster as one."""
        if len(problems) < 2:  # noqa: PLR2004 - several
            return problems
        return [
            RasterError(
                f"{self.path}: {len(problems)} blocks of windows can't be read, and their cells are empty. The first "
                f"reason: {problems[0]}"
            )
        ]

    def classify(self, folder: Path, engine: BlockEngine, progress: StageProgress) -> ClassifiedWindows:
        """Classify the windows that are not in the journal of a folder, and put all together; see `write`."""
        spec = self._spec()
        side = spec.cell_pixels
        shape = self.grid.n_rows * side, self.grid.n_columns * side, N_COLORS
        windows = ClassifiedWindows(CellSums(self.grid, spec.n_values), np.full(shape, _WHITE, np.uint8))
        blocks = list(self.grid.blocks())
        n_done = 0
        with Journal(folder / JOURNAL_FILE, self._identity(engine.model, side)) as journal:
            for index, result in self._results(journal, engine, windows.machines):
                block = blocks[index]
                if isinstance(result, RasterError):
                    windows.problems.append(result)
                else:
                    windows.add(block, result, side)
                n_done += block.n_rows * block.n_columns
                progress(MAPPING_STAGE, n_done, self.n_windows)
        return windows

    def _results(
        self, journal: Journal, engine: BlockEngine, machines: list[MachineRecord]
    ) -> Iterator[tuple[int, BlockResult | RasterError]]:
        """Yield the result of each block, from the journal if it is there; add the machines that compute otherwise."""
        work = self.work()
        blocks = dict(enumerate(self.grid.blocks()))
        for index, data in journal.records():
            if index == MACHINE:
                machines.append(MachineRecord(**json.loads(data)))
                self._check_mixed(machines[0])
            elif (block := blocks.pop(index, None)) is not None:
                yield index, work.spec.parse(data, block)
        for outcome in engine.results(work, blocks.items()):
            if outcome.machine is not None and outcome.machine not in machines:
                machines.append(outcome.machine)
                journal.write(MACHINE, json.dumps(dataclasses.asdict(outcome.machine)).encode())
            if isinstance(outcome.result, BlockResult):
                journal.write(outcome.index, outcome.result.to_bytes())
            yield outcome.index, outcome.result

    def _check_mixed(self, machine: MachineRecord) -> None:
        """Raise OutputError if a machine that computes otherwise classified a part of the map, and must not."""
        if not self.allow_mixed:
            raise OutputError(
                f"a part of the unfinished map of {self.path} comes from a machine that computes otherwise "
                f"({machine.device_name}): add --allow-mixed to keep it, or --overwrite to start again"
            )

    def _spec(self) -> BlockSpec:
        """Return how the blocks are classified."""
        image = self.manifest.image
        return BlockSpec(
            grid=self.grid,
            n_classes=len(self.manifest.classes),
            unknown=self.options.unknown,
            size=image.size,
            reduce_first=image.reduce_first,
            cell_pixels=self._cell_pixels(),
        )

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
        return max(1, min(largest, math.ceil(MAP_SIDE / max(self.grid.n_rows, self.grid.n_columns))))
