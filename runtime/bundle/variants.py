"""The variants that a bundle can hold, and the precisions to compute them in.

Imports no numpy, because the command line reads it for its help.
"""

from dataclasses import dataclass

# The precisions that can be requested from a device, by OpenVINO's names.
EXECUTION_PRECISIONS = ("f32", "f16", "bf16")


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One precision of the model.

    Attributes
    ----------
    name
        Name in commands, files and reports.
    weights
        Number format of the weights: ``f32``, ``f16`` or ``int8``.
    requested_precision
        Execution precision that is requested by default: ``auto`` leaves it to the device.
    """

    name: str
    weights: str
    requested_precision: str = "auto"

    @property
    def is_quantized(self) -> bool:
        """Whether its weights and activations are integers, so that its parity differs from model to model."""
        return self.weights == "int8"


# From the largest weights to the smallest: the order of every list of variants, and the last one is the default.
VARIANTS = {
    variant.name: variant
    for variant in (
        # A row called fp32 must not be computed in bf16 or f16, which some devices do by default.
        Variant(name="fp32", weights="f32", requested_precision="f32"),
        Variant(name="fp16", weights="f16"),
        Variant(name="int8", weights="int8"),
    )
}


def quantized_variants() -> list[str]:
    """Return the names of the quantized variants."""
    return [name for name, variant in VARIANTS.items() if variant.is_quantized]
