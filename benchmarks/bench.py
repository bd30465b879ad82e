"""From a bundle and a labelled folder to a report."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from overfly.benchmarks.answer import choose
from overfly.benchmarks.backends import Candidate, Loaded, openvino_candidates, pytorch_candidate
from overfly.benchmarks.environment import busy_fraction, describe_environment
from overfly.benchmarks.probe import Probe, probe
from overfly.benchmarks.report import OK, BundleFacts, Judged, Raw, Report, Row
from overfly.benchmarks.rows import Identity, choose_baseline, compare_rows, make_row
from overfly.benchmarks.selection import calibration_overlap, describe_judged, select_scenes
from overfly.benchmarks.statistics import Labels
from overfly.benchmarks.timing import FULL, QUICK, Measured, Plan, measure
from overfly.benchmarks.verdict import Evidence, judge
from overfly.runtime.bundle import Bundle
from overfly.runtime.errors import OverflyError, needs_extra
from overfly.runtime.images import ImageBatch
from overfly.runtime.reporter import SILENT, Reporter
from overfly.training.dataset import decode, scan


@dataclass(frozen=True, slots=True)
class BenchJob:
    """What to measure, on what.

    Attributes
    ----------
    bundle
        The bundle folder.
    data
        A folder of labelled scenes; see `overfly.benchmarks.selection.select_scenes`.
    run
        The run that the bundle comes from, for the PyTorch baseline; None leaves torch alone.
    devices
        As `overfly.runtime.devices.resolve_device` takes them.
    quick
        Fewer samples: a rough picture in a fraction of the time.
    max_drop_pp
        Percentage points of accuracy that a recommended row may lose.
    cache
        Keep compiled models in the user's cache folder.
    """

    bundle: Path
    data: Path
    run: Path | None = None
    devices: tuple[str, ...] = ("CPU",)
    quick: bool = False
    max_drop_pp: float | None = None
    cache: bool = True


def bench(job: BenchJob, *, reporter: Reporter = SILENT) -> Report:
    """Measure every variant of a bundle on every device, and the PyTorch baseline when a run is given.

    Parameters
    ----------
    job
        What to do.
    reporter
        Hears of progress.

    Raises
    ------
    OverflyError
        For a bundle, data folder, run or device that can't be used, or when jinja2, which the
        report will need, is not installed. A row that fails on its way is no error: it stays in
        the report with its reason.
    """
    with needs_extra("bench"):
        import jinja2  # noqa: F401 - now, rather than after minutes of measuring
    bundle = Bundle.open(job.bundle)
    candidates = [] if job.run is None else [pytorch_candidate(bundle, job.run)]
    candidates += openvino_candidates(bundle, job.devices, cache=job.cache)
    busy = busy_fraction()
    dataset = scan(job.data, progress=partial(reporter.progress, "hashing"))
    source, scenes = select_scenes(dataset, bundle.manifest)
    size = bundle.manifest.image.size
    images = decode(job.data, scenes, size=size, progress=partial(reporter.progress, "decoding"))
    judged = describe_judged(source, scenes)
    probes = _probe_all(candidates, reporter)
    rows, raws = _measure_all(candidates, probes, images, judged, bundle, job, reporter)
    environment = describe_environment(busy)
    overlap = calibration_overlap(bundle.manifest, scenes)
    baseline = choose_baseline(rows)
    compared = compare_rows(rows, raws, np.array(judged.truth, dtype=np.int64), baseline)
    return Report(
        verdict=judge(Evidence(compared, raws, job.quick, environment, overlap)),
        answer=choose(compared, baseline, job.max_drop_pp),
        overfly=metadata.version("overfly"),
        quick=job.quick,
        bundle=BundleFacts(job.bundle.resolve().name, bundle.manifest_sha256(), bundle.manifest.model, size),
        environment=environment,
        classes=bundle.manifest.classes,
        baseline=baseline,
        rows=tuple(compared),
        images=judged,
        raw=tuple(raws),
    )


def _probe_all(candidates: Sequence[Candidate], reporter: Reporter) -> list[Probe]:
    """Establish load times and memory, one child process after the other."""
    probes = []
    reporter.progress("load time and memory", 0, len(candidates))
    for done, candidate in enumerate(candidates, start=1):
        probes.append(probe(candidate.probe_arguments))
        reporter.progress("load time and memory", done, len(candidates))
    return probes


def _measure_all(
    candidates: Sequence[Candidate],
    probes: Sequence[Probe],
    images: ImageBatch,
    judged: Judged,
    bundle: Bundle,
    job: BenchJob,
    reporter: Reporter,
) -> tuple[list[Row], list[Raw]]:
    """Load and measure every candidate; return their rows, not yet compared, and what they were made from."""
    loaded = [_load(candidate) for candidate in candidates]
    ready = [item for item in loaded if isinstance(item, Loaded)]
    plan: Plan = QUICK if job.quick else FULL
    progress = partial(reporter.progress, "measuring")
    results = iter(measure([item.backend for item in ready], images, plan, progress=progress))
    truth = np.array(judged.truth, dtype=np.int64)
    rows, raws = [], []
    for candidate, item, found in zip(candidates, loaded, probes, strict=True):
        measured = next(results) if isinstance(item, Loaded) else None
        row, raw = _row(candidate, item, measured, found, truth, len(bundle.manifest.classes))
        if row.status != OK:
            reporter.note(f"{row.name} failed: {row.status}")
        rows.append(row)
        raws.append(raw)
    return rows, raws


def _load(candidate: Candidate) -> Loaded | str:
    """Return the loaded model, or why it can't be."""
    try:
        return candidate.load()
    except (OverflyError, RuntimeError) as error:
        return str(error)


def _row(
    candidate: Candidate, item: Loaded | str, measured: Measured | None, found: Probe, truth: Labels, n_classes: int
) -> tuple[Row, Raw]:
    """Return the row and the raw measurements of one candidate, whatever became of it."""
    problem = item if isinstance(item, str) else measured.problem if measured else None
    raw = Raw((), (), ()) if measured is None else measured.raw()
    row = make_row(
        _identity(candidate, item), raw, truth, n_classes=n_classes, probe=found, status=problem or OK
    )  # fmt: skip
    return row, raw


def _identity(candidate: Candidate, item: Loaded | str) -> Identity:
    """Return what the row is of: as it was loaded, or as it should have been."""
    effective = candidate if isinstance(item, str) else item
    return Identity(
        backend=candidate.backend,
        variant=candidate.variant,
        device=effective.device,
        device_name=effective.device_name,
        requested_precision=effective.requested_precision,
        execution_precision=None if isinstance(item, str) else item.execution_precision,
        size_bytes=candidate.size_bytes,
    )
