"""Compile a variant of a bundle for a device."""

import hashlib
import json
import logging
from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np
import openvino as ov

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.variants import EXECUTION_PRECISIONS, VARIANTS
from overfly.runtime.errors import BundleError, DeviceError, last_line
from overfly.runtime.inference.devices import core, describe, is_meta, resolve_device, supports
from overfly.runtime.inference.model_cache import keep_blob, read_blob
from overfly.runtime.inference.runner import Runner

_LOGGER = logging.getLogger(__name__)

Hint = Literal["latency", "throughput"]

_ELEMENT_TYPES = {name: getattr(ov.Type, name) for name in EXECUTION_PRECISIONS}


def compile_variant(
    bundle: Bundle,
    *,
    variant: str,
    device: str = "auto",
    execution_precision: str = "auto",
    hint: Hint = "latency",
    cache: bool = True,
    properties: Mapping[str, str] | None = None,
) -> Runner:
    """Compile one variant of a bundle for one device.

    Parameters
    ----------
    bundle
        An opened bundle. The variant's two files are checked against the manifest first.
    variant
        ``fp32``, ``fp16`` or ``int8``.
    device
        See `resolve_device`.
    execution_precision
        ``f32``, ``f16``, ``bf16`` or ``auto``: the variant's `Variant.requested_precision`.
    hint
        OpenVINO's performance hint: one image as soon as possible, or many images per second.
    cache
        Whether to load the compiled model from the user's cache folder, and to save it there.
    properties
        More properties of OpenVINO, by name, such as ``{"GPU_DISABLE_WINOGRAD_CONVOLUTION": "YES"}``.

    Raises
    ------
    BundleError
        If the variant is missing or altered, or OpenVINO can't read it.
    DeviceError
        If the device is absent, lacks a property, or can't compile the model.
    ValueError
        If `execution_precision` or `hint` is unknown.
    """
    for name, value, known in (
        ("execution_precision", execution_precision, ("auto", *_ELEMENT_TYPES)),
        ("hint", hint, get_args(Hint)),
    ):
        if value not in known:
            raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")
    target = resolve_device(device)
    requested = VARIANTS[variant].requested_precision if execution_precision == "auto" else execution_precision
    config = supported_config(target, hint=hint, execution_precision=requested, properties=properties)
    files = _read_files(bundle, variant)
    # A meta device can't export a compiled model, because it has several.
    can_export = not is_meta(target) and "EXPORT_IMPORT" in core().get_property(target, "OPTIMIZATION_CAPABILITIES")
    key = _cache_key(bundle, variant, target, config) if cache and can_export else None
    compiled = None if key is None else _compiled_before(key, target, config)
    _LOGGER.info("%s for %s: %s", variant, target, "from the model cache" if compiled else "compiling")
    if compiled is None:
        model = _parse(bundle, variant, *files)
        try:
            compiled = compile_for_single_images(model, target, config)
        except RuntimeError as error:
            # OpenVINO does not always name the value that it rejects.
            precision = "" if execution_precision == "auto" else f" in {execution_precision}"
            more = "".join(f" with {name}={value}" for name, value in (properties or {}).items())
            raise DeviceError(
                f"{target} can't compile the {variant} variant{precision}{more}: {last_line(error)}"
            ) from error
        if key is not None:
            keep_blob(key, compiled.export_model().getvalue())
    known_score = bundle.manifest.known_score
    return Runner(
        compiled,
        variant=variant,
        requested_precision=requested,
        known_threshold=None if known_score is None else known_score.thresholds[variant],
    )


def compile_for_single_images(
    model: Any,  # noqa: ANN401 - ov.Model, which has no stub
    device: str,
    config: Mapping[str, object],
) -> Any:  # noqa: ANN401 - ov.CompiledModel
    """Fix the batch of a model to one image and compile it.

    Parameters
    ----------
    model
        An ``openvino.Model`` with one input of shape ``[N, height, width, channels]``; it is changed.
    device
        OpenVINO's name of a device.
    config
        The properties that `supported_config` returned.

    Returns
    -------
    openvino.CompiledModel
        The compiled model, for one image at a time.

    Raises
    ------
    RuntimeError
        OpenVINO's own, if the device can't compile the model.
    """
    _, height, width, channels = model.input(0).partial_shape
    model.reshape([1, height, width, channels])
    return core().compile_model(model, device, dict(config))


def supported_config(
    device: str, *, hint: Hint, execution_precision: str, properties: Mapping[str, str] | None = None
) -> dict[str, object]:
    """Return the properties to compile with: the hint and the precision if the device knows them, and the caller's.

    Parameters
    ----------
    device
        OpenVINO's name of a device.
    hint, execution_precision, properties
        See `compile_variant`. With ``auto`` no precision is requested.

    Raises
    ------
    DeviceError
        If the device lacks one of the caller's properties.
    """
    ours: dict[str, object] = {"PERFORMANCE_HINT": hint.upper()}
    if execution_precision != "auto":
        ours["INFERENCE_PRECISION_HINT"] = _ELEMENT_TYPES[execution_precision]
    for name in properties or {}:
        if not supports(device, name):
            raise DeviceError(f"{device} has no property {name}: leave it out, or name another device")
    return {**{name: value for name, value in ours.items() if supports(device, name)}, **(properties or {})}


def _cache_key(bundle: Bundle, variant: str, device: str, config: Mapping[str, object]) -> str:
    """Return a hash of everything that determines the compiled model."""
    record, image = bundle.variant(variant), bundle.manifest.image
    facts = (
        ov.get_version(),
        repr(describe(device)),
        sorted((name, str(value)) for name, value in config.items()),
        (image.size, len(bundle.manifest.classes)),
        [bundle.manifest.files[name].sha256 for name in (record.xml, record.bin)],
    )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _compiled_before(key: str, device: str, config: Mapping[str, object]) -> Any:  # noqa: ANN401 - ov.CompiledModel
    """Return the model from the cache; None if it is not there, or the device does not accept it."""
    blob = read_blob(key)
    try:
        return None if blob is None else core().import_model(blob, device, dict(config))
    except RuntimeError as error:
        _LOGGER.info("%s does not accept the cached model %s: %s", device, key, last_line(error))
        return None


def read_variant(bundle: Bundle, variant: str) -> Any:  # noqa: ANN401 - ov.Model, which has no stub
    """Return a variant of a bundle as an ``openvino.Model`` that maps uint8 ``[?, size, size, 3]`` to logits.

    Raises
    ------
    BundleError
        If the variant is missing or altered, or OpenVINO can't read it.
    """
    return _parse(bundle, variant, *_read_files(bundle, variant))


def _read_files(bundle: Bundle, variant: str) -> tuple[bytes, bytes]:
    """Return the network and the weights of a variant."""
    record = bundle.variant(variant)
    return bundle.read(record.xml), bundle.read(record.bin)


def _parse(bundle: Bundle, variant: str, network: bytes, weights: bytes) -> Any:  # noqa: ANN401 - ov.Model
    """Read an IR and check its shapes against the manifest; raise BundleError if it is damaged or has other shapes."""
    xml = bundle.file_path(bundle.variant(variant).xml)
    try:
        model = core().read_model(network, ov.Tensor(np.frombuffer(weights, np.uint8)))
    except RuntimeError as error:
        raise BundleError(f"{xml} is not an IR that OpenVINO can read: {last_line(error)}") from error
    size, n_classes = bundle.manifest.image.size, len(bundle.manifest.classes)
    expected = f"[?,{size},{size},3] to [?,{n_classes}]"
    found = f"{model.input(0).partial_shape} to {model.output(0).partial_shape}"
    if found != expected:
        raise BundleError(f"{xml} maps {found}, expected {expected} as in the manifest: export the run again")
    if (len(model.outputs) > 1) != (bundle.manifest.known_score is not None):
        raise BundleError(f"{xml} has {len(model.outputs)} outputs, which the manifest denies: export the run again")
    return model
