"""One variant of a bundle, compiled on one device: uint8 images in, logits out."""

from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import openvino as ov

from overfly.runtime.bundle import Bundle
from overfly.runtime.cache import model_cache_folder
from overfly.runtime.devices import core, full_name, precision_name, resolve_device, supports
from overfly.runtime.errors import BundleError, DeviceError
from overfly.runtime.images import ImageBatch

Logits = npt.NDArray[np.float32]
Hint = Literal["latency", "throughput"]

_ELEMENT_TYPES = {"f32": ov.Type.f32, "f16": ov.Type.f16, "bf16": ov.Type.bf16}


class Runner:
    """A compiled model that takes one image at a time, several of them in flight.

    Use `compile_variant` to make one.

    Attributes
    ----------
    variant
        ``fp32``, ``fp16`` or ``int8``.
    device
        What the model really runs on, such as ``CPU`` or ``GPU.0``.
    device_name
        The full name of that device.
    requested_precision
        The execution precision that was asked for; ``auto`` leaves it to the device.
    execution_precision
        The one in force, read back from the compiled model, such as ``f32``.
    """

    def __init__(self, compiled: Any, *, variant: str, requested_precision: str) -> None:  # noqa: ANN401 - no stub
        self._compiled = compiled
        self.variant = variant
        self.requested_precision = requested_precision
        self.device = ",".join(str(d) for d in compiled.get_property("EXECUTION_DEVICES"))
        self.device_name = full_name(self.device)
        self.execution_precision = _effective_precision(compiled)
        self._request = compiled.create_infer_request()

    @property
    def n_requests(self) -> int:
        """How many images the device wants in flight for the hint it was compiled with."""
        return int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))

    def infer(self, image: ImageBatch) -> Logits:
        """Return the logits of one image and wait for them; not for use from several threads.

        Parameters
        ----------
        image
            uint8, shape ``[1, size, size, 3]``, RGB.

        Returns
        -------
        ndarray
            float32, shape ``[1, n_classes]``; a view that the next call overwrites.
        """
        self._request.infer({0: image}, share_inputs=True)
        return np.asarray(self._request.get_output_tensor(0).data)

    def stream(self, images: Iterable[ImageBatch]) -> Iterator[Logits]:
        """Yield the logits of each image, in order, with at most `n_requests` in flight.

        Parameters
        ----------
        images
            uint8 arrays of shape ``[size, size, 3]``, RGB.

        Yields
        ------
        ndarray
            float32, shape ``[n_classes]``.
        """
        idle = [self._compiled.create_infer_request() for _ in range(self.n_requests)]
        busy: deque[Any] = deque()
        for image in images:
            if not idle:
                idle.append(busy.popleft())
                yield _finish(idle[-1])
            request = idle.pop()
            request.start_async({0: np.ascontiguousarray(image)[np.newaxis]}, share_inputs=True)
            busy.append(request)
        while busy:
            yield _finish(busy.popleft())

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


def compile_variant(
    bundle: Bundle,
    *,
    variant: str,
    device: str = "auto",
    execution_precision: str = "auto",
    hint: Hint = "latency",
    cache: bool = True,
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
        Keep the compiled model in the user's cache folder.

    Raises
    ------
    BundleError
        When the variant is missing or altered, or OpenVINO can't read it.
    DeviceError
        When the device is not there or can't compile the model.
    """
    record = bundle.variant(variant)
    xml, weights = bundle.file(record.xml), bundle.file(record.bin)
    target = resolve_device(device)
    size = bundle.manifest.image.size
    model = _read(xml, weights)
    n_classes = len(bundle.manifest.classes)
    expected = f"[?,{size},{size},3] to [?,{n_classes}]"
    found = f"{model.input(0).partial_shape} to {model.output(0).partial_shape}"
    if found != expected:
        raise BundleError(f"{xml} maps {found}, expected {expected} by the manifest: export the run again")
    model.reshape([1, size, size, 3])
    requested = "f32" if execution_precision == "auto" and variant == "fp32" else execution_precision
    config = _config(target, requested, hint, cache=cache)
    try:
        compiled = core().compile_model(model, target, config)
    except RuntimeError as error:
        raise DeviceError(f"{target} can't compile the {variant} variant: {last_line(error)}") from error
    return Runner(compiled, variant=variant, requested_precision=requested)


def _config(device: str, execution_precision: str, hint: Hint, *, cache: bool) -> dict[str, object]:
    """Return the properties to compile with, those the device does not take left out."""
    wanted: dict[str, object] = {"PERFORMANCE_HINT": hint.upper()}
    if execution_precision != "auto":
        wanted["INFERENCE_PRECISION_HINT"] = _ELEMENT_TYPES[execution_precision]
    config = {name: value for name, value in wanted.items() if supports(device, name)}
    # Not listed as a property of every device, but the core itself takes it for all of them.
    return {**config, "CACHE_DIR": str(model_cache_folder())} if cache else config


def _read(xml: Path, weights: Path) -> Any:  # noqa: ANN401 - ov.Model, which has no stub
    """Read an IR, with a sentence where OpenVINO prints a trace."""
    try:
        return core().read_model(xml, weights)
    except RuntimeError as error:
        raise BundleError(f"{xml} is not an IR that OpenVINO can read: {last_line(error)}") from error


def _effective_precision(compiled: Any) -> str:  # noqa: ANN401 - ov.CompiledModel, which has no stub
    """Return what the model is computed in; ``unknown`` for OpenVINO's devices that hand the work to others."""
    try:
        return precision_name(compiled.get_property("INFERENCE_PRECISION_HINT"))
    except RuntimeError:
        return "unknown"


def _finish(request: Any) -> Logits:  # noqa: ANN401 - ov.InferRequest, which has no stub
    """Wait for a request and return a copy of its one row of logits."""
    request.wait()
    return np.array(request.get_output_tensor(0).data[0])


def last_line(error: BaseException) -> str:
    """Return the line of OpenVINO's message that says what happened; the others are source places."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
