"""From a bundle and a labelled folder to a report."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from overfly.benchmarks.measurement.environment import BackgroundLoad, busy_fraction, describe_environment
from overfly.benchmarks.measurement.evaluation_images import (
    calibration_overlap,
    describe_judged,
    find_calibration_images,
    select_images,
    subsample,
)
from overfly.benchmarks.measurement.probe import probe
from overfly.benchmarks.measurement.timing import FAILURES, FULL, QUICK, Measured, Pictures, Plan, measure
from overfly.benchmarks.models.backends import Loaded
from overfly.benchmarks.models.candidates import (
    Candidate,
    check_run,
    choose_devices,
    default_candidates,
    peer_candidates,
)
from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.rendering.markdown import report_markdown
from overfly.benchmarks.results.recommendation import choose
from overfly.benchmarks.results.records import OK, BundleFacts, Environment, Judged, Measurements, Probe, Report, Row
from overfly.benchmarks.results.rows import Identity, choose_baseline, compare_rows, make_row
from overfly.benchmarks.results.store import write_report_json
from overfly.benchmarks.results.validity import Evidence, judge
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.extras import require_extra
from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.images.reading import ImageBatch, load_image
from overfly.runtime.inference.runner import summarize_openvino_error
from overfly.runtime.reporter import SILENT, Reporter
from overfly.training.data.dataset import Dataset, LabelledImage, decode, scan

REPORT_MARKDOWN = "report.md"
REPORT_HTML = "report.html"

# Two of each class of UC Merced.
QUICK_IMAGES = 42

_INDUCTOR_CACHE = "TORCHINDUCTOR_CACHE_DIR"


@dataclass(frozen=True, slots=True)
class BenchJob:
    """What to measure, on what.

    Attributes
    ----------
    bundle
        The bundle folder.
    data
        A folder of labelled scenes; see `overfly.benchmarks.measurement.evaluation_images.select_images`.
    run
        The run that the bundle comes from, for the PyTorch baseline; None leaves torch alone.
    devices
        As `overfly.runtime.inference.devices.resolve_device` takes them.
    quick
        Fewer samples and images, no ``torch.compile``, no load times and no memory: a rough picture in a fraction of
        the time.
    peers
        Measure what else people compare with.
    n_images
        Judge at most about so many images, drawn evenly from the classes; None: all, or with `quick`
        `QUICK_IMAGES`.
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
    peers: bool = False
    n_images: int | None = None
    max_drop_pp: float | None = None
    cache: bool = True

    @property
    def max_images(self) -> int | None:
        """How many images are judged at most; None: all."""
        return QUICK_IMAGES if self.n_images is None and self.quick else self.n_images


def bench(job: BenchJob, *, reporter: Reporter = SILENT) -> Report:
    """Measure every variant of a bundle on every device, ONNX Runtime, and PyTorch when a run is given.

    Parameters
    ----------
    job
        What to do.
    reporter
        Hears of progress.

    Raises
    ------
    OverflyError
        For a bundle, data folder, run or device that can't be used, or if a package of the
        extra ``bench`` is not installed. A row that fails on its way is no error: it stays in
        the report with its reason.
    """
    require_extra("bench")  # now, rather than after minutes of measuring
    bundle = Bundle.open(job.bundle)
    devices = choose_devices(job.devices)
    if job.run is not None:
        check_run(bundle, job.run)
    busy = busy_fraction()
    dataset = scan(job.data, progress=partial(reporter.progress, "hashing"))
    source, scenes = select_images(dataset, bundle.manifest)
    n_available = len(scenes)
    if job.max_images is not None:
        scenes = subsample(scenes, job.max_images)
    size = bundle.manifest.image.size
    load = partial(load_scene, job.data, scenes, size)
    pixels = decode(job.data, scenes, size=size, progress=partial(reporter.progress, "decoding"))
    facts = Facts(
        bundle, job, describe_judged(source, scenes, n_available), calibration_overlap(bundle.manifest, scenes)
    )
    with _workspace() as workspace:
        candidates = default_candidates(bundle, job.run, devices, workspace, cache=job.cache, quick=job.quick)
        if job.peers:
            calibration = partial(_calibration_images, job.data, dataset, bundle)
            candidates += peer_candidates(bundle, job.run, devices, calibration, workspace)
        probes = [Probe()] * len(candidates) if job.quick else _probe_all(candidates, reporter)
        loaded = _load_all(candidates, reporter)
        others = BackgroundLoad()
        measured = _measure_all(loaded, Pictures(pixels, load), QUICK if job.quick else FULL, reporter)
        environment = describe_environment(busy, others.fraction())
    rows, raws = _rows(candidates, loaded, measured, probes, facts)
    for row in rows:
        if row.status != OK:
            reporter.note(f"{row.name} failed: {row.status}")
    return conclude(rows, raws, facts, environment)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a report says beside its rows.

    Attributes
    ----------
    n_calibration
        Judged images that also set the ranges of a quantised variant.
    """

    bundle: Bundle
    job: BenchJob
    images: Judged
    n_calibration: int


def conclude(rows: Sequence[Row], raws: Sequence[Measurements], facts: Facts, environment: Environment) -> Report:
    """Compare the rows, judge them, and return the report.

    Parameters
    ----------
    rows
        Not yet compared.
    raws
        What they were made from.
    facts, environment
        What else the report says.
    """
    manifest, job = facts.bundle.manifest, facts.job
    baseline = choose_baseline(rows)
    compared = compare_rows(rows, raws, np.array(facts.images.truth, dtype=np.int64), baseline)
    return Report(
        verdict=judge(Evidence(compared, raws, job.quick, environment, facts.images, facts.n_calibration)),
        answer=choose(compared, baseline, job.max_drop_pp),
        overfly=metadata.version("overfly"),
        quick=job.quick,
        bundle=BundleFacts(
            facts.bundle.path.resolve().name, facts.bundle.manifest_sha256(), manifest.model, manifest.image.size
        ),
        environment=environment,
        classes=manifest.classes,
        baseline=baseline,
        rows=tuple(compared),
        images=facts.images,
        raw=tuple(raws),
    )


def write_report(folder: Path, report: Report) -> None:
    """Write ``report.json``, ``report.md`` and ``report.html`` into an existing folder.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``bench`` is not installed.
    """
    write_report_json(folder, report)
    for name, text in ((REPORT_MARKDOWN, report_markdown(report)), (REPORT_HTML, report_html(report))):
        # A file's name need not be UTF-8: what is not is shown by its number.
        write_atomically(folder / name, text.encode(errors="backslashreplace"))


def load_scene(data: Path, scenes: Sequence[LabelledImage], size: int, index: int) -> ImageBatch:
    """Decode a scene from its file; uint8, shape ``[size, size, 3]``."""
    return load_image(data / scenes[index].name, size)


def _calibration_images(data: Path, dataset: Dataset, bundle: Bundle) -> ImageBatch:
    """Decode the images that set the INT8 ranges of the bundle.

    Raises
    ------
    DataError
        When the bundle names none, or the data folder lacks one.
    """
    scenes = find_calibration_images(dataset, bundle.manifest)
    return decode(data, scenes, size=bundle.manifest.image.size)


def _probe_all(candidates: Sequence[Candidate], reporter: Reporter) -> list[Probe]:
    """Establish load times and memory, one child process after the other."""
    probes = []
    reporter.progress("load time and memory", 0, len(candidates))
    for done, candidate in enumerate(candidates, start=1):
        probes.append(Probe() if candidate.probe_arguments is None else probe(candidate.probe_arguments))
        reporter.progress("load time and memory", done, len(candidates))
    return probes


def _load_all(candidates: Sequence[Candidate], reporter: Reporter) -> list[Loaded | str]:
    """Load every model; what can't be loaded is the reason for it."""
    loaded: list[Loaded | str] = []
    reporter.progress("loading", 0, len(candidates))
    for done, candidate in enumerate(candidates, start=1):
        try:
            loaded.append(candidate.load())
        except FAILURES as error:
            # Not its text alone: that may be empty, and then nothing would say that the row failed.
            loaded.append(summarize_openvino_error(error))
        reporter.progress("loading", done, len(candidates))
    return loaded


def _measure_all(
    loaded: Sequence[Loaded | str], pictures: Pictures, plan: Plan, reporter: Reporter
) -> list[Measured | None]:
    """Measure what could be loaded; None for the others. After the first round say how long the rest takes."""
    start = time.monotonic()

    def progress(done: int, total: int) -> None:
        reporter.progress("measuring", done, total)
        if done * plan.n_rounds == total and plan is FULL:
            left_s = (time.monotonic() - start) * (plan.n_rounds - 1)
            reporter.note(f"the first of {plan.n_rounds} rounds is done; about {max(1, round(left_s / 60))} min left")

    backends = [item.backend for item in loaded if isinstance(item, Loaded)]
    results = iter(measure(backends, pictures, plan, progress=progress))
    return [next(results) if isinstance(item, Loaded) else None for item in loaded]


def _rows(
    candidates: Sequence[Candidate],
    loaded: Sequence[Loaded | str],
    measured: Sequence[Measured | None],
    probes: Sequence[Probe],
    facts: Facts,
) -> tuple[list[Row], list[Measurements]]:
    """Return the rows, not yet compared, and what they were made from, whatever became of each candidate."""
    truth = np.array(facts.images.truth, dtype=np.int64)
    n_classes = len(facts.bundle.manifest.classes)
    raws = [Measurements() if item is None else item.raw() for item in measured]
    problems = [
        item if isinstance(item, str) else result.problem if result else None
        for item, result in zip(loaded, measured, strict=True)
    ]
    rows = [
        make_row(_identity(candidate, item), raw, truth, n_classes=n_classes, probe=found, status=problem or OK)
        for candidate, item, raw, found, problem in zip(candidates, loaded, raws, probes, problems, strict=True)
    ]
    return rows, raws


def _identity(candidate: Candidate, item: Loaded | str) -> Identity:
    """Return what the row is of: as it was loaded, or as it should have been."""
    if isinstance(item, str):
        return candidate.identity
    return replace(
        candidate.identity,
        device=item.device,
        device_name=item.device_name,
        requested_precision=item.requested_precision,
        execution_precision=item.execution_precision,
        n_threads=item.n_threads,
    )


@contextmanager
def _workspace() -> Iterator[Path]:
    """Make a folder that is gone afterwards; torch.compile keeps in it what it compiles, not in the user's cache."""
    before = os.environ.get(_INDUCTOR_CACHE)
    with TemporaryDirectory(prefix="overfly-bench-", ignore_cleanup_errors=True) as folder:
        os.environ[_INDUCTOR_CACHE] = str(Path(folder) / "inductor")
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ[_INDUCTOR_CACHE]
            else:
                os.environ[_INDUCTOR_CACHE] = before
