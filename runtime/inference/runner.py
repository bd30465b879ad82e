"""Infer images with a compiled model, several at once."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.devices import full_name, precision_name
from overfly.runtime.inference.pipeline import Pending, ordered_results


class Runner:
    """A compiled model that infers single images. Several threads may use it, and several images may be in progress.

    Parameters
    ----------
    compiled
        An ``openvino.CompiledModel`` for one image; see `overfly.runtime.inference.compile`.
    variant
        Name of the variant; also an attribute.
    requested_precision
        The execution precision that was requested, ``auto`` for the device's choice; also an attribute.
    known_threshold
        The lowest known score of a known image; None if the model has no such output. Also an attribute.

    Attributes
    ----------
    n_requests
        The number of images that the device wants in progress, for the hint that it was compiled with.
    depth
        The number of images to keep in progress: twice `n_requests`, so that the device never waits, even if this
        process gets the processor late because threads that decode images use it too.
    """

    def __init__(
        self,
        compiled: Any,  # noqa: ANN401 - no stub
        *,
        variant: str,
        requested_precision: str,
        known_threshold: float | None = None,
    ) -> None:
        self._compiled = compiled
        self.n_requests = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self.depth = 2 * self.n_requests
        # The requests that are not in use. The methods of a deque are atomic, so threads may share it.
        self._idle: deque[Any] = deque()
        self.variant = variant
        self.requested_precision = requested_precision
        self.known_threshold = known_threshold

    @property
    def device(self) -> str:
        """The device that runs the model now, such as ``CPU`` or ``GPU.0``; OpenVINO's AUTO may change it."""
        return ",".join(self._devices())

    @property
    def device_name(self) -> str:
        """The full name of that device."""
        return ", ".join(map(full_name, self._devices()))

    @property
    def execution_precision(self) -> str:
        """The precision that the model is computed in, such as ``f32``, read back from the compiled model."""
        return ",".join(dict.fromkeys(_effective_precision(self._open(), device) for device in self._devices()))

    @property
    def n_threads(self) -> int | None:
        """The number of CPU threads that compute the model; None if the device does not report it."""
        try:
            return int(self._open().get_property("INFERENCE_NUM_THREADS"))
        except RuntimeError:
            return None

    def infer(self, image: ImageBatch) -> Logits:
        """Infer one image and wait for its logits.

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

    def start(self, image: ImageBatch, *, known_margin: bool = False) -> Pending[Logits]:
        """Start to infer one image and return at once. The caller may change the image afterwards.

        Parameters
        ----------
        image
            uint8, shape ``[size, size, 3]``, RGB.
        known_margin
            Append to the logits how far the known score is above the threshold, which the model must have.

        Returns
        -------
        Pending
            Its result is float32, shape ``[n_classes]``, with `known_margin` one more. Call `result` only once.
        """
        request = self._take()
        request.get_input_tensor(0).data[0] = image
        request.start_async()
        return _Inference(request, self._give_back, self.known_threshold if known_margin else None)

    def stream(self, images: Iterable[ImageBatch], *, known_margin: bool = False) -> Iterator[Logits]:
        """Yield the logits of each image, in order, with at most `depth` images in progress.

        Parameters
        ----------
        images
            uint8 arrays of shape ``[size, size, 3]``, RGB.
        known_margin
            See `start`.

        Yields
        ------
        ndarray
            float32, shape ``[n_classes]``, with `known_margin` one more.
        """
        return ordered_results((self.start(image, known_margin=known_margin) for image in images), self.depth)

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
        """Release the device's memory as soon as the images in progress are finished. Later calls raise ValueError."""
        self._compiled = None
        self._idle.clear()

    def _take(self) -> Any:  # noqa: ANN401 - ov.InferRequest, which has no stub
        """Return a request that is not in use."""
        compiled = self._open()
        try:
            return self._idle.popleft()
        except IndexError:
            return compiled.create_infer_request()

    def _give_back(self, request: Any) -> None:  # noqa: ANN401 - ov.InferRequest, which has no stub
        """Return a request for reuse. A closed runner keeps none, because each holds memory of the device."""
        self._idle.append(request)
        if self._compiled is None:  # checked last, because another thread may call close() at any time
            self._idle.clear()

    def _open(self) -> Any:  # noqa: ANN401 - ov.CompiledModel, which has no stub
        """Return the compiled model; raise ValueError if the runner was closed."""
        if self._compiled is None:
            raise ValueError("the runner is closed: open the bundle again")
        return self._compiled

    def _devices(self) -> list[str]:
        """Return the devices that run the model; AUTO puts the one that it starts on in brackets."""
        return [str(name).strip("()") for name in self._open().get_property("EXECUTION_DEVICES")]


@dataclass(frozen=True, slots=True)
class _Inference:
    """An image in progress: an openvino.InferRequest, what to do with it afterwards, and the threshold of a margin."""

    request: Any
    give_back: Callable[[Any], None]
    known_threshold: float | None

    def done(self) -> bool:
        """Return whether the logits are ready."""
        return bool(self.request.wait_for(0))

    def result(self) -> Logits:
        """Wait for the logits, return a copy, and return the request for reuse."""
        self.request.wait()
        logits: Logits = np.array(self.request.get_output_tensor(0).data[0])
        if self.known_threshold is not None:
            logits = np.append(logits, self.request.get_output_tensor(1).data - np.float32(self.known_threshold))
        self.give_back(self.request)
        return logits


def _effective_precision(compiled: Any, device: str) -> str:  # noqa: ANN401 - ov.CompiledModel, which has no stub
    """Return the precision that a device computes the model in."""
    try:
        return precision_name(compiled.get_property("INFERENCE_PRECISION_HINT"))
    except RuntimeError:
        # A meta device knows only the precision of each of its devices.
        precision = compiled.get_property("DEVICE_PROPERTIES").get(device, {}).get("INFERENCE_PRECISION_HINT")
        return "unknown" if precision is None else precision_name(precision)
