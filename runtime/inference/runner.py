"""A compiled model at work: uint8 images in, logits out, several images in flight."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.devices import (
    full_name,
    precision_name,
)
from overfly.runtime.inference.pipeline import Pending, ordered_results

Logits = npt.NDArray[np.float32]


class Runner:
    """A compiled model that takes one image at a time, several of them in flight, from any thread.

    `overfly.runtime.inference.compile` makes one.

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


def _effective_precision(compiled: Any, device: str) -> str:  # noqa: ANN401 - ov.CompiledModel, which has no stub
    """Return what a device computes the model in."""
    try:
        return precision_name(compiled.get_property("INFERENCE_PRECISION_HINT"))
    except RuntimeError:
        # OpenVINO's meta devices know only what each of their devices does.
        of_device = compiled.get_property("DEVICE_PROPERTIES").get(device, {})
        precision = of_device.get("INFERENCE_PRECISION_HINT")
        return "unknown" if precision is None else precision_name(precision)
