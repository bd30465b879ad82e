"""From a run to a bundle, with parity checked at each step."""

import dataclasses
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from overfly.export.int8 import quantise
from overfly.export.ir import convert, run_ir, save_ir
from overfly.export.onnx_model import OPSET, run_onnx, write_onnx
from overfly.runtime.bundle import (
    BUNDLE_SCHEMA,
    GOLDEN,
    LABELS,
    MANIFEST,
    ONNX,
    VARIANTS,
    Bundle,
    Calibration,
    Golden,
    Manifest,
    OnnxRecord,
    Parity,
    Provenance,
    VariantRecord,
    hash_files,
)
from overfly.runtime.documents import write_document
from overfly.runtime.errors import ParityError
from overfly.runtime.files import atomic_folder, refuse_inputs, sha256_file, write_atomically
from overfly.runtime.images import ImageBatch
from overfly.runtime.parity import compare_logits
from overfly.runtime.reporter import SILENT, Reporter
from overfly.runtime.runner import Logits
from overfly.runtime.versions import installed_versions
from overfly.training.dataset import Scene, decode_unchanged
from overfly.training.loop import predict_logits
from overfly.training.models import Deployed
from overfly.training.run import RUN_FILE, Run
from overfly.training.split import Split, sample_evenly

N_GOLDEN = 64
# More do not help: 100, 200 and 300 images gave logits equally close to fp32's on held-back training scenes.
N_CALIBRATION = 128
# One image is half a point of accuracy.
N_HELD_BACK = 200
_BATCH_SIZES = (1, 5, 16)

# The largest absolute difference of a logit that the order of float32 additions explains, with a wide margin: about
# 1e-5 is seen, and a wrong operator gives whole units.
_MAX_F32_DIFF = 1e-3
# Weights rounded to 11 bits move logits of a few units by some hundredths.
_MAX_F16_DIFF = 0.2
_MIN_F16_AGREEMENT = 0.99


@dataclass(frozen=True, slots=True)
class ExportJob:
    """What to export and where to.

    Attributes
    ----------
    run
        The run folder.
    out
        The bundle folder to make.
    data
        The data folder; None takes the one that the run was trained on.
    variants
        Which of ``fp32``, ``fp16`` and ``int8`` to write.
    n_calibration
        How many training images set the INT8 ranges.
    max_drop_pp
        Percentage points of accuracy that INT8 may lose against PyTorch, on images that neither tested nor
        calibrated it; None sets no bound.
    """

    run: Path
    out: Path
    data: Path | None = None
    variants: tuple[str, ...] = VARIANTS
    n_calibration: int = N_CALIBRATION
    max_drop_pp: float | None = None


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The images and answers that each step is compared with."""

    names: tuple[str, ...]
    golden: Golden


@dataclass(frozen=True, slots=True)
class _HeldBack:
    """Images to judge INT8 on before it is signed off: uint8 ``[N, S, S, 3]``, and int64 labels ``[N]``."""

    images: ImageBatch
    labels: npt.NDArray[np.int64]


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
    """
    run = Run.open(job.run)
    refuse_inputs(job.out, [job.run, job.data or Path(run.record.data)])
    with atomic_folder(job.out, overwrite=overwrite) as folder:
        _fill(folder, job, run, reporter)
    return Bundle.open(job.out)


def _fill(folder: Path, job: ExportJob, run: Run, reporter: Reporter) -> None:
    """Write every file of the bundle."""
    split, deployed, record = run.split(), run.load_model(), run.record
    data = job.data or Path(record.data)
    images, evidence_scenes = _decode(data, split, "test", N_GOLDEN, run, reporter)
    evidence = _Evidence(
        tuple(scene.name for scene in evidence_scenes), Golden(images, predict_logits(deployed, images))
    )
    reporter.progress("writing ONNX", 0, 1)
    metadata: dict[str, object] = {
        "classes": record.classes,
        "image": dataclasses.asdict(record.image),
        "run_sha256": sha256_file(run.path / RUN_FILE),
    }
    write_onnx(deployed, folder / ONNX, size=record.image.size, metadata=metadata)
    onnx_parity = _check_onnx(folder / ONNX, evidence)
    reporter.progress("writing ONNX", 1, 1)
    model = convert(folder / ONNX, classes=record.classes, image=record.image)
    variants = {}
    for name in sorted(job.variants, key=VARIANTS.index):
        reporter.progress(f"writing {name}", 0, 1)
        calibration = None
        if name == "int8":
            calibration_images, scenes = _decode(data, split, "train", job.n_calibration, run, reporter)
            model = quantise(model, calibration_images, partial(reporter.progress, "calibrating"))
            calibration = Calibration(record.seed, tuple(scene.sha256 for scene in scenes))
        variants[name] = _write_variant(folder, name, model, evidence, calibration)
        if name == "int8" and job.max_drop_pp is not None:
            _refuse_drop(folder / "int8.xml", deployed, _hold_back(data, split, scenes, run), job.max_drop_pp)
        reporter.progress(f"writing {name}", 1, 1)
    _write_golden(folder / GOLDEN, evidence.golden)
    write_atomically(folder / LABELS, "".join(f"{name}\n" for name in record.classes).encode())
    manifest = Manifest(
        model=record.model,
        classes=record.classes,
        image=record.image,
        output="logits",
        files=hash_files(folder),
        onnx=OnnxRecord(OPSET, onnx_parity),
        variants=variants,
        provenance=_provenance(run, split),
    )
    write_document(folder / MANIFEST, manifest, schema=BUNDLE_SCHEMA)


def _decode(
    data: Path, split: Split, part: str, n: int, run: Run, reporter: Reporter
) -> tuple[ImageBatch, list[Scene]]:
    """Return `n` images of a part, the classes in turn, and their scenes."""
    scenes = sample_evenly(split.scenes(part), n, seed=run.record.seed)
    stage = f"decoding {part} images"
    size = run.record.image.size
    return decode_unchanged(data, scenes, size=size, progress=partial(reporter.progress, stage)), scenes


def _write_variant(
    folder: Path,
    name: str,
    model: Any,  # noqa: ANN401 - ov.Model has no stub
    evidence: _Evidence,
    calibration: Calibration | None,
) -> VariantRecord:
    """Save one variant, compare it with PyTorch, and describe it."""
    xml = folder / f"{name}.xml"
    save_ir(model, xml, fp16=name == "fp16")
    logits = run_ir(xml, evidence.golden.images)
    if name == "fp32":
        parity = require_parity(evidence, logits, step="the fp32 IR", max_diff=_MAX_F32_DIFF, min_agreement=1.0)
    elif name == "fp16":
        agreement = _MIN_F16_AGREEMENT
        parity = require_parity(evidence, logits, step="the fp16 IR", max_diff=_MAX_F16_DIFF, min_agreement=agreement)
    else:
        # How much INT8 may lose is for bench to measure and the user to decide.
        parity = compare_logits(evidence.golden.logits, logits)
    made_by = {
        "fp32": "openvino.save_model",
        "fp16": "openvino.save_model, weights compressed to f16",
        "int8": "nncf.quantize, post-training, full bias correction",
    }[name]
    return VariantRecord(xml.name, xml.with_suffix(".bin").name, made_by, parity, calibration)


def _hold_back(data: Path, split: Split, calibration: list[Scene], run: Run) -> _HeldBack:
    """Return images to judge INT8 on: of the validation part, else training images that did not calibrate it."""
    used = {scene.sha256 for scene in calibration}
    rest = [scene for scene in split.scenes("train") if scene.sha256 not in used]
    scenes = sample_evenly(split.scenes("val") or rest, N_HELD_BACK, seed=run.record.seed)
    images = decode_unchanged(data, scenes, size=run.record.image.size)
    return _HeldBack(images, np.array([scene.label for scene in scenes], dtype=np.int64))


def _refuse_drop(xml: Path, deployed: Deployed, held_back: _HeldBack, max_drop_pp: float) -> None:
    """Raise if INT8 loses more accuracy against PyTorch than allowed."""
    n_images = len(held_back.labels)
    if n_images == 0:
        raise ParityError(
            "--max-drop can't be checked, as every training image calibrated INT8: use fewer --calibration-images"
        )
    answers = (predict_logits(deployed, held_back.images), run_ir(xml, held_back.images))
    pytorch, int8 = (int((logits.argmax(axis=1) == held_back.labels).sum()) for logits in answers)
    drop_pp = 100 * (pytorch - int8) / n_images
    if drop_pp > max_drop_pp:
        raise ParityError(
            f"INT8 loses {drop_pp:.2f} points of accuracy on {n_images} held-back images, more than --max-drop "
            f"{max_drop_pp:g} allows; nothing was written. Export --variant fp32 --variant fp16, or allow more"
        )


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


def _write_golden(path: Path, golden: Golden) -> None:
    """Write the golden images and logits, compressed."""
    with path.open("wb") as stream:
        np.savez_compressed(stream, images=golden.images, logits=golden.logits)


def _provenance(run: Run, split: Split) -> Provenance:
    """Return where the bundle comes from."""
    return Provenance(
        run_sha256=sha256_file(run.path / RUN_FILE),
        split_sha256=run.record.split_sha256,
        seed=run.record.seed,
        test_sha256=tuple(scene.sha256 for scene in split.scenes("test")),
        versions=installed_versions(),
    )
