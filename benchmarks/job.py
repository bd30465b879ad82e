"""Measure a bundle on labeled images, and write a report."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

import numpy as np

from overfly.benchmarks.measurement.environment import BackgroundLoad, background_load, describe_environment
from overfly.benchmarks.measurement.evaluation_images import (
    count_seen,
    describe_images,
    find_calibration_images,
    select_images,
    subsample,
)
from overfly.benchmarks.measurement.pictures import add_pictures
from overfly.benchmarks.measurement.timing import ImageSource
from overfly.benchmarks.measurement.workspace import make_workspace
from overfly.benchmarks.models.candidates import (
    check_run,
    choose_candidates,
    choose_devices,
)
from overfly.benchmarks.models.onnxruntime_int8 import require_quantizer
from overfly.benchmarks.rendering.formatting import failures
from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.rendering.markdown import report_markdown
from overfly.benchmarks.results.conclusions import conclude
from overfly.benchmarks.results.records import BundleFacts, Environment, EvaluationSet, Report
from overfly.benchmarks.results.row_records import OK, Row
from overfly.benchmarks.results.store import write_report_json
from overfly.benchmarks.results.validity import validate
from overfly.benchmarks.row_jobs import RowJob, for_each, measure_all
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.evaluation.recommendation import (
    SavedRecommendation,
    delete_recommendation,
    save_recommendation,
)
from overfly.runtime.extras import require_extra
from overfly.runtime.files.atomic import atomic_folder, write_atomically
from overfly.runtime.files.output_guards import check_inputs_safe, check_outside, check_overwrite
from overfly.runtime.images.reading import ImageBatch, ImageReader
from overfly.runtime.machine import keep_awake
from overfly.runtime.reporter import SILENT, Reporter
from overfly.training.data.dataset import Dataset, decode, scan
from overfly.training.data.notes import folder_notes

# Two of each class of UC Merced.
QUICK_IMAGES = 42

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchJob:
    """What to measure, with which images, and where the report goes.

    Attributes
    ----------
    bundle
        Path of the bundle.
    data
        A folder of labeled images; see `overfly.benchmarks.measurement.evaluation_images.select_images`.
    out
        The report folder to write.
    run
        The run that the bundle was exported from, for the PyTorch baseline; None measures without PyTorch.
    devices
        As `overfly.runtime.inference.devices.resolve_device` takes them.
    quick
        Fewer samples and images, no ``torch.compile``, no load times and no memory: a rough estimate in a
        fraction of the time.
    alternatives
        Measure also what else people would deploy; see ``docs/measuring.md``.
    n_images
        Evaluate at most about this number of images, drawn evenly from the classes. None evaluates all, or
        with `quick` `QUICK_IMAGES`.
    max_drop_pp
        Percentage points of accuracy that a recommended row may lose; None allows a loss that is not significant.
    cache
        Keep compiled models, and the recommendation, in the user's cache folder.
    """

    bundle: Path
    data: Path
    out: Path
    run: Path | None = None
    devices: tuple[str, ...] = ("CPU",)
    quick: bool = False
    alternatives: bool = False
    n_images: int | None = None
    max_drop_pp: float | None = None
    cache: bool = True


def bench(job: BenchJob, *, overwrite: bool = False, reporter: Reporter = SILENT) -> Report:
    """Measure every variant of a bundle on every device, ONNX Runtime, and PyTorch if a run is given.

    Parameters
    ----------
    job
        What to measure.
    overwrite
        Replace an existing report.
    reporter
        Progress is reported to it.

    Returns
    -------
    Report
        The content of ``report.json``, which is written to ``job.out`` with ``report.md`` and ``report.html``.
        A row that could not be loaded or measured is in it, with the reason.

    Raises
    ------
    OverflyError
        If the bundle, data folder, run, device or output folder can't be used, or if a package that a row
        needs is not installed. All of this is checked before anything is measured.

    Examples
    --------
    >>> from pathlib import Path
    >>> from overfly.benchmarks import BenchJob, bench
    >>> report = bench(BenchJob(bundle=Path("bundle"), data=Path("scenes"), out=Path("new-report"), quick=True))
    >>> [row.name for row in report.rows]
    ['ONNX Runtime fp32', 'OpenVINO fp32 CPU', 'OpenVINO fp16 CPU', 'OpenVINO int8 CPU']
    """
    _check_job(job, overwrite=overwrite)
    bundle = Bundle.open(job.bundle)
    devices = choose_devices(job.devices)
    if job.run is not None:
        check_run(bundle, job.run)
    with keep_awake(), make_workspace() as workspace:
        load_before = background_load()
        dataset = scan(job.data, progress=partial(reporter.progress, "hashing"))
        for note in filter(None, [*folder_notes(dataset), bundle.calibration_warning()]):
            reporter.note(note)
        source, available = select_images(dataset, bundle.manifest)
        n_images = QUICK_IMAGES if job.quick and job.n_images is None else job.n_images
        chosen = available if n_images is None else subsample(available, n_images)
        seen = count_seen(chosen, bundle.manifest, job.data, run=job.run)
        _LOGGER.info("evaluating %d of %d images, %s", len(chosen), len(available), source)
        reader = bundle.manifest.image.reader()
        pixels = decode(job.data, chosen, reader, progress=partial(reporter.progress, "decoding"))
        images = ImageSource(pixels, lambda index: reader.read(chosen[index].path(job.data)))
        calibration = partial(_calibration_images, job, bundle, dataset, reader) if job.alternatives else None
        candidates = choose_candidates(
            bundle, job.run, devices, workspace, calibration, cache=job.cache, quick=job.quick
        )
        jobs = [RowJob(candidate, candidate.problem or OK) for candidate in candidates]
        if not job.quick:
            for_each(jobs, "load time and memory", RowJob.probe_loading, reporter)
        for_each(jobs, "loading", RowJob.load, reporter)
        evaluated = describe_images(source, chosen, seen, n_available=len(available))
        truth = np.array(evaluated.truth, dtype=np.int64)

        def rows_so_far() -> list[Row]:
            return [row_job.row(truth, n_classes=len(bundle.manifest.classes)) for row_job in jobs]

        def is_settled() -> bool:
            return conclude(rows_so_far(), truth, job.max_drop_pp).are_certain()

        others = BackgroundLoad()
        measure_all(jobs, images, None if job.quick else is_settled, reporter)
        environment = describe_environment(load_before, others.fraction())
    facts = BundleFacts(
        bundle.path.resolve().name, bundle.manifest_sha256(), bundle.manifest.model, bundle.manifest.image.size
    )
    report = make_report(
        rows_so_far(),
        evaluated,
        environment,
        bundle=facts,
        classes=bundle.manifest.classes,
        quick=job.quick,
        max_drop_pp=job.max_drop_pp,
    )
    for failure in failures(report):
        reporter.note(failure)
    report = add_pictures(report, pixels, bundle)
    with atomic_folder(job.out, overwrite=overwrite) as folder:
        write_report(folder, report)
    if job.cache:
        keep_recommendation(report)
    return report


def _check_job(job: BenchJob, *, overwrite: bool) -> None:
    """Check that the packages are installed that the rows need, and that the report may be written."""
    require_extra("bench")
    if job.run is not None:
        require_extra("train", "torch", "torchvision", "safetensors")
    if job.alternatives:
        require_quantizer()
    check_inputs_safe(job.out, [job.data, job.bundle] if job.run is None else [job.data, job.bundle, job.run])
    check_outside(job.out, job.data)
    check_overwrite(job.out, overwrite=overwrite)


def make_report(
    rows: Sequence[Row],
    images: EvaluationSet,
    environment: Environment,
    *,
    bundle: BundleFacts,
    classes: tuple[str, ...],
    quick: bool,
    max_drop_pp: float | None,
) -> Report:
    """Compare the rows with the baseline, check their validity, and recommend what to deploy.

    Parameters
    ----------
    rows
        The rows, not yet compared.
    images, environment, bundle, classes, quick
        As in `Report`.
    max_drop_pp
        As in `BenchJob`.
    """
    found = conclude(rows, np.array(images.truth, dtype=np.int64), max_drop_pp)
    return Report(
        validity=validate(found, images, environment, quick=quick),
        recommendation=found.recommendation,
        overfly_version=metadata.version("overfly"),
        quick=quick,
        bundle=bundle,
        environment=environment,
        classes=classes,
        images=images,
        baseline=found.baseline,
        rows=found.rows,
    )


def write_report(folder: Path, report: Report) -> None:
    """Write ``report.json``, ``report.md`` and ``report.html`` into an existing folder.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``bench`` is not installed.
    """
    write_report_json(folder, report)
    for name, text in (("report.md", report_markdown(report)), ("report.html", report_html(report))):
        # The name of an image file may not be valid UTF-8; its undecodable bytes are written as escapes.
        write_atomically(folder / name, text.encode(errors="backslashreplace"))


def keep_recommendation(report: Report) -> None:
    """Save the recommendation of a full bench in the user's cache folder, where ``overfly predict`` finds it.

    If only some of the images were evaluated, as in a quick bench, nothing is saved: with few images no loss is
    significant, and it must not replace the result of a full bench. The recommendation of an INVALID report is
    saved and marked as such, because without PyTorch there is no valid one.
    """
    if report.quick or len(report.images.names) < report.images.n_available:
        return
    best = report.recommendation
    if best.latency is None or best.throughput is None:
        delete_recommendation(report.bundle.manifest_sha256)
        return
    save_recommendation(
        SavedRecommendation(
            manifest_sha256=report.bundle.manifest_sha256,
            host=report.environment.host,
            cpu=report.environment.cpu,
            latency=best.latency,
            throughput=best.throughput,
            valid=report.validity.valid,
            timestamp=report.environment.timestamp,
        )
    )


def _calibration_images(job: BenchJob, bundle: Bundle, dataset: Dataset, reader: ImageReader) -> ImageBatch:
    """Return the images that calibrated the bundle's INT8 variant."""
    return decode(job.data, find_calibration_images(dataset, bundle.manifest), reader)
