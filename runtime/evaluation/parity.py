"""Measure how far two sets of logits differ, and decide whether that is acceptable."""

from dataclasses import dataclass

import numpy as np

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.bundle.manifest import Parity
from overfly.runtime.bundle.variants import VARIANTS

NOT_FINITE = "some logits are not finite numbers"


@dataclass(frozen=True, slots=True)
class Bounds:
    """The limits for the parity of a device's logits; see `Parity` for the attributes."""

    min_cosine: float
    max_abs_diff: float
    top1_agreement: float


# Bounds by execution precision. Rounding errors grow with the format's unit roundoff (IEEE 754-2019: 2^-24 for f32,
# 2^-11 for f16; 2^-8 for bf16) through the 53 layers of a MobileNetV2, whose logits span about 10.
# f32: only the order of additions differs. Export allows 1e-3 on the CPU; a Winograd transform loses three bits more.
# f16: rounding all weights changed logits by up to 0.22 on UC Merced; rounding the activations adds to that.
# bf16: three bits less than f16.
# A top-1 class may change only if two classes are closer than the error: 1 image in 20, or 1 in 10 with bf16.
_BOUNDS = {
    "f32": Bounds(min_cosine=0.9999, max_abs_diff=0.01, top1_agreement=1.0),
    "f16": Bounds(min_cosine=0.99, max_abs_diff=0.5, top1_agreement=0.95),
    "bf16": Bounds(min_cosine=0.97, max_abs_diff=2.0, top1_agreement=0.9),
}

# The parity of INT8 differs from model to model, so its bounds are the parity at export plus a margin for other
# kernels: a device may compute the remaining layers in f16, and then values often differ by one INT8 step. A wrong
# kernel changes the logits far more than that.
_INT8_COSINE_MARGIN = 0.05
_INT8_AGREEMENT_MARGIN = 0.05
# An export may sign off INT8 that lost everything. On 64 golden images, a variant that agrees on 90% of all images
# reaches this floor 99 times in 100, and one that guesses between two classes never does (binomial distribution).
_INT8_AGREEMENT_FLOOR = 0.8
_INT8_DIFFERENCE_FACTOR = 2.0
_INT8_DIFFERENCE_MARGIN = 0.5


def compare_logits(reference: Logits, logits: Logits) -> Parity:
    """Compare two arrays of logits, float32 of shape ``[N, n_classes]``, image by image.

    The cosine similarity with a row of zeros is taken as 0.
    """
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
    """Return the bounds for a variant on a device.

    Parameters
    ----------
    variant
        A name in `VARIANTS`.
    execution_precision
        The precision that the device computes in. An unknown one has the bounds of bf16.
    signed_off
        The variant's parity at export, on the CPU in f32.
    """
    if VARIANTS[variant].is_quantized:
        return Bounds(
            signed_off.min_cosine - _INT8_COSINE_MARGIN,
            signed_off.max_abs_diff * _INT8_DIFFERENCE_FACTOR + _INT8_DIFFERENCE_MARGIN,
            max(signed_off.top1_agreement - _INT8_AGREEMENT_MARGIN, _INT8_AGREEMENT_FLOOR),
        )
    computed = _BOUNDS.get(execution_precision, _BOUNDS["bf16"])
    # Rounded weights limit the precision, even if the model is computed in f32.
    return _BOUNDS["f16"] if VARIANTS[variant].weights == "f16" and computed is _BOUNDS["f32"] else computed


def problems_at_export(variant: str, signed_off: Parity) -> list[str]:
    """Return a sentence for each bound that a quantized variant misses where it was exported, so that it has no use.

    For the other variants, export has limits of its own, which are stricter.
    """
    return (
        missed_bounds(signed_off, parity_bounds(variant, "f32", signed_off)) if VARIANTS[variant].is_quantized else []
    )


def missed_bounds(parity: Parity, bounds: Bounds) -> list[str]:
    """Return a sentence for each bound that a parity misses."""
    problems = []
    if parity.min_cosine < bounds.min_cosine:
        problems.append(
            f"the worst cosine similarity is {parity.min_cosine:.6g}, expected at least {bounds.min_cosine:g}"
        )
    if parity.max_abs_diff > bounds.max_abs_diff:
        problems.append(f"a logit differs by {parity.max_abs_diff:.4g}, expected at most {bounds.max_abs_diff:.4g}")
    if parity.top1_agreement < bounds.top1_agreement:
        problems.append(
            f"top-1 agreement is {parity.top1_agreement:.1%}, expected at least {bounds.top1_agreement:.1%}"
        )
    return problems
