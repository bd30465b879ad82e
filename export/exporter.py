"""From a run to a bundle, with each step compared with PyTorch."""

import dataclasses
import logging
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from overfly.export.accuracy_control import ValidationImages
from overfly.export.deepness import DEEPNESS, check_deepness_possible, write_deepness
from overfly.export.image_selection import ImageSample, select
from overfly.export.ir import convert, save_ir
from overfly.export.known_score import (
    N_HELD_OUT,
    N_STATISTICS,
    KnownScoreWeights,
    acceptance_threshold,
    add_known_score,
    find_taps,
    known_score_record,
    read_taps,
    run_known_score,
)
from overfly.export.onnx_model import OPSET, write_onnx
from overfly.export.parity_checks import Reference, check_deepness, check_ir, check_onnx
from overfly.export.stac import STAC, BundleFacts, write_stac
from overfly.export.variant_specs import VARIANT_SPECS, VariantSource
from overfly.runtime.bundle.bundle import Bundle, ReferenceSet
from overfly.runtime.bundle.labels import check_labels
from overfly.runtime.bundle.manifest import (
    GOLDEN,
    LABELS,
    N_SHORT_DIGITS,
    ONNX,
    CalibrationRecord,
    KnownScore,
    Manifest,
    OnnxRecord,
    Parity,
    Provenance,
    SceneSpec,
    VariantRecord,
    hash_files,
    write_manifest,
)
from overfly.runtime.bundle.storage import write_zip
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.errors import ParityError
from overfly.runtime.evaluation.parity import problems_at_export
from overfly.runtime.extras import require_extra
from overfly.runtime.files.atomic import atomic_file, atomic_folder, write_atomically
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.files.names import native_path
from overfly.runtime.files.output_guards import check_inputs_safe, check_outside, check_utf8
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.machine import keep_awake
from overfly.runtime.reporter import SILENT, Reporter
from overfly.runtime.versions import installed_versions
from overfly.training.data.dataset import decode_unchanged
from overfly.training.data.split import sample_evenly
from overfly.training.loop.trainer import predict_logits
from overfly.training.run import Run
from overfly.training.run_layout import RUN_FILE

if TYPE_CHECKING:
    from overfly.export.footprints import Hull

_LOGGER = logging.getLogger(__name__)

# What overfly chips writes next to the class folders.
_CHIPS = "chips.gpkg"

# Those of an image with three bands.
_COLOR_BANDS = (1, 2, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """What to export, and where to write it.

    Attributes
    ----------
    run
        The run folder.
    out
        The bundle to write.
    data
        The data folder; None takes the one that the run was trained on.
    variants
        Names of the variants to write, from `overfly.runtime.bundle.variants.VARIANTS`.
    n_calibration
        Number of training images that set the INT8 ranges; None takes 64, or one of each class if there are more
        classes.
    max_drop_pp
        Percentage points of accuracy that INT8 may lose against PyTorch, on images that neither calibrate nor test it.
        If it loses more, NNCF reverts layers to floating point. None sets no bound.
    as_zip
        Write one .zip instead of a folder.
    scene_m
        Side of a training image on the ground, in meters; None takes that of the run, which knows it if it was trained
        on chips.
    deepness
        Also write ``deepness.onnx``, for QGIS's Deepness plugin. It needs the side of an image on the ground.
    stac
        Also write ``stac.json``, a STAC item with the MLM extension. If the data folder has the ``chips.gpkg`` of
        `overfly chips`, its geometry is the hull of the training chips, which needs the ``geo`` extra.
    """

    run: Path
    out: Path
    data: Path | None = None
    variants: tuple[str, ...] = tuple(VARIANTS)
    n_calibration: int | None = None
    max_drop_pp: float | None = None
    as_zip: bool = False
    scene_m: float | None = None
    deepness: bool = False
    stac: bool = False


def export(job: ExportJob, *, overwrite: bool = False, reporter: Reporter = SILENT) -> Bundle:
    """Write a bundle; if a step fails, write nothing.

    INT8 that has lost too much of the model to be valid on any device is written with a warning in the log.

    Parameters
    ----------
    job
        What to export.
    overwrite
        Replace an existing bundle once the new one is complete.
    reporter
        Report progress to it.

    Raises
    ------
    ParityError
        If a step differs too much from PyTorch, or if INT8 can't keep to ``max_drop_pp``.
    OverflyError
        If the run, the data folder or the output can't be used; see `overfly.runtime.errors`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from overfly.export import ExportJob, export
    >>> bundle = export(ExportJob(run=Path("run"), out=Path("new-bundle"), variants=("fp32",)))
    >>> list(bundle.manifest.variants)
    ['fp32']
    """
    require_extra("export")
    run = Run.open(job.run)
    check_labels(run.record.classes)
    if job.deepness:
        check_deepness_possible(job.run, _scene(job, run), len(run.record.classes))
    data = job.data or native_path(run.record.data)
    check_inputs_safe(job.out, [job.run, data])
    check_outside(job.out, data)
    check_utf8(job.out)
    if job.as_zip:
        with keep_awake(), atomic_file(job.out, overwrite=overwrite) as archive:
            folder = archive.with_name(f"{archive.name}.files")
            folder.mkdir()
            _Export(job, run, folder, reporter).write()
            write_zip(archive, folder)
    else:
        with keep_awake(), atomic_folder(job.out, overwrite=overwrite) as folder:
            _Export(job, run, folder, reporter).write()
    return Bundle.open(job.out)


def _scene(job: ExportJob, run: Run) -> SceneSpec | None:
    """Return what the training images show of the ground; None if that is unknown."""
    known = run.record.scene
    if job.scene_m is None:
        return known
    return SceneSpec(job.scene_m, _COLOR_BANDS if known is None else known.bands)


def _read_hull(data: Path) -> "Hull | None":
    """Return where the training chips of a data folder are; None if it was not cut from rasters."""
    if not (data / _CHIPS).is_file():
        return None
    require_extra("geo")
    from overfly.export.footprints import training_hull

    return training_hull(data / _CHIPS)


@dataclass(frozen=True, slots=True)
class _Scoring:
    """The weights of the known score, the held-out images for its thresholds, and how many images it was made from."""

    weights: KnownScoreWeights
    held_out: ImageBatch
    n_training_images: int


class _Export:
    """One export, which writes every file of the bundle to `folder`."""

    def __init__(self, job: ExportJob, run: Run, folder: Path, reporter: Reporter) -> None:
        self._job, self._run, self._folder, self._reporter = job, run, folder, reporter
        self._run_sha256 = sha256_file(run.path / RUN_FILE)
        self._data = job.data or native_path(run.record.data)
        self._scene = _scene(job, run)
        self._hull = _read_hull(self._data) if job.stac else None
        self._reader = run.record.image.reader()
        self._split = run.split()
        self._pytorch_model = run.load_model()
        self._selection = select(self._split, self._data, n_calibration=job.n_calibration, seed=run.record.seed)
        _LOGGER.info("exporting %s of %s with images of %s", run.record.model, run.path, self._data)

    def write(self) -> None:
        """Write every file of the bundle, the manifest last."""
        reference = self._reference()
        onnx_parity = self._write_onnx(reference)
        variants, known_score = self._write_variants(reference)
        if self._job.deepness and self._scene is not None:
            self._write_deepness(reference, self._scene)
        with (self._folder / GOLDEN).open("wb") as stream:
            np.savez_compressed(stream, images=reference.golden.images, logits=reference.golden.logits)
        record = self._run.record
        labels = "".join(f"{name}\n" for name in record.classes)
        write_atomically(self._folder / LABELS, labels.encode())
        if self._job.stac:
            self._write_stac()
        test, train, val = ([image.sha256 for image in self._split.images(part)] for part in ("test", "train", "val"))
        provenance = Provenance(
            run_sha256=self._run_sha256,
            split_sha256=record.split_sha256,
            seed=record.seed,
            test_sha256=tuple(test),
            train_sha256=tuple(sha256[:N_SHORT_DIGITS] for sha256 in train),
            val_sha256=tuple(sha256[:N_SHORT_DIGITS] for sha256 in val),
            versions=installed_versions(),
        )
        manifest = Manifest(
            model=record.model,
            classes=record.classes,
            image=record.image,
            output="logits",
            golden_part=self._selection.golden.part,
            files=hash_files(self._folder),
            onnx=OnnxRecord(OPSET, onnx_parity),
            variants=variants,
            provenance=provenance,
            scene=self._scene,
            temperature_scaling=record.temperature_scaling,
            known_score=known_score,
        )
        write_manifest(self._folder, manifest)

    def _reference(self) -> Reference:
        """Return the golden images and PyTorch's answers to them."""
        golden = self._selection.golden
        if golden.part != "test":
            self._reporter.note(
                f"{self._data} has no image of the test part: comparing with PyTorch on {golden.part} images instead"
            )
        images = self._decode(golden)
        names = tuple(image.name for image in golden.images)
        return Reference(names, ReferenceSet(images, predict_logits(self._pytorch_model, images)))

    def _decode(self, sample: ImageSample) -> ImageBatch:
        """Decode images: uint8, shape ``[N, size, size, 3]``; raise DataError if a file changed since the split."""
        progress = partial(self._reporter.progress, f"decoding {sample.part} images")
        return decode_unchanged(self._data, sample.images, self._reader, progress=progress)

    def _write_onnx(self, reference: Reference) -> Parity:
        """Write the ONNX file and compare it with PyTorch."""
        self._reporter.progress("writing ONNX", 0, 1)
        record = self._run.record
        metadata: dict[str, object] = {
            "classes": record.classes,
            "image": dataclasses.asdict(record.image),
            "run_sha256": self._run_sha256,
        }
        write_onnx(self._pytorch_model, self._folder / ONNX, size=record.image.size, metadata=metadata)
        parity = check_onnx(self._folder / ONNX, reference)
        self._reporter.progress("writing ONNX", 1, 1)
        return parity

    def _write_deepness(self, reference: Reference, scene: SceneSpec) -> None:
        """Write the file for QGIS's Deepness plugin and compare it with PyTorch."""
        self._reporter.progress(f"writing {DEEPNESS}", 0, 1)
        record, path = self._run.record, self._folder / DEEPNESS
        if record.image.value_range is not None:
            low, high = record.image.value_range
            self._reporter.note(
                f"Deepness takes 8-bit rasters: convert a raster so that {low:g} becomes 0 and {high:g} becomes 255"
            )
        write_deepness(self._pytorch_model, path, image=record.image, scene=scene, classes=record.classes)
        check_deepness(path, reference)
        self._reporter.progress(f"writing {DEEPNESS}", 1, 1)

    def _write_stac(self) -> None:
        """Write the STAC item, which lists the files that are there."""
        facts = BundleFacts(
            record=self._run.record,
            run_sha256=self._run_sha256,
            n_parameters=sum(parameter.numel() for parameter in self._pytorch_model.parameters()),
            scene=self._scene,
            hull=self._hull,
            variants=tuple(name for name in VARIANTS if name in self._job.variants),
            files=hash_files(self._folder),
        )
        write_stac(self._folder / STAC, facts)

    def _write_variants(self, reference: Reference) -> tuple[dict[str, VariantRecord], KnownScore | None]:
        """Write the requested variants, from the largest to the smallest, and compare each with PyTorch."""
        source = VariantSource(
            model=convert(self._folder / ONNX, classes=self._run.record.classes, image=self._run.record.image),
            calibration=partial(self._decode, self._selection.calibration),
            validation=self._validation_images,
            max_drop_pp=self._job.max_drop_pp,
            reporter=self._reporter,
        )
        used = tuple(image.sha256 for image in self._selection.calibration.images)
        scoring = self._scoring(source.model)
        records, thresholds = {}, {}
        for name in (name for name in VARIANTS if name in self._job.variants):
            self._reporter.progress(f"writing {name}", 0, 1)
            spec, xml = VARIANT_SPECS[name], self._folder / f"{name}.xml"
            variant = spec.build(source)
            if scoring is not None:
                # fp32 is the model that the others are made from: the score is added to a copy.
                variant = replace(variant, model=variant.model.clone())
                add_known_score(variant.model, scoring.weights)
                thresholds[name] = acceptance_threshold(run_known_score(variant.model, scoring.held_out))
            save_ir(variant.model, xml)
            parity = check_ir(xml, reference, spec.tolerance)
            if problems := problems_at_export(name, parity):
                _LOGGER.warning(
                    "do not deploy %s, which check will call INVALID: %s; limit its loss with --max-drop, or "
                    "calibrate it with more images",
                    name,
                    ", ".join(problems),
                )
            records[name] = VariantRecord(
                xml=xml.name,
                bin=xml.with_suffix(".bin").name,
                made_by=variant.made_by,
                parity=parity,
                calibration=CalibrationRecord(self._run.record.seed, used) if VARIANTS[name].is_quantized else None,
                float_layers=variant.float_layers,
                steering=variant.accuracy_control,
            )
            self._reporter.progress(f"writing {name}", 1, 1)
        if scoring is None:
            return records, None
        return records, known_score_record(thresholds, scoring.n_training_images, len(scoring.held_out))

    def _scoring(self, model: Any) -> "_Scoring | None":  # noqa: ANN401 - ov.Model has no stub
        """Return what adds the known score to each variant; None with a note if that is not possible."""
        train, val = (self._split.images(part) for part in ("train", "val"))
        if not val or find_taps(model) is None:
            why = f"the run has no validation part: {self._split.validation_advice()}"
            if val:
                why = f"{self._run.record.model} does not end in a linear layer"
            self._reporter.note(f"the bundle has no known score for --unknown, because {why}")
            return None
        seed = self._run.record.seed
        known = ImageSample("train", sample_evenly(train, N_STATISTICS, seed=seed))
        held_out = self._decode(ImageSample("val", sample_evenly(val, N_HELD_OUT, seed=seed)))
        if few := self._split.small_validation_part():
            self._reporter.note(
                f"--unknown is expected to reject {1 / (len(held_out) + 1):.0%} of the known images, because {few}"
            )
        labels = np.array([image.label for image in known.images], dtype=np.int64)
        training = read_taps(model, self._decode(known))
        weights = KnownScoreWeights.fit(training, labels, read_taps(model, held_out))
        return _Scoring(weights, held_out, len(labels))

    def _validation_images(self) -> ValidationImages:
        """Return the images that measure how much accuracy INT8 loses."""
        sample = self._selection.validation
        if not sample.images:
            raise ParityError(
                "--max-drop can't be checked because every training image calibrates INT8: use fewer "
                "--calibration-images"
            )
        images = self._decode(sample)
        labels = np.array([image.label for image in sample.images], dtype=np.int64)
        return ValidationImages(sample.part, images, labels, predict_logits(self._pytorch_model, images))
