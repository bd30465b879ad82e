"""INT8 within a bound on the accuracy it may lose."""

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from overfly.export.int8 import (
    FAST_BIAS_CORRECTION,
    POST_TRAINING,
    activation_ranges,
    calibration_dataset,
    quantize,
)
from overfly.export.ir import run_model
from overfly.export.layers import float_layers, operations, weighted_layers
from overfly.export.nncf_import import import_nncf, redirect_nncf_output
from overfly.export.signal_stack import preserve_signal_stack
from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.bundle.manifest import AccuracyControl
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.errors import ParityError
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.reporter import Reporter

_LOGGER = logging.getLogger(__name__)

# The most that the closeness to PyTorch adds to an image's score. A right answer scores 1, so closeness never outweighs
# it: two models differ by less than a half.
_MAX_CLOSENESS = 0.49
# Half a point of 200 images is 1 image; without this, rounding could make it 0.
_ROUNDING = 1e-9

# The manifest records these sentences.
_REVERTED = "nncf.quantize_with_accuracy_control, min-max ranges, full bias correction"
_REQUANTIZED = (
    "nncf.quantize without the layers that nncf.quantize_with_accuracy_control kept in floating point, min-max ranges, "
    "full bias correction"
)


@dataclass(frozen=True, slots=True)
class ValidationImages:
    """Images that measure the accuracy of a quantized model during the export; never of the test part.

    Attributes
    ----------
    part
        The part of the split they are from.
    images
        uint8, shape ``[N, size, size, 3]``, RGB.
    labels
        int64, shape ``[N]``.
    logits
        float32, shape ``[N, n_classes]``, of the PyTorch fp32 model.
    """

    part: str
    images: ImageBatch
    labels: npt.NDArray[np.int64]
    logits: Logits

    def n_lost(self, logits: Logits) -> int:
        """Return how many images fewer than PyTorch these logits classify correctly.

        Parameters
        ----------
        logits
            float32, shape ``[N, n_classes]``.
        """
        pytorch, other = ((of.argmax(axis=1) == self.labels).sum() for of in (self.logits, logits))
        return int(pytorch - other)

    def score(self, index: int, logits: Logits) -> float:
        """Return 1 for a correct answer to one image, plus less than a half for the closeness to PyTorch's logits.

        Parameters
        ----------
        index
            Of the image.
        logits
            float32, shape ``[1, n_classes]``.
        """
        reference = self.logits[index]
        distance = float(((logits[0] - reference) ** 2).sum() / (reference**2).sum())
        return float(logits.argmax() == self.labels[index]) + _MAX_CLOSENESS / (1 + distance)


def quantize_within(
    model: Any,  # noqa: ANN401 - ov.Model has no stub
    images: ImageBatch,
    validation: ValidationImages,
    max_drop_pp: float,
    reporter: Reporter,
) -> tuple[Any, str, AccuracyControl]:
    """Quantize a model so that it loses at most `max_drop_pp` percentage points of accuracy against PyTorch.

    Parameters
    ----------
    model, images
        As for `overfly.export.int8.quantize`.
    validation
        The images that measure the accuracy.
    max_drop_pp
        The bound.
    reporter
        Report progress to it.

    Returns
    -------
    tuple
        The quantized model; how it was made, for the manifest; and what the manifest records about the bound.

    Raises
    ------
    ParityError
        If the bound can't be kept with any layer in INT8.
    """
    n_images = len(validation.labels)
    max_lost = int(max_drop_pp * n_images / 100 + _ROUNDING)

    def n_lost(candidate: Any, description: str) -> int:  # noqa: ANN401
        lost = validation.n_lost(run_model(candidate, validation.images))
        _LOGGER.info("%s: %d of %d images fewer right than PyTorch, allowed %d", description, lost, n_images, max_lost)
        return lost

    made_by, quantized = POST_TRAINING, quantize(model, images, reporter)
    left_by_nncf = float_layers(quantized)
    lost = n_lost(quantized, "INT8")
    if lost > max_lost:
        made_by, quantized = _REVERTED, _revert_layers(model, images, validation, max_lost, reporter)
        lost = n_lost(quantized, "INT8 with accuracy control")
        # NNCF corrected the biases with all layers in INT8, and keeps them when it reverts layers. Quantizing again
        # corrects them for the layers that are left.
        reverted = _reverted_layers(quantized, left_by_nncf)
        again = quantize(model, images, reporter, ignored=operations(model, reverted))
        lost_again = n_lost(again, "INT8 quantized again without the reverted layers")
        if lost_again <= max_lost:
            made_by, quantized, lost = _REQUANTIZED, again, lost_again
    reverted = _reverted_layers(quantized, left_by_nncf)
    control = AccuracyControl(validation.part, n_images, max_drop_pp, 100 * lost / n_images, tuple(reverted))
    _check_bound(control, within=lost <= max_lost, any_int8=any(weighted_layers(quantized).values()))
    return quantized, made_by, control


def _reverted_layers(quantized: Any, left_by_nncf: list[str]) -> list[str]:  # noqa: ANN401
    """Return the layers in floating point that `nncf.quantize` alone had in INT8."""
    return [name for name in float_layers(quantized) if name not in left_by_nncf]


def _check_bound(control: AccuracyControl, *, within: bool, any_int8: bool) -> None:
    """Raise ParityError if INT8 loses too much, or if no layer is in INT8."""
    if within and any_int8:
        return
    others = " ".join(f"--variant {name}" for name, variant in VARIANTS.items() if not variant.is_quantized)
    raise ParityError(
        f"INT8 can't keep to --max-drop {control.max_drop_pp:g}: on {control.n_images} images of the {control.part} "
        f"part it loses {control.drop_pp:.2f} percentage points of accuracy with "
        f"{', '.join(control.reverted) or 'no layer'} reverted to floating point"
        f"{'' if any_int8 else ', and no layer is left in INT8'}; nothing was written. "
        f"Export {others}, or raise --max-drop"
    )


def _revert_layers(
    model: Any,  # noqa: ANN401
    images: ImageBatch,
    validation: ValidationImages,
    max_lost: int,
    reporter: Reporter,
) -> Any:  # noqa: ANN401
    """Return a quantized copy in which NNCF reverted layers to floating point until the accuracy is good enough.

    NNCF reverts one layer at a time, the most helpful first, until at most `max_lost` images fewer than by the fp32
    model are classified correctly.
    """
    nncf = import_nncf()

    def validate(compiled: Any, indices: Iterable[int]) -> tuple[float, list[float]]:  # noqa: ANN401 - no stub
        chosen = list(indices)
        scores = []
        for done, index in enumerate(chosen, start=1):
            scores.append(validation.score(index, compiled([validation.images[index : index + 1]])[0]))
            reporter.progress("measuring the accuracy", done, len(chosen))
        # The number of correct answers decides; the mean closeness, less than a half, decides between equal numbers.
        # NNCF 3.4 can compare logits itself, but then it reverts the least helpful layer first.
        return sum(map(math.floor, scores)) + float(np.mean(np.mod(scores, 1))), scores

    with redirect_nncf_output(), preserve_signal_stack():
        return nncf.quantize_with_accuracy_control(
            model,
            calibration_dataset(images, partial(reporter.progress, "calibrating")),
            calibration_dataset(validation.images, lambda _done, _total: None),
            validate,
            max_drop=max_lost + 0.5,
            subset_size=len(images),
            fast_bias_correction=FAST_BIAS_CORRECTION,
            advanced_quantization_parameters=activation_ranges(),
            # Each further worker would keep one more compiled model in memory.
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(num_ranking_workers=1),
        )
