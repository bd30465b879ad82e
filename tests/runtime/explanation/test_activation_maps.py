"""Activation maps add up to the logits, in a network made by hand and in a trained one; others have none."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset13

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import Classifier
from overfly.runtime.errors import ExplanationError
from overfly.runtime.explanation.activation_maps import ActivationMaps

SIZE, CHANNELS, N_CLASSES = 8, 5, 4


def network(end):
    """Return uint8 images -> a convolution of blocks, 4 x 4 features in `CHANNELS` -> what `end` makes of them."""
    rng = np.random.default_rng(1)
    images = opset13.parameter([-1, SIZE, SIZE, 3], np.uint8, name="images")
    planes = opset13.transpose(opset13.convert(images, "f32"), np.array([0, 3, 1, 2]))
    kernel = rng.normal(0, 0.02, (CHANNELS, 3, 2, 2)).astype(np.float32)
    features = opset13.relu(opset13.convolution(planes, opset13.constant(kernel), [2, 2], [0, 0], [0, 0], [1, 1]))
    return ov.Model([end(features, rng)], [images], "pooled")


def linear(flat, rng, *, n_inputs=CHANNELS, transpose_b=True):
    """Return a linear layer with bias."""
    weights = rng.normal(0, 1, (N_CLASSES, n_inputs)).astype(np.float32)
    product = opset13.matmul(flat, opset13.constant(weights if transpose_b else weights.T), False, transpose_b)
    return opset13.add(product, opset13.constant(rng.normal(0, 1, (1, N_CLASSES)).astype(np.float32)))


def reduced(features, rng, **options):
    pooled = opset13.reduce_mean(features, np.array([2, -1]), keep_dims=False)
    return linear(pooled, rng, **options)


def averaged(features, rng):
    pooled = opset13.avg_pool(features, [1, 1], [0, 0], [0, 0], [4, 4], False)
    return linear(opset13.reshape(pooled, np.array([-1, CHANNELS]), special_zero=False), rng)


def flattened(features, rng):
    return linear(opset13.reshape(features, np.array([-1, CHANNELS * 16]), False), rng, n_inputs=CHANNELS * 16)


def pooled_in_part(features, rng):
    pooled = opset13.avg_pool(features, [2, 2], [0, 0], [0, 0], [2, 2], False)
    return linear(opset13.reshape(pooled, np.array([-1, CHANNELS * 4]), False), rng, n_inputs=CHANNELS * 4)


def with_a_hidden_layer(features, rng):
    hidden = opset13.relu(reduced(features, rng))
    return linear(hidden, rng, n_inputs=N_CLASSES)


def scaled(features, rng):
    return opset13.multiply(reduced(features, rng), np.float32(2))


def shuffled(features, rng):
    pooled = opset13.reduce_mean(features, np.array([2, 3]), keep_dims=False)
    return linear(opset13.gather(pooled, np.array([3, 0, 1, 2, 4]), np.array(1)), rng)


def assert_exact(maps, classifier, images):
    """Every map adds up to the logit that the classifier computes."""
    logits = classifier.runner.logits(images)
    for image, expected in zip(images, logits, strict=True):
        found = maps.explain(image)
        assert found.dtype == np.float32
        assert np.allclose(found.sum(axis=(1, 2)) + maps.bias, expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("end", [reduced, averaged, lambda f, r: reduced(f, r, transpose_b=False)])
@pytest.mark.parametrize("names", [("fp32", "fp16"), ("fp16",)])
def test_a_map_adds_up_to_the_logit(make_bundle, pixels, end, names):
    folder = make_bundle(model=network(end), names=names)
    maps = ActivationMaps.of(Bundle.open(folder))
    assert maps.variant == names[0]
    images = np.stack([pixels(SIZE, seed=seed) for seed in range(3)])
    with Classifier.from_bundle(folder, device="CPU", variant=names[0], execution_precision="f32") as classifier:
        assert_exact(maps, classifier, images)
    # A part of the image changes only its own part of the map.
    image = images[0].copy()
    before = maps.explain(image)
    image[2:4, 6:8] = 255 - image[2:4, 6:8]
    changed = np.abs(maps.explain(image) - before).max(axis=0) > 0
    assert np.argwhere(changed).tolist() == [[1, 3]]


def test_a_map_of_a_trained_network_adds_up_to_the_logit(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    maps = ActivationMaps.of(bundle)
    images = bundle.golden().images[:4]
    assert maps.explain(images[0]).shape == (8, 2, 2)
    with Classifier.from_bundle(tiny_bundle, device="CPU", variant="fp32", cache=False) as classifier:
        assert_exact(maps, classifier, images)


@pytest.mark.parametrize("end", [flattened, pooled_in_part, with_a_hidden_layer, scaled, shuffled])
def test_a_network_of_another_shape_has_none(make_bundle, end):
    with pytest.raises(ExplanationError, match=r"linear has no class activation maps: .* global average pooling"):
        ActivationMaps.of(Bundle.open(make_bundle(model=network(end))))


def test_a_bundle_without_a_float_variant_has_none(make_bundle):
    folder = make_bundle(model=network(reduced), names=("int8",))
    with pytest.raises(ExplanationError, match="holds int8, expected fp32 or fp16"):
        ActivationMaps.of(Bundle.open(folder))
