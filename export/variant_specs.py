"""How each variant is made from the fp32 model, and how far it may be from PyTorch."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from overfly.export.accuracy_control import ValidationImages, quantize_within
from overfly.export.int8 import POST_TRAINING, quantize
from overfly.export.ir import compress_to_f16
from overfly.export.layers import float_layers
from overfly.export.parity_checks import FLOAT16, FLOAT32, Tolerance
from overfly.runtime.bundle.manifest import AccuracyControl, FloatLayer
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.reporter import Reporter

# The manifest records these sentences.
_NOT_QUANTIZED = "nncf.quantize does not quantize it"
_REVERTED = "in INT8 the model lost more accuracy than --max-drop allows"


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSource:
    """What variants are made from. Images are decoded only for the variants that need them.

    Attributes
    ----------
    model
        The fp32 model, an `openvino.Model`.
    calibration
        Return the calibration images: uint8, shape ``[N, size, size, 3]``, RGB.
    validation
        Return the images that measure the accuracy of a quantized model.
    max_drop_pp
        Percentage points of accuracy that a quantized variant may lose; None sets no bound.
    reporter
        Report progress to it.
    """

    model: Any
    calibration: Callable[[], ImageBatch]
    validation: Callable[[], ValidationImages]
    max_drop_pp: float | None
    reporter: Reporter


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantModel:
    """The model of a variant, an `openvino.Model`, with what the manifest records about it."""

    model: Any
    made_by: str
    float_layers: tuple[FloatLayer, ...] | None = None
    accuracy_control: AccuracyControl | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantSpec:
    """How a variant is made and checked.

    Attributes
    ----------
    build
        Make the variant's model.
    tolerance
        Allowed difference from PyTorch. None allows any: how much INT8 may lose is the user's decision, by
        ``--max-drop`` here and by what bench measures.
    """

    build: Callable[[VariantSource], VariantModel]
    tolerance: Tolerance | None


def _build_fp32(source: VariantSource) -> VariantModel:
    """Return the model itself."""
    return VariantModel(model=source.model, made_by="openvino.save_model")


def _build_fp16(source: VariantSource) -> VariantModel:
    """Return the model with most of its weights in half the bytes."""
    made_by = "openvino.save_model, weights rounded to f16 but those of depthwise convolutions"
    return VariantModel(model=compress_to_f16(source.model), made_by=made_by)


def _build_int8(source: VariantSource) -> VariantModel:
    """Return the quantized model, within the bound on its accuracy if there is one."""
    images, control = source.calibration(), None
    if source.max_drop_pp is None:
        model, made_by = quantize(source.model, images, source.reporter), POST_TRAINING
    else:
        validation, bound = source.validation(), source.max_drop_pp
        model, made_by, control = quantize_within(source.model, images, validation, bound, source.reporter)
    reverted = control.reverted if control else ()
    layers = [FloatLayer(name, _REVERTED if name in reverted else _NOT_QUANTIZED) for name in float_layers(model)]
    return VariantModel(model=model, made_by=made_by, float_layers=tuple(layers), accuracy_control=control)


# One entry for each name in overfly.runtime.bundle.variants.
VARIANT_SPECS = {
    "fp32": VariantSpec(build=_build_fp32, tolerance=FLOAT32),
    "fp16": VariantSpec(build=_build_fp16, tolerance=FLOAT16),
    "int8": VariantSpec(build=_build_int8, tolerance=None),
}
