"""The comparison of each step of an export with PyTorch, and how large a difference may be."""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from overfly.export.deepness import run_deepness
from overfly.export.ir import run_model
from overfly.export.onnx_model import run_onnx
from overfly.runtime.bundle.bundle import Logits, ReferenceSet
from overfly.runtime.bundle.manifest import Parity
from overfly.runtime.classifier import softmax
from overfly.runtime.errors import ParityError
from overfly.runtime.evaluation.parity import compare_logits
from overfly.runtime.inference.devices import core

_LOGGER = logging.getLogger(__name__)

# Exporters have written models that are wrong at some batch sizes only (pytorch#169178).
_BATCH_SIZES = (1, 5, 16)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far a step may be from PyTorch.

    Attributes
    ----------
    max_abs_diff
        Largest allowed absolute difference of a logit.
    min_agreement
        Smallest allowed fraction of images that keep their top-1 class.
    """

    max_abs_diff: float
    min_agreement: float


# Only the order of float32 additions may differ. Differences of about 1e-5 were measured; a wrong operator changes
# logits by whole units.
FLOAT32 = Tolerance(max_abs_diff=1e-3, min_agreement=1.0)
# The weights are rounded to f16, which has 11 significant bits (IEEE 754-2019). That moved logits of a few units by
# 0.05 at most in the exports of docs/export.md.
FLOAT16 = Tolerance(max_abs_diff=0.2, min_agreement=0.99)


@dataclass(frozen=True, slots=True)
class Reference:
    """PyTorch's answers that each step is compared with.

    Attributes
    ----------
    names
        Names of the golden images in the data folder, for messages.
    golden
        The images in that order, with PyTorch's logits.
    """

    names: tuple[str, ...]
    golden: ReferenceSet


def check_onnx(path: Path, reference: Reference) -> Parity:
    """Compare the ONNX file in ONNX Runtime with PyTorch at several batch sizes.

    Returns
    -------
    Parity
        Of the batch size with the largest difference.

    Raises
    ------
    ParityError
        If a batch size misses `FLOAT32`.
    """
    parities = []
    for batch_size in _BATCH_SIZES:
        logits = run_onnx(path, reference.golden.images, batch_size=batch_size)
        parities.append(check_parity(reference, logits, FLOAT32, step=f"the ONNX model at batch {batch_size}"))
    return max(parities, key=lambda parity: parity.max_abs_diff)


def check_deepness(path: Path, reference: Reference) -> Parity:
    """Compare the probabilities of a file from `write_deepness` with PyTorch's at several batch sizes.

    Returns
    -------
    Parity
        Of the batch size with the largest difference of a probability.

    Raises
    ------
    ParityError
        If a batch size misses `FLOAT32`. A probability differs by at most half as much as the logits do.
    """
    golden = reference.golden
    expected = replace(reference, golden=ReferenceSet(golden.images, softmax(golden.logits)))
    parities = []
    for batch_size in _BATCH_SIZES:
        found = run_deepness(path, golden.images, batch_size=batch_size)
        step = f"{path.name} at batch {batch_size}"
        parities.append(check_parity(expected, found, FLOAT32, step=step, quantity="probabilities"))
    return max(parities, key=lambda parity: parity.max_abs_diff)


def check_ir(xml: Path, reference: Reference, tolerance: Tolerance | None) -> Parity:
    """Compare an IR on the CPU in f32 with PyTorch.

    Parameters
    ----------
    xml
        The IR; its ``.bin`` file is in the same folder.
    reference
        What to compare with.
    tolerance
        The allowed difference; None allows any.

    Raises
    ------
    ParityError
        If the IR misses the tolerance.
    """
    logits = run_model(core().read_model(xml), reference.golden.images)
    return check_parity(reference, logits, tolerance, step=f"the {xml.stem} IR")


def check_parity(
    reference: Reference, logits: Logits, tolerance: Tolerance | None, *, step: str, quantity: str = "logits"
) -> Parity:
    """Compare the logits of a step with PyTorch's.

    Parameters
    ----------
    reference
        What to compare with.
    logits
        float32, shape ``[N, n_classes]``.
    tolerance
        The allowed difference; None allows any.
    step
        What computed the logits, for messages.
    quantity
        What is compared, for messages, if both are something else than logits.

    Raises
    ------
    ParityError
        If a logit differs too much, or too few images keep their class; it names the image that differs most.
    """
    expected = reference.golden.logits
    parity = compare_logits(expected, logits)
    kept_class = f"{parity.top1_agreement:.1%} of {parity.n_images} images keep their class"
    _LOGGER.info("%s: %s differ from PyTorch's by up to %.2e, %s", step, quantity, parity.max_abs_diff, kept_class)
    if tolerance is None:
        return parity
    max_diff = tolerance.max_abs_diff
    # Two logits that are closer than twice the tolerance may change places although each keeps to it.
    second, first = np.sort(expected, axis=1)[:, -2:].T
    kept = (expected.argmax(axis=1) == logits.argmax(axis=1)) | (first - second <= 2 * max_diff)
    if parity.max_abs_diff <= max_diff and kept.mean() >= tolerance.min_agreement:
        return parity
    worst = reference.names[int(np.abs(expected - logits).max(axis=1).argmax())]
    raise ParityError(
        f"{step} does not agree with PyTorch: {quantity} differ by up to {parity.max_abs_diff:.4g} (expected at most "
        f"{max_diff:g}), and {kept.mean():.1%} of {parity.n_images} images keep their class (expected at least "
        f"{tolerance.min_agreement:.0%}); {worst} differs most. Nothing was written; install the versions in "
        "constraints.txt and export again"
    )
