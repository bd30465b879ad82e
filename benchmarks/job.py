"""Measure one or several bundles on labeled images, and write a report."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

from overfly.benchmarks.measurement.environment import BackgroundLoad, background_load, describe_environment
from overfly.benchmarks.measurement.evaluation_images import (
    count_seen,
    describe_images,
    find_calibration_images,
    select_common_images,
    subsample,
)
from overfly.benchmarks.measurement.pictures import add_pictures
from overfly.benchmarks.measurement.timing import ImageSource
from overfly.benchmarks.measurement.workspace import make_workspace
from overfly.benchmarks.models.bundles import BundleToMeasure, open_bundles
from overfly.benchmarks.models.candidates import choose_candidates, choose_devices
from overfly.benchmarks.models.onnxruntime_int8 import require_quantizer
from overfly.benchmarks.rendering.formatting import failures
from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.rendering.markdown import report_markdown
from overfly.benchmarks.results.conclusions import conclude
from overfly.benchmarks.results.records import COMMON_IMAGES, BundleFacts, Environment, EvaluationSet, Report
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
from overfly.runtime.images.reading import ImageBatch, ImageReader, ImageSpec
from overfly.runtime.machine import keep_awake
from overfly.runtime.reporter import SILENT, Reporter
from overfly.training.data.dataset import Dataset, LabeledImage, decode, scan
from overfly.training.data.notes import folder_notes

# Two of each class of UC Merced.
QUICK_IMAGES = 42

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchJob:
    """What to measure, with which images, and where the report goes.

    Attributes
    ----------
    bundles
        Paths of the bundles, at least one. All must have the same classes.
    data
        A folder of labeled images; see `overfly.benchmarks.measurement.evaluation_images.select_common_images`.
    out
        The report folder to write.
    runs
        The runs that the bundles were exported from, in any order, for the PyTorch rows. A bundle whose run is missing
        is measured without PyTorch.
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

    bundles: tuple[Path, ...]
    data: Path
    out: Path
    runs: tuple[Path, ...] = ()
    devices: tuple[str, ...] = ("CPU",)
    quick: bool = False
    alternatives: bool = False
    n_images: int | None = None
    max_drop_pp: float | None = None
    cache: bool = True


def bench(job: BenchJob, *, overwrite: bool = False, reporter: Reporter = SILENT) -> Report:
    """Measure every variant of each bundle on every device, ONNX Runtime, and PyTorch if its run is given.

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
        If a bundle, run or device, the data folder or the output folder can't be used, or if a package that a row
        needs is not installed. All of this is checked before anything is measured.

    Examples
    --------
    >>> from pathlib import Path
    >>> from overfly.benchmarks import BenchJob, bench
    >>> report = bench(BenchJob(bundles=(Path("bundle"),), data=Path("scenes"), out=Path("new-report"), quick=True))
    >>> [row.name for row in report.rows]
    ['ONNX Runtime fp32', 'OpenVINO fp32 CPU', 'OpenVINO fp16 CPU', 'OpenVINO int8 CPU']
    """
    _check_job(job, overwrite=overwrite)
    bundles = open_bundles(job.bundles, job.runs)
    devices = choose_devices(job.devices)
    with keep_awake(), make_workspace() as workspace:
        load_before = background_load()
        dataset = scan(job.data, progress=partial(reporter.progress, "hashing"))
        chosen, evaluated, facts = _choose_images(job, bundles, dataset, reporter)
        images = decode_for_each(job, bundles, chosen, reporter)
        jobs = []
        for of, of_bundle in zip(bundles, images, strict=True):
            folder = Path(mkdtemp(dir=workspace))
            calibration = partial(_calibration_images, job, of.bundle, dataset) if job.alternatives else None
            candidates = choose_candidates(of, devices, folder, calibration, cache=job.cache, quick=job.quick)
            jobs += [RowJob(candidate, of_bundle, candidate.problem or OK) for candidate in candidates]
        if not job.quick:
            for_each(jobs, "load time and memory", RowJob.probe_loading, reporter)
        for_each(jobs, "loading", RowJob.load, reporter)
        truth = np.array(evaluated.truth, dtype=np.int64)
        classes = bundles[0].bundle.manifest.classes

        def rows_so_far() -> list[Row]:
            return [row_job.row(truth, n_classes=len(classes)) for row_job in jobs]

        def is_settled() -> bool:
            return conclude(rows_so_far(), truth, job.max_drop_pp).are_certain()

        others = BackgroundLoad()
        measure_all(jobs, None if job.quick else is_settled, reporter)
        environment = describe_environment(load_before, others.fraction())
    report = make_report(
        rows_so_far(),
        evaluated,
        environment,
        bundles=facts,
        classes=classes,
        quick=job.quick,
        max_drop_pp=job.max_drop_pp,
    )
    for failure in failures(report):
        reporter.note(failure)
    report = add_pictures(report, images[report.pictured_bundle].pixels, bundles[report.pictured_bundle].bundle)
    with atomic_folder(job.out, overwrite=overwrite) as folder:
        write_report(folder, report)
    if job.cache:
        keep_recommendations(report)
    return report


def _check_job(job: BenchJob, *, overwrite: bool) -> None:
    """Check that the packages are installed that the rows need, and that the report may be written."""
    require_extra("bench")
    if job.runs:
        require_extra("train", "torch", "torchvision", "safetensors")
    if job.alternatives:
        require_quantizer()
    check_inputs_safe(job.out, [job.data, *job.bundles, *job.runs])
    check_outside(job.out, job.data)
    check_overwrite(job.out, overwrite=overwrite)


def _choose_images(
    job: BenchJob, bundles: Sequence[BundleToMeasure], dataset: Dataset, reporter: Reporter
) -> tuple[list[LabeledImage], EvaluationSet, tuple[BundleFacts, ...]]:
    """Return the images to evaluate, the record of them, and those of the bundles."""
    for note in filter(None, [*folder_notes(dataset), *(of.bundle.calibration_warning() for of in bundles)]):
        reporter.note(note)
    source, available, counts = select_common_images(dataset, {of.name: of.bundle.manifest for of in bundles})
    if source == COMMON_IMAGES:
        reporter.note(f"the runs have different test images: only the {len(available)} in common are used")
    n_images = QUICK_IMAGES if job.quick and job.n_images is None else job.n_images
    chosen = available if n_images is None else subsample(available, n_images)
    facts = tuple(_facts(of, chosen, job, n_images=n) for of, n in zip(bundles, counts, strict=True))
    _LOGGER.info("evaluating %d of %d images, %s", len(chosen), len(available), source)
    return chosen, describe_images(source, chosen, n_available=len(available)), facts


def _facts(of: BundleToMeasure, chosen: Sequence[LabeledImage], job: BenchJob, *, n_images: int) -> BundleFacts:
    """Return the record of a bundle; `n_images` would be available if it were measured alone."""
    manifest = of.bundle.manifest
    n_train, n_val = count_seen(chosen, manifest, job.data, run=of.run, bundle=of.label)
    return BundleFacts(
        name=of.name,
        manifest_sha256=of.bundle.manifest_sha256(),
        model=manifest.model,
        image_size=manifest.image.size,
        n_images=n_images,
        n_train=n_train,
        n_val=n_val,
    )


def decode_for_each(
    job: BenchJob, bundles: Sequence[BundleToMeasure], chosen: Sequence[LabeledImage], reporter: Reporter
) -> list[ImageSource]:
    """Return the images as each bundle takes them, decoded once for all bundles that take the same pixels.

    Parameters
    ----------
    job
        Has the data folder.
    bundles
        What to measure.
    chosen
        The images to evaluate.
    reporter
        Progress is reported to it.
    """
    sources: dict[ImageSpec, ImageSource] = {}
    specs = [_pixels_only(of.bundle.manifest.image) for of in bundles]
    for spec in dict.fromkeys(specs):
        reader = spec.reader()
        pixels = decode(job.data, chosen, reader, progress=partial(reporter.progress, "decoding"))
        sources[spec] = ImageSource(pixels, partial(_read, reader, [image.path(job.data) for image in chosen]))
    return [sources[spec] for spec in specs]


def _pixels_only(spec: ImageSpec) -> ImageSpec:
    """Return what decides the pixels, without the normalization, which is part of the model."""
    return replace(spec, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def _read(reader: ImageReader, paths: Sequence[Path], index: int) -> ImageBatch:
    """Decode one of the images."""
    return reader.read(paths[index])


def make_report(
    rows: Sequence[Row],
    images: EvaluationSet,
    environment: Environment,
    *,
    bundles: tuple[BundleFacts, ...],
    classes: tuple[str, ...],
    quick: bool,
    max_drop_pp: float | None,
) -> Report:
    """Compare the rows with the baseline, check their validity, and recommend what to deploy.

    Parameters
    ----------
    rows
        The rows of all bundles, not yet compared.
    images, environment, bundles, classes, quick
        As in `Report`.
    max_drop_pp
        As in `BenchJob`.
    """
    found = conclude(rows, np.array(images.truth, dtype=np.int64), max_drop_pp)
    return Report(
        validity=validate(found, images, environment, bundles=bundles, quick=quick),
        recommendation=found.recommendation,
        overfly_version=metadata.version("overfly"),
        quick=quick,
        bundles=bundles,
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


def keep_recommendations(report: Report) -> None:
    """Save the recommendation of a full bench in the user's cache folder, where ``overfly predict`` finds it.

    Each bundle gets one of its own, from its own rows: what a bench of this bundle alone would recommend.

    If only some of the images were evaluated, as in a quick bench, nothing is saved: with few images no loss is
    significant, and it must not replace the result of a full bench. The recommendation of an INVALID report is
    saved and marked as such, because without PyTorch there is no valid one.
    """
    if report.quick or len(report.images.names) < report.images.n_available:
        return
    truth = np.array(report.images.truth, dtype=np.int64)
    for index, bundle in enumerate(report.bundles):
        rows = [replace(row, difference=None) for row in report.rows_of(index)]
        best = conclude(rows, truth, report.recommendation.max_drop_pp).recommendation
        if best.latency is None or best.throughput is None:
            delete_recommendation(bundle.manifest_sha256)
            continue
        save_recommendation(
            SavedRecommendation(
                manifest_sha256=bundle.manifest_sha256,
                host=report.environment.host,
                cpu=report.environment.cpu,
                latency=rows[best.latency].deployment,
                throughput=rows[best.throughput].deployment,
                valid=report.validity.valid,
                timestamp=report.environment.timestamp,
            )
        )


def _calibration_images(job: BenchJob, bundle: Bundle, dataset: Dataset) -> ImageBatch:
    """Return the images that calibrated a bundle's INT8 variant."""
    return decode(job.data, find_calibration_images(dataset, bundle.manifest), bundle.manifest.image.reader())
