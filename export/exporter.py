"""From a run to a bundle, with parity checked at each step."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from overfly.export.image_selection import Chosen, select
from overfly.export.int8 import ValidationImages, quantize, quantize_within
from overfly.export.ir import convert, run_ir, run_model, save_ir
from overfly.export.layers import float_layers, operations, weighted_layers
from overfly.export.onnx_model import OPSET, run_onnx, write_onnx
from overfly.runtime.bundle.bundle import Bundle, ReferenceSet
from overfly.runtime.bundle.manifest import (
    GOLDEN,
    LABELS,
    ONNX,
    AccuracyControl,
    Calibration,
    FloatLayer,
    Manifest,
    OnnxRecord,
    Parity,
    Provenance,
    VariantRecord,
    hash_files,
    write_manifest,
)
from overfly.runtime.bundle.storage import write_zip
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.errors import ParityError
from overfly.runtime.evaluation.parity import compare_logits
from overfly.runtime.extras import require_extra
from overfly.runtime.files.atomic import atomic_file, atomic_folder, write_atomically
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.files.output_guards import check_inputs_safe, check_outside
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.runner import Logits
from overfly.runtime.reporter import SILENT, Reporter
from overfly.runtime.versions import installed_versions
from overfly.training.data.dataset import decode_unchanged
from overfly.training.data.split import Split
from overfly.training.loop.trainer import predict_logits
from overfly.training.run import Run
from overfly.training.run_layout import RUN_FILE

# More do not help: 64, 100, 128, 200 and 300 images gave logits equally close to fp32's on held-back training scenes.
N_CALIBRATION = 64
_BATCH_SIZES = (1, 5, 16)

# The largest absolute difference of a logit that the order of float32 additions explains, with a wide margin: about
# 1e-5 is seen, and a wrong operator gives whole units.
_MAX_F32_DIFF = 1e-3
# Weights rounded to 11 bits move logits of a few units by some hundredths.
_MAX_F16_DIFF = 0.2
_MIN_F16_AGREEMENT = 0.99

_MADE_BY = {
    "fp32": "openvino.save_model",
    "fp16": "openvino.save_model, weights rounded to f16 but those of depthwise convolutions",
    "int8": "nncf.quantize, post-training, min-max ranges, full bias correction",
    "steered int8": "nncf.quantize_with_accuracy_control, min-max ranges, full bias correction",
    "int8 anew": "nncf.quantize without the layers that nncf.quantize_with_accuracy_control put back, min-max ranges, "
    "full bias correction",
}
_NOT_QUANTISED = "nncf.quantize left it in floating point"
_REVERTED = "accuracy control put it back: in INT8 the model lost more than --max-drop allows"
# Half a point of 200 images is 1 image, not 0.9999.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportJob:
    """What to export and where to.

    Attributes
    ----------
    run
        The run folder.
    out
        The bundle to make.
    data
        The data folder; None takes the one that the run was trained on.
    variants
        Which of ``fp32``, ``fp16`` and ``int8`` to write.
    n_calibration
        How many training images set the INT8 ranges; None takes 64, or one of each class where there are more.
    max_drop_pp
        Percentage points of accuracy that INT8 may lose against PyTorch, on images that neither tested nor
        calibrated it: where it loses more, NNCF puts layers back to floating point. None sets no bound.
    as_zip
        Make one .zip instead of a folder.
    """

    run: Path
    out: Path
    data: Path | None = None
    variants: tuple[str, ...] = tuple(VARIANTS)
    n_calibration: int | None = None
    max_drop_pp: float | None = None
    as_zip: bool = False


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The images and answers that each step is compared with."""

    names: tuple[str, ...]
    golden: ReferenceSet


@dataclass(frozen=True, slots=True)
class _Made:
    """An INT8 model and what the manifest says of it; `way` is a key of `_MADE_BY`."""

    model: Any
    way: str
    calibration: Calibration
    float_layers: tuple[FloatLayer, ...]
    steering: AccuracyControl | None


def export(job: ExportJob, *, overwrite: bool = False, reporter: Reporter = SILENT) -> Bundle:
    """Write a bundle; if anything fails there is none.

    Parameters
    ----------
    job
        What to do.
    overwrite
        Replace an existing bundle, once the new one is complete.
    reporter
        Hears of progress.

    Raises
    ------
    ParityError
        When a step's answers differ too much from PyTorch's.
    OverflyError
        For a bad run, data folder or output; see `overfly.runtime.errors`.

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
    data = job.data or Path(run.record.data)
    check_inputs_safe(job.out, [job.run, data])
    check_outside(job.out, data)
    if job.as_zip:
        with atomic_file(job.out, overwrite=overwrite) as archive:
            folder = archive.with_name(f"{archive.name}.files")
            folder.mkdir()
            _Export(job, run, folder, reporter).fill()
            write_zip(archive, folder)
    else:
        with atomic_folder(job.out, overwrite=overwrite) as folder:
            _Export(job, run, folder, reporter).fill()
    return Bundle.open(job.out)


class _Export:
    """One export on its way: fills `folder` with every file of the bundle."""

    def __init__(self, job: ExportJob, run: Run, folder: Path, reporter: Reporter) -> None:
        self._job, self._run, self._folder, self._reporter = job, run, folder, reporter
        self._data = job.data or Path(run.record.data)
        self._split = run.split()
        self._deployed = run.load_model()
        n_calibration = max(N_CALIBRATION, len(run.record.classes)) if job.n_calibration is None else job.n_calibration
        self._chosen = select(self._split, self._data, n_calibration=n_calibration, seed=run.record.seed)

    def fill(self) -> None:
        """Write every file of the bundle, the manifest last."""
        record, golden = self._run.record, self._chosen.golden
        if golden.part != "test":
            self._reporter.note(f"the test part is not in {self._data}: comparing on {golden.part} images instead")
        images = self._decode(golden)
        names = tuple(scene.name for scene in golden.images)
        evidence = _Evidence(names, ReferenceSet(images, predict_logits(self._deployed, images)))
        onnx_parity = self._write_onnx(evidence)
        model = convert(self._folder / ONNX, classes=record.classes, image=record.image)
        variants = {}
        for name in (name for name in VARIANTS if name in self._job.variants):
            self._reporter.progress(f"writing {name}", 0, 1)
            made = self._quantise(model) if name == "int8" else None
            variants[name] = _write_variant(self._folder, name, model, evidence, made)
            self._reporter.progress(f"writing {name}", 1, 1)
        _write_golden(self._folder / GOLDEN, evidence.golden)
        write_atomically(self._folder / LABELS, "".join(f"{name}\n" for name in record.classes).encode())
        manifest = Manifest(
            model=record.model,
            classes=record.classes,
            image=record.image,
            output="logits",
            golden_part=golden.part,
            files=hash_files(self._folder),
            onnx=OnnxRecord(OPSET, onnx_parity),
            variants=variants,
            provenance=_provenance(self._run, self._split),
        )
        write_manifest(self._folder, manifest)

    def _decode(self, chosen: Chosen) -> ImageBatch:
        """Return the images of scenes, after a check that they are still those of the split."""
        progress = partial(self._reporter.progress, f"decoding {chosen.part} images")
        return decode_unchanged(self._data, chosen.images, size=self._run.record.image.size, progress=progress)

    def _write_onnx(self, evidence: _Evidence) -> Parity:
        """Write the ONNX file and compare it with PyTorch."""
        self._reporter.progress("writing ONNX", 0, 1)
        record = self._run.record
        metadata: dict[str, object] = {
            "classes": record.classes,
            "image": dataclasses.asdict(record.image),
            "run_sha256": sha256_file(self._run.path / RUN_FILE),
        }
        write_onnx(self._deployed, self._folder / ONNX, size=record.image.size, metadata=metadata)
        parity = _check_onnx(self._folder / ONNX, evidence)
        self._reporter.progress("writing ONNX", 1, 1)
        return parity

    def _quantise(self, model: Any) -> _Made:  # noqa: ANN401 - ov.Model has no stub
        """Return the model in INT8, within the bound where there is one."""
        chosen = self._chosen.calibration
        images = self._decode(chosen)
        calibration = Calibration(self._run.record.seed, tuple(scene.sha256 for scene in chosen.images))
        quantised = quantize(model, images, self._reporter)
        left = float_layers(quantised)
        way, steering = "int8", None
        if self._job.max_drop_pp is not None:
            judges, bound = self._judges(), self._job.max_drop_pp
            steer = partial(quantize_within, model, images, judges, reporter=self._reporter)
            again = partial(self._leave_out, model, images)
            quantised, way, steering = _keep_bound(quantised, steer, again, judges, bound)
        whys = [FloatLayer(name, _NOT_QUANTISED if name in left else _REVERTED) for name in float_layers(quantised)]
        return _Made(quantised, way, calibration, tuple(whys), steering)

    def _leave_out(self, model: Any, images: ImageBatch, layers: Sequence[str]) -> Any:  # noqa: ANN401
        """Return the model in INT8 but for some layers."""
        return quantize(model, images, self._reporter, ignored=operations(model, layers))

    def _judges(self) -> ValidationImages:
        """Return the images to judge INT8 on."""
        chosen = self._chosen.steering
        if not chosen.images:
            raise ParityError(
                "--max-drop can't be checked, as every training image calibrated INT8: use fewer --calibration-images"
            )
        images = self._decode(chosen)
        labels = np.array([scene.label for scene in chosen.images], dtype=np.int64)
        return ValidationImages(chosen.part, images, labels, predict_logits(self._deployed, images))


def _write_variant(
    folder: Path,
    name: str,
    model: Any,  # noqa: ANN401 - ov.Model has no stub
    evidence: _Evidence,
    made: _Made | None,
) -> VariantRecord:
    """Save one variant, compare it with PyTorch, and describe it; `made` is what INT8 needs."""
    xml = folder / f"{name}.xml"
    save_ir(model if made is None else made.model, xml, fp16=name == "fp16")
    logits = run_ir(xml, evidence.golden.images)
    if name == "fp32":
        parity = require_parity(evidence, logits, step="the fp32 IR", max_diff=_MAX_F32_DIFF, min_agreement=1.0)
    elif name == "fp16":
        agreement = _MIN_F16_AGREEMENT
        parity = require_parity(evidence, logits, step="the fp16 IR", max_diff=_MAX_F16_DIFF, min_agreement=agreement)
    else:
        # How much INT8 may lose is for the user to decide, with --max-drop here and from what bench measures.
        parity = compare_logits(evidence.golden.logits, logits)
    weights = xml.with_suffix(".bin").name
    if made is None:
        return VariantRecord(xml.name, weights, _MADE_BY[name], parity, None)
    made_by = _MADE_BY[made.way]
    return VariantRecord(xml.name, weights, made_by, parity, made.calibration, made.float_layers, made.steering)


def _keep_bound(
    quantised: Any,  # noqa: ANN401 - ov.Model has no stub
    steer: Callable[[int], Any],
    again: Callable[[Sequence[str]], Any],
    judges: ValidationImages,
    max_drop_pp: float,
) -> tuple[Any, str, AccuracyControl]:
    """Return an INT8 model that loses at most so much, the key of `_MADE_BY` for it, and how it came to it.

    Parameters
    ----------
    quantised
        By post-training quantisation alone: it is returned when it keeps the bound.
    steer
        Makes one with accuracy control, from how many images it may lose.
    again
        Makes one by post-training quantisation alone, without the layers of these names.

    Raises
    ------
    ParityError
        When the bound can't be kept with any layer in INT8.
    """
    n_images = len(judges.labels)
    max_lost = int(max_drop_pp * n_images / 100 + _ROUNDING)
    way, plain = "int8", float_layers(quantised)
    lost = judges.n_lost(run_model(quantised, judges.images))
    if lost > max_lost:
        way, quantised = "steered int8", steer(max_lost)
        lost = judges.n_lost(run_model(quantised, judges.images))
        # Biases were corrected with the layers in INT8, and NNCF leaves them so when it puts layers back.
        other = again([name for name in float_layers(quantised) if name not in plain])
        lost_by_other = judges.n_lost(run_model(other, judges.images))
        if lost_by_other <= max_lost:
            way, quantised, lost = "int8 anew", other, lost_by_other
    reverted = tuple(name for name in float_layers(quantised) if name not in plain)
    steering = AccuracyControl(judges.part, n_images, max_drop_pp, 100 * lost / n_images, reverted)
    nothing_left = not any(weighted_layers(quantised).values())
    if lost > max_lost or nothing_left:
        raise ParityError(
            f"INT8 can't keep to --max-drop {max_drop_pp:g}: on {n_images} images of the {judges.part} part it loses "
            f"{steering.drop_pp:.2f} points of accuracy with {', '.join(reverted) or 'no layer'} put back to floating "
            f"point{', and no layer is left in INT8' if nothing_left else ''}; nothing was written. "
            "Export --variant fp32 --variant fp16, or allow more"
        )
    return quantised, way, steering


def _check_onnx(path: Path, evidence: _Evidence) -> Parity:
    """Compare ONNX Runtime's answers at several batch sizes: exporters have got a dynamic batch wrong before."""
    parities = []
    for batch_size in _BATCH_SIZES:
        logits = run_onnx(path, evidence.golden.images, batch_size=batch_size)
        step = f"the ONNX model at batch {batch_size}"
        parities.append(require_parity(evidence, logits, step=step, max_diff=_MAX_F32_DIFF, min_agreement=1.0))
    return max(parities, key=lambda parity: parity.max_abs_diff)


def require_parity(evidence: _Evidence, logits: Logits, *, step: str, max_diff: float, min_agreement: float) -> Parity:
    """Return the parity of a step, or raise with the worst image.

    Raises
    ------
    ParityError
        When a logit differs by more than `max_diff`, or fewer than `min_agreement` of the images keep their class.
    """
    reference = evidence.golden.logits
    parity = compare_logits(reference, logits)
    # An image whose two best classes are closer than twice the tolerance may change sides within it.
    second, first = np.sort(reference, axis=1)[:, -2:].T
    kept = (reference.argmax(axis=1) == logits.argmax(axis=1)) | (first - second <= 2 * max_diff)
    if parity.max_abs_diff <= max_diff and kept.mean() >= min_agreement:
        return parity
    worst = evidence.names[int(np.abs(reference - logits).max(axis=1).argmax())]
    raise ParityError(
        f"{step} does not agree with PyTorch: logits differ by up to {parity.max_abs_diff:.4g} (at most {max_diff:g} "
        f"expected) and {kept.mean():.1%} of {parity.n_images} images keep their class (at least "
        f"{min_agreement:.0%} expected); the worst is {worst}. Nothing was written; use the versions in constraints.txt"
    )


def _write_golden(path: Path, golden: ReferenceSet) -> None:
    """Write the golden images and logits, compressed."""
    with path.open("wb") as stream:
        np.savez_compressed(stream, images=golden.images, logits=golden.logits)


def _provenance(run: Run, split: Split) -> Provenance:
    """Return where the bundle comes from."""
    return Provenance(
        run_sha256=sha256_file(run.path / RUN_FILE),
        split_sha256=run.record.split_sha256,
        seed=run.record.seed,
        test_sha256=tuple(scene.sha256 for scene in split.images("test")),
        versions=installed_versions(),
    )
