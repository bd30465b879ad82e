"""The variants: their order, and what each asks for."""

from overfly.runtime.bundle.variants import VARIANTS, quantized_variants


def test_the_order_is_from_the_largest_weights_to_the_smallest():
    assert [(name, variant.name, variant.weights) for name, variant in VARIANTS.items()] == [
        ("fp32", "fp32", "f32"),
        ("fp16", "fp16", "f16"),
        ("int8", "int8", "int8"),
    ]


def test_only_fp32_asks_for_a_precision():
    assert {name: variant.requested_precision for name, variant in VARIANTS.items()} == {
        "fp32": "f32",
        "fp16": "auto",
        "int8": "auto",
    }


def test_int8_is_quantized():
    assert quantized_variants() == ["int8"]
