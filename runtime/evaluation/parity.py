"""How far two sets of logits are apart, and how far they may be."""

from dataclasses import dataclass

import numpy as np

from overfly.runtime.bundle.manifest import Parity
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.inference.runner import Logits


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a device's logits must keep to: the worst image's cosine, any logit's difference, the same top-1 class."""

    min_cosine: float
    max_abs_diff: float
    top1_agreement: float


# By what the model is computed in. Rounding errors grow with the format's unit roundoff (IEEE 754-2019: 2^-24 for f32,
# 2^-11 for f16; 2^-8 for bf16) through the 53 layers of a MobileNetV2, whose logits span about 10.
# f32: only the order of additions differs. Export allows 1e-3 on the CPU; a Winograd transform costs three bits more.
# f16: rounding all weights has cost up to 0.22 on UC Merced; the activations add theirs.
# bf16: three bits less than f16.
# A top-1 class may change only where two classes are as near to each other as the error: 1 image in 20, or 10 in bf16.
_BOUNDS = {
    "f32": Bounds(min_cosine=0.9999, max_abs_diff=0.01, top1_agreement=1.0),
    "f16": Bounds(min_cosine=0.99, max_abs_diff=0.5, top1_agreement=0.95),
    "bf16": Bounds(min_cosine=0.97, max_abs_diff=2.0, top1_agreement=0.9),
}

# INT8 differs from model to model, so it is held to what was signed off when it was exported, with this much for other
# kernels (a device may compute the rest in f16, where one rounding step of INT8 more or less is common). A wrong kernel
# costs far more than that.
_INT8_COSINE_MARGIN = 0.05
_INT8_AGREEMENT_MARGIN = 0.05
_INT8_DIFFERENCE_FACTOR = 2.0
_INT8_DIFFERENCE_MARGIN = 0.5


def compare_logits(reference: Logits, logits: Logits) -> Parity:
    """Compare two float32 arrays of shape ``[N, n_classes]`` row by row."""
    a, b = reference.astype(np.float64), logits.astype(np.float64)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine = np.divide((a * b).sum(axis=1), norms, out=np.zeros(len(a)), where=norms > 0)
    return Parity(
        n_images=len(a),
        max_abs_diff=float(np.abs(a - b).max()),
        min_cosine=float(cosine.min()),
        top1_agreement=float((a.argmax(axis=1) == b.argmax(axis=1)).mean()),
    )


def parity_bounds(variant: str, execution_precision: str, signed_off: Parity) -> Bounds:
    """Return what a variant must keep to on a device.

    Parameters
    ----------
    variant
        A name in `VARIANTS`.
    execution_precision
        What the device computes in; one that is not known is given the room of bf16.
    signed_off
        The variant's parity at export, on the CPU in f32.
    """
    if VARIANTS[variant].is_quantized:
        return Bounds(
            signed_off.min_cosine - _INT8_COSINE_MARGIN,
            signed_off.max_abs_diff * _INT8_DIFFERENCE_FACTOR + _INT8_DIFFERENCE_MARGIN,
            signed_off.top1_agreement - _INT8_AGREEMENT_MARGIN,
        )
    computed = _BOUNDS.get(execution_precision, _BOUNDS["bf16"])
    # Weights that have lost bits limit the precision, whatever the model is computed in.
    return _BOUNDS["f16"] if VARIANTS[variant].weights == "f16" and computed is _BOUNDS["f32"] else computed


def missed_bounds(parity: Parity, bounds: Bounds) -> list[str]:
    """Return a sentence for each bound that a parity misses."""
    problems = []
    if parity.min_cosine < bounds.min_cosine:
        problems.append(
            f"the worst cosine similarity is {parity.min_cosine:.4f}, expected at least {bounds.min_cosine:.4f}"
        )
    if parity.max_abs_diff > bounds.max_abs_diff:
        problems.append(f"a logit differs by {parity.max_abs_diff:.2g}, expected at most {bounds.max_abs_diff:.2g}")
    if parity.top1_agreement < bounds.top1_agreement:
        problems.append(
            f"top-1 agreement is {parity.top1_agreement:.1%}, expected at least {bounds.top1_agreement:.1%}"
        )
    return problems
