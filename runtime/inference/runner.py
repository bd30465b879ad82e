"""One variant of a bundle, compiled on one device: uint8 images in, logits out."""

import hashlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import openvino as ov

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.errors import BundleError, DeviceError
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.devices import (
    core,
    describe,
    full_name,
    is_meta,
    precision_name,
    resolve_device,
    supports,
)
from overfly.runtime.inference.model_cache import keep_blob, read_blob
from overfly.runtime.inference.pipeline import Pending, ordered_results

Logits = npt.NDArray[np.float32]
Hint = Literal["latency", "throughput"]

_ELEMENT_TYPES = {"f32": ov.Type.f32, "f16": ov.Type.f16, "bf16": ov.Type.bf16}


class Runner:
    """A compiled model that takes one image at a time, several of them in flight, from any thread.

    Use `compile_variant` to make one.

    Attributes
    ----------
    variant
        ``fp32``, ``fp16`` or ``int8``.
    requested_precision
        The execution precision that was asked for; ``auto`` leaves it to the device.
    """

    def __init__(self, compiled: Any, *, variant: str, requested_precision: str) -> None:  # noqa: ANN401 - no stub
        self._compiled = compiled
        self._n_requests = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        # Requests that wait for work. Taking from a deque and adding to it are atomic, so threads may share it.
        self._idle: deque[Any] = deque()
        self.variant = variant
        self.requested_precision = requested_precision

    @property
    def device(self) -> str:
        """What the model runs on right now, such as ``CPU`` or ``GPU.0``; OpenVINO's AUTO may move it."""
        return ",".join(self._devices())

    @property
    def device_name(self) -> str:
        """The full name of that device."""
        return ", ".join(map(full_name, self._devices()))

    @property
    def execution_precision(self) -> str:
        """What the model is computed in, read back from the compiled model, such as ``f32``."""
        return ",".join(dict.fromkeys(_effective_precision(self._open(), device) for device in self._devices()))

    @property
    def n_threads(self) -> int | None:
        """With how many threads of the CPU the model is computed; None on a device that has none of them."""
        try:
            return int(self._open().get_property("INFERENCE_NUM_THREADS"))
        except RuntimeError:
            return None

    @property
    def n_requests(self) -> int:
        """How many images the device wants in flight for the hint it was compiled with."""
        return self._n_requests

    def infer(self, image: ImageBatch) -> Logits:
        """Return the logits of one image and wait for them.

        Parameters
        ----------
        image
            uint8, shape ``[1, size, size, 3]``, RGB.

        Returns
        -------
        ndarray
            float32, shape ``[1, n_classes]``.
        """
        request = self._take()
        request.get_input_tensor(0).data[:] = image
        request.infer()
        logits = np.array(request.get_output_tensor(0).data)
        self._give_back(request)
        return logits

    def start(self, image: ImageBatch) -> Pending[Logits]:
        """Begin to infer one image and return at once; the image may be changed afterwards.

        Parameters
        ----------
        image
            uint8, shape ``[size, size, 3]``, RGB.

        Returns
        -------
        Started
            Its result is float32, shape ``[n_classes]``; to be asked for once.
        """
        request = self._take()
        request.get_input_tensor(0).data[0] = image
        request.start_async()
        return _Inference(request, self._give_back)

    def stream(self, images: Iterable[ImageBatch]) -> Iterator[Logits]:
        """Yield the logits of each image, in order, with few more than `n_requests` in flight.

        Parameters
        ----------
        images
            uint8 arrays of shape ``[size, size, 3]``, RGB.

        Yields
        ------
        ndarray
            float32, shape ``[n_classes]``.
        """
        return ordered_results((self.start(image) for image in images), self.depth)

    @property
    def depth(self) -> int:
        """How many images to have in flight: one more than are worked on, so that no part of the device waits."""
        return self._n_requests + 1

    def logits(self, images: ImageBatch) -> Logits:
        """Return the logits of a stack of images.

        Parameters
        ----------
        images
            uint8, shape ``[N, size, size, 3]``, RGB.

        Returns
        -------
        ndarray
            float32, shape ``[N, n_classes]``.
        """
        return np.stack(list(self.stream(images)))

    def close(self) -> None:
        """Give back the device's memory, once what is in flight has ended; the runner can't be used any more."""
        self._compiled = None
        self._idle.clear()

    def _take(self) -> Any:  # noqa: ANN401 - ov.InferRequest, which has no stub
        """Return a request that no one else uses."""
        compiled = self._open()
        try:
            return self._idle.popleft()
        except IndexError:
            return compiled.create_infer_request()

    def _give_back(self, request: Any) -> None:  # noqa: ANN401 - ov.InferRequest, which has no stub
        """Leave a request to others; a closed runner keeps none, as it would hold the device's memory."""
        self._idle.append(request)
        if self._compiled is None:  # looked at last, so that close() may come at any moment
            self._idle.clear()

    def _open(self) -> Any:  # noqa: ANN401 - ov.CompiledModel, which has no stub
        """Return the compiled model, or raise when the runner was closed."""
        if self._compiled is None:
            raise ValueError("the runner is closed: open the bundle again")
        return self._compiled

    def _devices(self) -> list[str]:
        """Return the devices that the model runs on; AUTO puts the one it starts on in brackets."""
        return [str(name).strip("()") for name in self._open().get_property("EXECUTION_DEVICES")]


class _Inference:
    """One request under way."""

    def __init__(self, request: Any, give_back: Callable[[Any], None]) -> None:  # noqa: ANN401 - ov.InferRequest
        self._request = request
        self._give_back = give_back

    def done(self) -> bool:
        """Return whether the logits are there."""
        return bool(self._request.wait_for(0))

    def result(self) -> Logits:
        """Wait, return a copy of the one row of logits, and leave the request to others."""
        self._request.wait()
        logits: Logits = np.array(self._request.get_output_tensor(0).data[0])
        self._give_back(self._request)
        return logits


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
        An opened bundle; the variant's two files are checked against the manifest first.
    variant
        ``fp32``, ``fp16`` or ``int8``.
    device
        As `resolve_device` takes it.
    execution_precision
        ``f32``, ``f16``, ``bf16``, or ``auto``: f32 for the fp32 variant, as a row called fp32 must
        not be computed in bf16 or f16, and the device's own choice for the others.
    hint
        OpenVINO's performance hint: one image as soon as possible, or many at once.
    cache
        Keep the compiled model in the user's cache folder, and take it from there.
    properties
        Properties of OpenVINO's to compile with besides, by name, such as
        ``{"GPU_DISABLE_WINOGRAD_CONVOLUTION": "YES"}``.

    Raises
    ------
    BundleError
        When the variant is missing or altered, or OpenVINO can't read it.
    DeviceError
        When the device is not there, lacks a property, or can't compile the model.
    ValueError
        When `execution_precision` or `hint` is none of these.
    """
    _require(execution_precision, "execution_precision", ("auto", *_ELEMENT_TYPES))
    _require(hint, "hint", get_args(Hint))
    target = resolve_device(device)
    requested = "f32" if execution_precision == "auto" and variant == "fp32" else execution_precision
    config = _config(target, requested, hint, properties or {})
    record = bundle.variant(variant)
    files = bundle.read(record.xml), bundle.read(record.bin)
    key = _cache_key(bundle, variant, target, config) if cache and _can_export(target) else None
    compiled = None if key is None else _compiled_before(key, target, config)
    if compiled is None:
        what = _told(variant, execution_precision, properties or {})
        compiled = _compile(_read(bundle, variant, *files), target, config, what)
        if key is not None:
            keep_blob(key, compiled.export_model().getvalue())
    return Runner(compiled, variant=variant, requested_precision=requested)


def _require(value: str, name: str, known: Sequence[str]) -> None:
    """Raise a ValueError that names the argument, unless its value is known."""
    if value not in known:
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(known)}")


def _config(device: str, execution_precision: str, hint: Hint, properties: Mapping[str, str]) -> dict[str, object]:
    """Return the properties to compile with: of ours those that the device takes, of the caller's all."""
    ours: dict[str, object] = {"PERFORMANCE_HINT": hint.upper()}
    if execution_precision != "auto":
        ours["INFERENCE_PRECISION_HINT"] = _ELEMENT_TYPES[execution_precision]
    for name in properties:
        if not supports(device, name):
            raise DeviceError(f"{device} has no property {name}: leave it out, or name another device")
    return {**{name: value for name, value in ours.items() if supports(device, name)}, **properties}


def _cache_key(bundle: Bundle, variant: str, device: str, config: Mapping[str, object]) -> str:
    """Return a hash of all that decides what compiling gives."""
    record, image = bundle.variant(variant), bundle.manifest.image
    facts = (
        ov.get_version(),
        repr(describe(device)),
        sorted((name, str(value)) for name, value in config.items()),
        (image.size, len(bundle.manifest.classes)),
        [bundle.manifest.files[name].sha256 for name in (record.xml, record.bin)],
    )
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _can_export(device: str) -> bool:
    """Whether a compiled model can be written to a file; OpenVINO's meta devices hold several."""
    return not is_meta(device) and "EXPORT_IMPORT" in core().get_property(device, "OPTIMIZATION_CAPABILITIES")


def _compiled_before(key: str, device: str, config: Mapping[str, object]) -> Any:  # noqa: ANN401 - ov.CompiledModel
    """Return the model from the cache; None when it is not there, or the device does not take it back."""
    blob = read_blob(key)
    try:
        return None if blob is None else core().import_model(blob, device, dict(config))
    except RuntimeError:
        return None


def _compile(model: Any, device: str, config: Mapping[str, object], what: str) -> Any:  # noqa: ANN401 - no stub
    """Compile a model for single images; `what` names it in the error."""
    _, height, width, channels = model.input(0).partial_shape
    model.reshape([1, height, width, channels])
    try:
        return core().compile_model(model, device, dict(config))
    except RuntimeError as error:
        raise DeviceError(f"{device} can't compile {what}: {summarize_openvino_error(error)}") from error


def _told(variant: str, execution_precision: str, properties: Mapping[str, str]) -> str:
    """Return in words what the caller asked for: OpenVINO does not always name the value that it refuses."""
    precision = "" if execution_precision == "auto" else f" in {execution_precision}"
    return f"the {variant} variant{precision}" + "".join(f" with {name}={value}" for name, value in properties.items())


def _read(bundle: Bundle, variant: str, network: bytes, weights: bytes) -> Any:  # noqa: ANN401 - ov.Model
    """Read an IR, with a sentence where OpenVINO prints a trace, and check its shapes against the manifest."""
    xml = bundle.place(bundle.variant(variant).xml)
    try:
        model = core().read_model(network, ov.Tensor(np.frombuffer(weights, np.uint8)))
    except RuntimeError as error:
        raise BundleError(f"{xml} is not an IR that OpenVINO can read: {summarize_openvino_error(error)}") from error
    size, n_classes = bundle.manifest.image.size, len(bundle.manifest.classes)
    expected = f"[?,{size},{size},3] to [?,{n_classes}]"
    found = f"{model.input(0).partial_shape} to {model.output(0).partial_shape}"
    if found != expected:
        raise BundleError(f"{xml} maps {found}, expected {expected} by the manifest: export the run again")
    return model


def _effective_precision(compiled: Any, device: str) -> str:  # noqa: ANN401 - ov.CompiledModel, which has no stub
    """Return what a device computes the model in."""
    try:
        return precision_name(compiled.get_property("INFERENCE_PRECISION_HINT"))
    except RuntimeError:
        # OpenVINO's meta devices know only what each of their devices does.
        of_device = compiled.get_property("DEVICE_PROPERTIES").get(device, {})
        precision = of_device.get("INFERENCE_PRECISION_HINT")
        return "unknown" if precision is None else precision_name(precision)


def summarize_openvino_error(error: BaseException) -> str:
    """Return the line of OpenVINO's message that says what happened; the others are source places."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
