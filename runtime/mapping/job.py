"""From a bundle and rasters to maps: the one orchestration."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.errors import OutputError, OverflyError, RasterError, RefusedRasterError
from overfly.runtime.extras import require_extra
from overfly.runtime.files.folder_lock import LOCK_FILE, lock_folder
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.files.output_guards import check_inputs_safe, check_overwrite, explain_os_errors
from overfly.runtime.files.replacing import remove, replace_folder
from overfly.runtime.files.unfinished import check_still_free, check_unfinished, unfinished_folder
from overfly.runtime.images.depth import ValueRange
from overfly.runtime.machine import keep_awake
from overfly.runtime.mapping.record import (
    JOURNAL_FILE,
    MAP_FILE,
    MAPPING_STAGE,
    OVERLAPS,
    MapOptions,
    MapRecord,
    ModelRecord,
)
from overfly.runtime.reporter import SILENT, Reporter

if TYPE_CHECKING:
    from overfly.runtime.mapping.engine import OpenEngine

_HOW_TO_CONTINUE = "the finished blocks are safe: fix the problem, then repeat the command with --resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class MapJob:
    """What to map, and where to write it.

    Attributes
    ----------
    bundle
        The bundle.
    rasters
        The rasters.
    out
        The folder to write. With several rasters it has a folder for each.
    scene_m
        Side of a window on the ground in meters; None takes that of the bundle.
    overlap
        Share of a window's side that it has in common with the next one: a key of `OVERLAPS`.
    bands
        Numbers of the bands for red, green and blue, from 1; None takes those of the bundle, otherwise the first three.
    value_range
        The values that become black and white; None takes those of the bundle.
    nodata
        The value of missing pixels as text, or ``none``; None for what each raster says.
    gsd
        Meters per pixel, for rasters without CRS.
    min_probability
        Cells whose class has a lower probability are empty.
    area
        A vector file; the map is limited to its polygons.
    merge
        Make one map of all rasters, which must be on one grid.
    unknown
        Mark cells as unknown if most of their windows do not look like the training images. The bundle needs a known
        score.
    device, variant, execution_precision, cache, properties
        See `overfly.runtime.classifier.Classifier.from_bundle`.
    allow_mixed
        Whether machines that compute otherwise than this one may classify a part of a map.
    """

    bundle: Path
    rasters: tuple[Path, ...]
    out: Path
    scene_m: float | None = None
    overlap: float = 0.5
    bands: tuple[int, ...] | None = None
    value_range: ValueRange | None = None
    nodata: str | None = None
    gsd: float | None = None
    min_probability: float = 0.0
    area: Path | None = None
    merge: bool = False
    unknown: bool = False
    device: str = "auto"
    variant: str = "auto"
    execution_precision: str = "auto"
    cache: bool = True
    properties: Mapping[str, str] = field(default_factory=dict)
    allow_mixed: bool = False

    @property
    def inputs(self) -> list[Path]:
        """Every path that is read."""
        return [self.bundle, *self.rasters, *([self.area] if self.area else [])]


@dataclass(frozen=True, slots=True)
class MapResult:
    """What became of a `MapJob`.

    Attributes
    ----------
    records
        The record of each map, by its folder.
    problems
        Why a raster has no map, or which part of it could not be read. With a `RefusedRasterError`, all maps are still
        in the unfinished folder.
    """

    records: dict[Path, MapRecord]
    problems: tuple[OverflyError, ...]


def make_maps(
    job: MapJob,
    *,
    resume: bool = False,
    overwrite: bool = False,
    reporter: Reporter = SILENT,
    open_engine: "OpenEngine | None" = None,
) -> MapResult:
    """Classify rasters and write their maps.

    A raster that can't be mapped does not stop the others. One that only the workers of a cluster can't read keeps
    the others in the unfinished folder as well, where `resume` continues it.

    Parameters
    ----------
    job
        What to do.
    resume
        Continue the unfinished maps of the same job, if there are any.
    overwrite
        Replace finished or unfinished maps; finished ones stay until the new ones are complete.
    reporter
        Receives notes and progress.
    open_engine
        Makes what classifies the windows, such as `overfly.runtime.cluster.job.ClusterJob.open_engine`; None lets
        this process do it.

    Raises
    ------
    OverflyError
        If the bundle, the device or the output can't be used, or if the only raster can't.
    """
    require_extra("geo")
    bundle = Bundle.open(job.bundle)
    check_inputs_safe(job.out, job.inputs)
    check_overwrite(job.out, overwrite=overwrite)
    check_unfinished(job.out, "map", job.inputs, resume=resume, overwrite=overwrite)
    work = unfinished_folder(job.out)
    is_ours = False
    try:
        with explain_os_errors(work, _HOW_TO_CONTINUE):
            work.mkdir(parents=True, exist_ok=True)
            with lock_folder(work), keep_awake():
                is_ours = True
                if overwrite and not resume:
                    _remove_others(work, keep={LOCK_FILE})
                result = _make_all(job, bundle, work, reporter, open_engine)
    finally:
        # Delete it if there is nothing to continue from.
        if is_ours and work.exists() and not any(work.rglob(JOURNAL_FILE)) and not any(work.rglob(MAP_FILE)):
            remove(work)
    if _has_refused(result.problems):
        reporter.note(f"{work} holds what is done: continue with the same command and --resume, also without a cluster")
        return result
    if not result.records:
        return result
    check_still_free(job.out, "map", overwrite=overwrite)
    with explain_os_errors(job.out, f"the map is complete in {work}: close the program that has it open"):
        replace_folder(work, job.out.absolute())
    return result


def _make_all(
    job: MapJob, bundle: Bundle, work: Path, reporter: Reporter, open_engine: "OpenEngine | None"
) -> MapResult:
    """Make every map of a job in the unfinished folder."""
    from overfly.runtime.mapping.engine import open_local_engine
    from overfly.runtime.mapping.plan import plan_maps

    maps, problems = plan_maps(job, map_options(job, bundle), bundle.manifest, reporter)
    if not maps:
        return _none_made(problems)
    names = {each.name for each in maps}
    _check_journals(work, names)
    records: dict[str, MapRecord] = {}
    with (open_engine or open_local_engine)(job, bundle, reporter) as engine:
        reporter.note(_announcement(engine.model, maps[0].options))
        if warning := bundle.calibration_warning():
            reporter.note(warning)
        engine.expect(each.work() for each in maps if not (work / each.name / JOURNAL_FILE).exists())
        n_windows, n_before = sum(each.n_windows for each in maps), 0
        for each in maps:
            progress = partial(_report, reporter, n_before, n_windows)
            try:
                records[each.name], unreadable = each.write(work / each.name, engine, progress)
            except (RasterError, RefusedRasterError) as error:
                problems.append(error)
                if each.name and isinstance(error, RasterError):
                    remove(work / each.name)
            else:
                problems += unreadable
            n_before += each.n_windows
    is_refused = _has_refused(problems)
    if not is_refused:
        _tidy(work, names, records)
    if not records:
        return _none_made(problems)
    folder = work if is_refused else job.out
    return MapResult({folder / name: record for name, record in records.items()}, tuple(problems))


def _tidy(work: Path, names: set[str], records: Collection[str]) -> None:
    """Delete what is needed to continue, and what is left of other maps."""
    for name in names:
        remove(work / name / JOURNAL_FILE)
    if names != {""} or not records:
        _remove_others(work, keep={LOCK_FILE, *records})


def _has_refused(problems: Iterable[OverflyError]) -> bool:
    """Whether there is a raster whose map can be continued."""
    return any(isinstance(problem, RefusedRasterError) for problem in problems)


def _none_made(problems: list[OverflyError]) -> MapResult:
    """Return a result without maps; a single problem is raised."""
    if len(problems) == 1:
        raise problems[0]
    return MapResult({}, tuple(problems))


def _check_journals(work: Path, names: set[str]) -> None:
    """Raise OutputError if the unfinished folder has the journal of a raster that is none of these."""
    found = {"" if path.parent == work else path.parent.name for path in work.rglob(JOURNAL_FILE)}
    if others := sorted(found - names):
        what = ", ".join(name or "a single one" for name in others)
        raise OutputError(
            f"{work} holds the unfinished map of other rasters ({what}): repeat the first command with --resume, or "
            "start again with --overwrite"
        )


def _remove_others(work: Path, keep: set[str]) -> None:
    """Delete what is in a folder, but for some names."""
    for path in work.iterdir():
        if path.name not in keep:
            remove(path)


def _report(reporter: Reporter, n_before: int, n_windows: int, stage: str, done: int, total: int) -> None:
    """Report the progress of a raster; its windows count after those of the rasters before it."""
    if stage == MAPPING_STAGE:
        done, total = n_before + done, n_windows
    reporter.progress(stage, done, total)


def map_options(job: MapJob, bundle: Bundle) -> MapOptions:
    """Return the options of the maps; what the job leaves open is the bundle's.

    Raises
    ------
    BundleError
        If unknown cells are to be marked and the bundle can't tell them.
    RasterError
        If the size of a scene is unknown, the file of the area is missing, the overlap is none of `OVERLAPS`, or the
        size of the model's images is no multiple of a cell.
    """
    if job.unknown:
        bundle.check_known_score()
    scene = bundle.manifest.scene
    scene_m = job.scene_m or (scene.scene_m if scene else None)
    if scene_m is None:
        raise RasterError(
            f"{job.bundle} does not say how much ground an image shows, because it was not trained on chips: give the "
            "side of a training image in meters with --scene-m, such as 78 for UC Merced"
        )
    if job.overlap not in OVERLAPS or bundle.manifest.image.size % OVERLAPS[job.overlap]:
        possible = [overlap for overlap, per_side in OVERLAPS.items() if bundle.manifest.image.size % per_side == 0]
        raise RasterError(
            f"windows of {bundle.manifest.image.size} pixels can't overlap by {job.overlap:g}: expected "
            f"{' or '.join(f'{overlap:g}' for overlap in possible)}"
        )
    if job.area is not None and not job.area.is_file():
        raise RasterError(f"{job.area} does not exist: expected a file of polygons such as a GeoPackage")
    return MapOptions(
        scene_m=scene_m,
        overlap=job.overlap,
        bands=job.bands or (scene.bands if scene else None),
        value_range=job.value_range or bundle.manifest.image.value_range,
        nodata=job.nodata,
        gsd=job.gsd,
        min_probability=job.min_probability,
        area=None if job.area is None else sha256_file(job.area),
        unknown=job.unknown,
    )


def _announcement(model: ModelRecord, options: MapOptions) -> str:
    """Return what runs and what a window is, as a sentence."""
    return (
        f"running {model.variant} on {model.device} ({model.device_name}) in {model.execution_precision}; windows of "
        f"{options.scene_m:g} m, with an overlap of {options.overlap:g}"
    )
