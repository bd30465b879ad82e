"""How far two sets of logits are apart, and how far they may be."""

import numpy as np

from overfly.runtime.bundle import Golden, Parity
from overfly.runtime.runner import Logits, Runner

# Least (minimum cosine, top-1 agreement) with the PyTorch fp32 logits. f32 against f32 differs only by the order of
# additions. f16 has 11 significant bits, bf16 has 8: through the 50 layers of a MobileNetV2 the worst image keeps a
# cosine of about 0.999 in f16, and an image whose two best classes are nearly equal may change sides.
_F32_BOUNDS = (0.9999, 1.0)
_REDUCED_BOUNDS = (0.99, 0.95)

# INT8 differs from model to model, so it is held to what was signed off when it was exported, less this much for
# other kernels (a device may compute the rest in f16). A wrong kernel costs far more than that.
_INT8_MARGIN = 0.05


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


def parity_bounds(variant: str, execution_precision: str, signed_off: Parity) -> tuple[float, float]:
    """Return the least (minimum cosine, top-1 agreement) that a variant must reach on a device.

    Parameters
    ----------
    variant
        ``fp32``, ``fp16`` (its weights have lost bits, whatever it is computed in) or ``int8``.
    execution_precision
        What the device computes in.
    signed_off
        The variant's parity at export, on the CPU in f32.
    """
    if variant == "int8":
        return signed_off.min_cosine - _INT8_MARGIN, signed_off.top1_agreement - _INT8_MARGIN
    return _F32_BOUNDS if (variant, execution_precision) == ("fp32", "f32") else _REDUCED_BOUNDS


def check_golden(runner: Runner, golden: Golden, signed_off: Parity) -> tuple[Parity, list[str]]:
    """Run the golden images and compare with the signed-off logits.

    Returns
    -------
    tuple
        The parity, and a sentence for each bound that it misses; none when the device's answers
        are those that were signed off.
    """
    logits = runner.logits(golden.images)
    if not np.isfinite(logits).all():
        return Parity(len(logits), float("inf"), 0.0, 0.0), ["some logits are not finite numbers"]
    parity = compare_logits(golden.logits, logits)
    min_cosine, min_agreement = parity_bounds(runner.variant, runner.execution_precision, signed_off)
    problems = []
    if parity.min_cosine < min_cosine:
        problems.append(f"the worst cosine similarity is {parity.min_cosine:.4f}, expected at least {min_cosine:.4f}")
    if parity.top1_agreement < min_agreement:
        problems.append(f"top-1 agreement is {parity.top1_agreement:.1%}, expected at least {min_agreement:.1%}")
    return parity, problems
