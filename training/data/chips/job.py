"""From rasters and labels to a labeled folder of scenes: the one orchestration."""

import logging
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rasterio.windows import Window

from overfly.runtime.bundle.manifest import SceneSpec
from overfly.runtime.documents import write_document
from overfly.runtime.errors import RasterError
from overfly.runtime.files.atomic import atomic_folder
from overfly.runtime.files.hashing import sha256_files
from overfly.runtime.files.names import native_path, utf8_text
from overfly.runtime.files.output_guards import check_inputs_safe, explain_os_errors
from overfly.runtime.files.replacing import remove
from overfly.runtime.images.depth import ValueRange, check_range
from overfly.runtime.machine import keep_awake
from overfly.runtime.raster.fill import MIN_VALID, mirror_missing
from overfly.runtime.raster.source import NO_NODATA, RasterSource, check_projections
from overfly.runtime.reporter import SILENT, Reporter, count_and_name
from overfly.runtime.versions import installed_versions
from overfly.training.data.chips.ground import ground_footprints
from overfly.training.data.chips.labels import LabelFile, open_labels
from overfly.training.data.chips.planning import (
    ClassChoices,
    RasterPlan,
    check_class_names,
    file_stems,
    plan_raster,
)
from overfly.training.data.chips.record import (
    CHIPS_FILE,
    CHIPS_SCHEMA,
    FOOTPRINTS_FILE,
    ChipsOptions,
    ChipSource,
    ChipsRecord,
    LabelsRecord,
)
from overfly.training.data.chips.spatial_split import DROPPED, SplitPlan, block_numbers, check_divisible, divide
from overfly.training.data.chips.value_range import measure_range
from overfly.training.data.chips.writing import Chip, window_transform, write_chip, write_footprints
from overfly.training.data.parts import PARTS
from overfly.training.data.split import SPLIT_SCHEMA, Split, SplitFile
from overfly.training.run_layout import SPLIT_FILE

# A share that differs from the wanted one by more gets a note.
SHARE_TOLERANCE = 0.1

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChipsJob:
    """What to cut from what, and where to put it.

    Attributes
    ----------
    rasters
        The rasters.
    out
        The data folder to write.
    scene_m
        Side of a scene on the ground, in meters.
    labels
        Vector data with polygons or points; None cuts all windows into one folder, without a split.
    stride_m
        Distance of neighboring scenes; None sets them side by side.
    min_cover
        The share of a scene that a class must cover.
    outside
        The class of scenes without a label; None drops them.
    label_field, layer
        The column of the classes and the layer of the labels; see `overfly.training.data.chips.labels.open_labels`.
    bands
        Numbers of the bands for red, green and blue, from 1; None takes 1, 2 and 3, or the first one of fewer.
    value_range
        The values that become 0 and 255; None takes 8-bit values as they are.
    auto_range
        Take the 2nd and the 98th percentile of all rasters together.
    nodata
        The value of missing pixels: a number, ``none``, or None for what each raster says.
    gsd
        Meters per pixel of rasters without CRS.
    test_fraction, val_fraction
        Wanted share of the test part in each class, and of the validation part in the rest.
    seed
        Random seed of the split.
    block
        Side of the blocks of ground that go to a part as a whole, in scenes.
    """

    rasters: tuple[Path, ...]
    out: Path
    scene_m: float
    labels: Path | None = None
    stride_m: float | None = None
    min_cover: float = 0.5
    outside: str | None = None
    label_field: str | None = None
    layer: str | None = None
    bands: tuple[int, ...] | None = None
    value_range: ValueRange | None = None
    auto_range: bool = False
    nodata: str | None = None
    gsd: float | None = None
    test_fraction: float = 0.2
    val_fraction: float = 0.0
    seed: int = 0
    block: int = 8

    def __post_init__(self) -> None:
        """Raise ValueError if a number is out of its range, or a choice excludes another."""
        if self.value_range is not None:
            check_range(*self.value_range)
            if self.auto_range:
                raise ValueError("auto_range measures the range of values: leave out value_range")
        if self.nodata not in {None, NO_NODATA}:
            float(str(self.nodata))
        SceneSpec(self.scene_m, self.bands or (1, 2, 3))
        if not 0 < self.min_cover <= 1 or not 0 < self.test_fraction < 1 or not 0 <= self.val_fraction < 1:
            raise ValueError("min_cover, test_fraction or val_fraction is out of its range")

    @property
    def split_plan(self) -> SplitPlan:
        """How the scenes are divided."""
        return SplitPlan(
            distance_m=self.scene_m,
            block_m=self.block * self.scene_m,
            test_fraction=self.test_fraction,
            val_fraction=self.val_fraction,
            seed=self.seed,
        )


def cut_chips(job: ChipsJob, *, overwrite: bool = False, reporter: Reporter = SILENT) -> ChipsRecord:
    """Cut scenes from rasters and write them as a data folder with a split; if a step fails, write nothing.

    Parameters
    ----------
    job
        What to do.
    overwrite
        Replace an existing folder once the new one is complete.
    reporter
        Receives notes and progress.

    Raises
    ------
    RasterError
        If a raster or the labels can't be used, or if no scene is left.
    DataError
        If a class can't be divided.
    OutputError
        If the folder can't be written.
    """
    check_projections()
    check_inputs_safe(job.out, [*job.rasters, *([job.labels] if job.labels else [])])
    with keep_awake(), atomic_folder(job.out, overwrite=overwrite) as folder, explain_os_errors(job.out):
        return _Cutting(job, folder, reporter).write()


class _Cutting:
    """One run of a job, which writes every file to `folder`."""

    def __init__(self, job: ChipsJob, folder: Path, reporter: Reporter) -> None:
        self._job, self._folder, self._reporter = job, folder, reporter
        self._labels = open_labels(job.labels, field=job.label_field, layer=job.layer) if job.labels else None
        self._range = self._choose_range()
        self._plans = self._make_plans()
        self._dropped: Counter[str] = sum((plan.dropped for plan in self._plans), Counter())

    def write(self) -> ChipsRecord:
        """Write the scenes, the split, the footprints and the record."""
        self._check_plans()
        chips = self._cut()
        if not chips:
            raise RasterError(self._explain_no_scene())
        parts = [""] * len(chips)
        if self._labels is not None:
            chips, parts = self._divide(chips)
        self._write_footprints(chips, parts)
        record = self._record(chips, parts)
        write_document(self._folder / CHIPS_FILE, record, schema=CHIPS_SCHEMA)
        return record

    def _choose_range(self) -> ValueRange | None:
        """Return the range of values, measured if that is wanted."""
        job = self._job
        if not job.auto_range:
            return job.value_range
        self._reporter.progress("measuring the range of values", 0, 1)
        found = measure_range(job.rasters, bands=job.bands, nodata=job.nodata, gsd=job.gsd)
        self._reporter.progress("measuring the range of values", 1, 1)
        self._reporter.note(f"the range of values of all rasters is {found[0]:g},{found[1]:g}")
        return found

    def _open(self, path: Path) -> RasterSource:
        """Open a raster."""
        job = self._job
        return RasterSource(path, bands=job.bands, value_range=self._range, nodata=job.nodata, gsd=job.gsd)

    def _make_plans(self) -> list[RasterPlan]:
        """Open every raster and find its scenes."""
        job = self._job
        choices = ClassChoices(min_cover=job.min_cover, outside=job.outside)
        stride_m = job.stride_m or job.scene_m
        plans: list[RasterPlan] = []
        for i, (path, stem) in enumerate(zip(job.rasters, file_stems(job.rasters), strict=True)):
            with self._open(path) as source:
                if plans and source.bands != plans[0].bands:
                    raise RasterError(
                        f"{path} would give the bands {source.bands} and {plans[0].path} the bands {plans[0].bands}: "
                        "choose bands that all rasters have with --bands"
                    )
                plans.append(
                    plan_raster(
                        source, stem, scene_m=job.scene_m, stride_m=stride_m, labels=self._labels, choices=choices
                    )
                )
            self._reporter.progress("reading rasters and labels", i + 1, len(job.rasters))
        return plans

    def _check_plans(self) -> None:
        """Check the names of the classes, and whether each can be divided, before scenes are written."""
        if small := [plan.path for plan in self._plans if not len(plan.grid.columns)]:
            self._reporter.note(f"{count_and_name(small, 'raster')} smaller than a scene of {self._job.scene_m:g} m")
        if not any(len(plan.chosen) for plan in self._plans):
            raise RasterError(self._explain_no_scene())
        if self._labels is None:
            return
        names = np.concatenate([plan.labels for plan in self._plans])
        classes = sorted(set(names))
        check_class_names(classes)
        windows = [plan.ground_windows(plan.chosen) for plan in self._plans]
        numbers = np.array([classes.index(name) for name in names])
        plan = self._job.split_plan
        check_divisible(block_numbers(ground_footprints(windows), plan.block_m), numbers, classes, plan)

    def _cut(self) -> list[Chip]:
        """Write every scene that has enough valid pixels."""
        total = sum(len(plan.chosen) for plan in self._plans)
        chips: list[Chip] = []
        done = 0
        for number, plan in enumerate(self._plans):
            with self._open(plan.path) as source:
                for index, label in zip(plan.chosen, plan.labels, strict=True):
                    chip = self._cut_one(source, number, int(index), str(label))
                    if chip is None:
                        self._dropped["missing_pixels"] += 1
                    else:
                        chips.append(chip)
                    done += 1
                    self._reporter.progress("cutting scenes", done, total)
        return chips

    def _cut_one(self, source: RasterSource, number: int, index: int, label: str) -> Chip | None:
        """Write a scene; return None if more than half of its pixels are missing."""
        plan = self._plans[number]
        grid = plan.grid
        column, row = int(grid.columns[index]), int(grid.rows[index])
        pixels, valid = source.read(Window(column, row, grid.width, grid.height))
        if valid is not None:
            if valid.mean() < MIN_VALID:
                return None
            pixels = mirror_missing(pixels, valid)
        name = f"{label}/{plan.stem}_{row:05d}_{column:05d}.tif"
        path = self._folder / native_path(name)
        path.parent.mkdir(exist_ok=True)
        tags = {
            "source": utf8_text(plan.path.name).encode(errors="replace").decode(),
            "window": f"{column},{row},{grid.width},{grid.height}",
        }
        sha256 = write_chip(
            path, pixels, crs=plan.crs, transform=window_transform(plan.transform, column, row), tags=tags
        )
        return Chip(name=name, label=label, raster=number, index=index, sha256=sha256)

    def _divide(self, chips: list[Chip]) -> tuple[list[Chip], list[str]]:
        """Divide the scenes, delete those that are near another part, and write the split."""
        classes = sorted({chip.label for chip in chips})
        # The scenes are in the order of the rasters.
        indices = np.array([chip.index for chip in chips])
        ends = np.searchsorted([chip.raster for chip in chips], np.arange(1, len(self._plans)))
        windows = [plan.ground_windows(some) for plan, some in zip(self._plans, np.split(indices, ends), strict=True)]
        labels = np.array([classes.index(chip.label) for chip in chips])
        self._reporter.progress("dividing scenes", 0, 1)
        numbers = divide(ground_footprints(windows), labels, classes, self._job.split_plan)
        self._reporter.progress("dividing scenes", 1, 1)
        kept = []
        for chip, number in zip(chips, numbers, strict=True):
            if number == DROPPED:
                remove(self._folder / native_path(chip.name))
                self._dropped["near_other_part"] += 1
            else:
                kept.append((chip, PARTS[number]))
        kept.sort(key=lambda pair: pair[0].name)
        n_parts = Counter(part for _, part in kept)
        split = Split(
            seed=self._job.seed,
            test_fraction=n_parts["test"] / len(kept),
            val_fraction=n_parts["val"] / (len(kept) - n_parts["test"]),
            classes=tuple(classes),
            files=tuple(SplitFile(chip.name, chip.sha256, part) for chip, part in kept),
        )
        write_document(self._folder / SPLIT_FILE, split, schema=SPLIT_SCHEMA)
        return [chip for chip, _ in kept], [part for _, part in kept]

    def _write_footprints(self, chips: list[Chip], parts: list[str]) -> None:
        """Write where the scenes are, unless they are nowhere on the Earth."""
        plans = [self._plans[chip.raster] for chip in chips]
        crs = [plan.crs for plan in plans if plan.crs is not None]
        if len(crs) < len(plans):
            _LOGGER.info("no %s: a raster has no CRS", FOOTPRINTS_FILE)
            return
        outlines = [plan.grid.corners(plan.transform) for plan in self._plans]
        write_footprints(
            self._folder / FOOTPRINTS_FILE,
            [outlines[chip.raster][chip.index] for chip in chips],
            crs,
            {"name": [chip.name for chip in chips], "class": [chip.label for chip in chips], "part": parts},
        )

    def _record(self, chips: list[Chip], parts: list[str]) -> ChipsRecord:
        """Return the content of ``chips.json``, and tell the user of shares that are far from the wanted ones."""
        job = self._job
        counts: dict[str, dict[str, int]] = {}
        for (label, part), number in sorted(Counter(zip((c.label for c in chips), parts, strict=True)).items()):
            counts.setdefault(label, {})[part] = number
        if self._labels is not None:
            self._note_shares(counts)
        return ChipsRecord(
            scene=SceneSpec(job.scene_m, self._plans[0].bands),
            value_range=self._range,
            rasters=tuple(
                ChipSource(
                    raster=plan.record,
                    window_pixels=(plan.grid.width, plan.grid.height),
                    n_windows=len(plan.grid.columns),
                )
                for plan in self._plans
            ),
            labels=None if self._labels is None else self._labels_record(self._labels),
            options=ChipsOptions(
                stride_m=job.stride_m or job.scene_m,
                auto_range=job.auto_range,
                nodata=job.nodata,
                gsd=job.gsd,
                test_fraction=job.test_fraction,
                val_fraction=job.val_fraction,
                seed=job.seed,
                block=job.block,
            ),
            counts=counts,
            dropped={reason: number for reason, number in sorted(self._dropped.items()) if number},
            versions=installed_versions(),
        )

    def _labels_record(self, labels: LabelFile) -> LabelsRecord:
        """Return what gave the scenes their classes."""
        return LabelsRecord(
            path=utf8_text(labels.path.absolute()),
            sha256=sha256_files(labels.files),
            layer=labels.layer,
            field=labels.field,
            crs=labels.crs.to_string(),
            min_cover=self._job.min_cover,
            outside=self._job.outside,
        )

    def _note_shares(self, counts: dict[str, dict[str, int]]) -> None:
        """Tell the user of classes whose shares are far from the wanted ones."""
        for part, wanted in zip(PARTS, self._job.split_plan.shares, strict=True):
            shares = {label: numbers.get(part, 0) / sum(numbers.values()) for label, numbers in counts.items()}
            far = [f"{label} {share:.0%}" for label, share in shares.items() if abs(share - wanted) > SHARE_TOLERANCE]
            if far:
                self._reporter.note(
                    f"the {part} part was to have {wanted:.0%} of each class, and has {', '.join(far)}: "
                    "these classes are in few blocks of the ground"
                )

    def _explain_no_scene(self) -> str:
        """Return why there is no scene."""
        n_windows = sum(len(plan.grid.columns) for plan in self._plans)
        if not n_windows:
            return (
                f"no raster is as large as a scene of {self._job.scene_m:g} m, such as {self._plans[0].path}: choose "
                "smaller scenes with --scene-m, or other rasters"
            )
        why = ", ".join(
            f"{number} {reason.replace('_', ' ')}" for reason, number in sorted(self._dropped.items()) if number
        )
        where = f"of {self._labels.path} and " if self._labels else "of "
        return (
            f"none of the {n_windows} windows is a scene ({why}): check the places {where}{self._plans[0].path}, or "
            "lower --min-cover"
        )
