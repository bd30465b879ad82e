"""The Python door: images or arrays in, labels out."""

import logging
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.errors import ImageError
from overfly.runtime.evaluation.recommendation import SavedRecommendation, load_recommendation
from overfly.runtime.images.reading import ImageBatch, load_image, resize_pixels
from overfly.runtime.inference.compile import Hint, compile_variant
from overfly.runtime.inference.pipeline import Completed, Pending, ordered_results
from overfly.runtime.inference.runner import Logits, Runner
from overfly.runtime.machine import decoding_threads

# A path, or uint8 RGB pixels of shape [height, width, 3].
ImageSource = str | os.PathLike[str] | ImageBatch

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The answer for one image: classes and probabilities in [0, 1], most likely first."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.labels[0]


@dataclass(frozen=True, slots=True)
class Classifier(AbstractContextManager["Classifier"]):
    """A bundle's variant on a device, with the bundle's class names; may be used from several threads.

    Attributes
    ----------
    followed
        What the bench found best on this machine, if that decided the variant or the device.

    Examples
    --------
    >>> from overfly.runtime import Classifier
    >>> with Classifier.from_bundle("bundle", device="CPU", variant="fp32") as classifier:
    ...     prediction = classifier.predict(["harbor.png"])[0]
    >>> prediction.label in classifier.classes
    True
    """

    classes: tuple[str, ...]
    size: int
    runner: Runner
    recommendation: SavedRecommendation | None = None

    @classmethod
    def from_bundle(
        cls,
        path: str | os.PathLike[str],
        *,
        device: str = "auto",
        variant: str = "auto",
        execution_precision: str = "auto",
        hint: Hint = "latency",
        cache: bool = True,
        properties: Mapping[str, str] | None = None,
    ) -> "Classifier":
        """Open the bundle at `path` and compile a variant.

        Parameters
        ----------
        path
            The folder, or the .zip, that ``overfly export`` wrote.
        variant
            ``fp32``, ``fp16``, ``int8``, or ``auto``. Where the bench has measured this bundle on this
            machine, ``auto`` for the variant, the device or both is what it found best for the `hint`, as far as
            that agrees with what is named. Otherwise it is the smallest variant in the bundle.
        device, execution_precision, hint, cache, properties
            As `overfly.runtime.inference.runner.compile_variant` takes them; with ``hint="throughput"`` a
            stream of images is done sooner, and each single one later.

        Raises
        ------
        BundleError
            When the bundle or the variant is missing, altered or unreadable.
        DeviceError
            When the device is not there or can't compile the model.
        """
        bundle = Bundle.open(Path(path))
        recommendation = load_recommendation(bundle) if cache and "auto" in {variant, device} else None
        best = None if recommendation is None else recommendation.deployment(variant=variant, device=device, hint=hint)
        if best is not None:
            variant, device = best.variant, best.device
        runner = compile_variant(
            bundle,
            variant=bundle.smallest_variant() if variant == "auto" else variant,
            device=device,
            execution_precision=execution_precision,
            hint=hint,
            cache=cache,
            properties=properties,
        )
        _LOGGER.info("running %s on %s (%s)", runner.variant, runner.device, runner.device_name)
        return cls(
            bundle.manifest.classes, bundle.manifest.image.size, runner, None if best is None else recommendation
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back the device's memory; a prediction after this raises ValueError."""
        self.runner.close()

    def predict(self, images: Iterable[ImageSource], *, top_k: int = 1) -> list[Prediction]:
        """Classify images.

        Parameters
        ----------
        images
            Paths, or uint8 arrays of shape ``[height, width, 3]``, RGB, of any size; an array of
            shape ``[N, height, width, 3]`` does as well.
        top_k
            How many classes each prediction holds.

        Raises
        ------
        ImageError
            When an image can't be read.
        TypeError
            When `images` is a single path, or one of them is neither a path nor an array.
        ValueError
            When an array has another shape or dtype, `top_k` is less than 1, or the classifier is closed.
        """
        return list(self.predict_stream(images, top_k=top_k))

    def predict_stream(self, images: Iterable[ImageSource], *, top_k: int = 1) -> Iterator[Prediction]:
        """Classify images one by one, in order; of those ahead only a few are in memory.

        Takes and raises what `predict` does. The next image is asked for when there is room for it. An
        answer is given when it and all before it are there, at the latest when the next image but one is;
        where images come seldom, `predict` of each answers at once.
        """
        return _all_read(self.answers(images, top_k=top_k))

    def answers(
        self, images: Iterable[ImageSource], *, top_k: int = 1
    ) -> Generator[Prediction | ImageError, None, None]:
        """Classify images like `predict_stream`, but give the error of one that can't be read in its place."""
        if isinstance(images, str | bytes | os.PathLike):
            raise TypeError(f"images is the single path {images!r}, expected several: put it into a list")
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}, expected at least 1")
        return self._answers(images, top_k)

    def _answers(self, images: Iterable[ImageSource], top_k: int) -> Generator[Prediction | ImageError, None, None]:
        """Decode in threads, infer what is decoded, and yield what becomes of each image."""
        n_decoders = decoding_threads()
        with ThreadPoolExecutor(n_decoders, thread_name_prefix="overfly-decode") as pool:
            pixels = ordered_results((self._decode(pool, image) for image in images), 2 * n_decoders)
            for logits in ordered_results(map(self._infer, pixels), self.runner.depth):
                yield logits if isinstance(logits, ImageError) else self._prediction(logits, top_k)

    def _decode(self, pool: ThreadPoolExecutor, image: ImageSource) -> Pending[ImageBatch | ImageError]:
        """Start to turn an image into pixels of shape ``[size, size, 3]``."""
        if isinstance(image, str | os.PathLike):
            return pool.submit(_load, Path(image), self.size)
        return Completed(_fit(image, self.size))

    def _infer(self, pixels: ImageBatch | ImageError) -> Pending[Logits | ImageError]:
        """Start the inference of what could be decoded."""
        return Completed(pixels) if isinstance(pixels, ImageError) else self.runner.start(pixels)

    def _prediction(self, logits: Logits, top_k: int) -> Prediction:
        """Turn one row of logits into the `top_k` most likely classes."""
        probabilities = softmax(logits)
        order = np.argsort(-probabilities, kind="stable")[:top_k]
        return Prediction(tuple(self.classes[i] for i in order), tuple(float(probabilities[i]) for i in order))


def softmax(logits: Logits) -> Logits:
    """Return probabilities along the last axis, float32, computed without overflow."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Logits = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def _load(path: Path, size: int) -> ImageBatch | ImageError:
    """Return a file's pixels, or the error to report in its place."""
    try:
        return load_image(path, size)
    except ImageError as error:
        return error


def _all_read(answers: Generator[Prediction | ImageError, None, None]) -> Iterator[Prediction]:
    """Yield the answers; raise the first error that stands in the place of one."""
    with closing(answers):
        for answer in answers:
            if isinstance(answer, ImageError):
                raise answer
            yield answer


def _fit(image: npt.NDArray[Any], size: int) -> ImageBatch:
    """Return an array's pixels at the model's size."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image is a {type(image).__name__}, expected a path or a uint8 array")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:  # noqa: PLR2004 - RGB
        raise ValueError(f"the array is {image.dtype} {list(image.shape)}, expected uint8 [height, width, 3]")
    fitted = resize_pixels(image, size)
    # The caller may write into its array when the next one is asked for, and this one may still wait for its turn.
    return fitted.copy() if fitted is image else fitted
