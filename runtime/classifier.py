"""The Python API: classify images with a variant of a bundle."""

import logging
import os
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.bundle import Bundle, Logits
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.errors import ImageError
from overfly.runtime.evaluation.recommendation import SavedRecommendation, load_recommendation
from overfly.runtime.images.reading import ImageBatch, ImageReader
from overfly.runtime.inference.compile import Hint, compile_variant
from overfly.runtime.inference.pipeline import Completed, Pending, ThreadPool, ordered_results
from overfly.runtime.inference.runner import Runner
from overfly.runtime.machine import decoding_threads

# A path, or uint8 RGB pixels of shape [height, width, 3].
ImageLike = str | os.PathLike[str] | ImageBatch

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Prediction:
    """The most likely classes of one image and their probabilities in [0, 1], most likely first.

    Attributes
    ----------
    labels, probabilities
        The classes.
    known
        Whether the image looks like those that the model was trained on; None if the bundle has no known score.
    """

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    known: bool | None = None

    @property
    def label(self) -> str:
        """The most likely class."""
        return self.labels[0]


@dataclass(frozen=True, slots=True)
class Classifier(AbstractContextManager["Classifier"]):
    """A variant of a bundle, compiled for a device. Several threads may use it at once.

    Attributes
    ----------
    classes
        Names of the classes, in the order of the logits.
    reader
        Reads and resizes image files.
    runner
        The compiled model.
    recommendation
        The bench's recommendation, if it decided the variant or the device.

    Examples
    --------
    >>> from overfly.runtime import Classifier
    >>> with Classifier.from_bundle("bundle", device="CPU", variant="fp32") as classifier:
    ...     prediction = classifier.predict(["harbor.png"])[0]
    >>> prediction.label in classifier.classes
    True
    """

    classes: tuple[str, ...]
    reader: ImageReader
    runner: Runner
    recommendation: SavedRecommendation | None = None

    @classmethod
    def from_bundle(
        cls,
        bundle: str | os.PathLike[str] | Bundle,
        *,
        device: str = "auto",
        variant: str = "auto",
        execution_precision: str = "auto",
        hint: Hint = "latency",
        cache: bool = True,
        properties: Mapping[str, str] | None = None,
    ) -> "Classifier":
        """Compile a variant of a bundle.

        Parameters
        ----------
        bundle
            The folder or the .zip that ``overfly export`` wrote, or a bundle that is open.
        variant
            ``fp32``, ``fp16``, ``int8`` or ``auto``. If the bench has measured this bundle on this machine, ``auto``
            for the variant, the device or both takes its recommendation for the `hint`, unless that contradicts the
            other one. Otherwise ``auto`` takes the smallest variant in the bundle.
        device, execution_precision, hint, cache, properties
            See `overfly.runtime.inference.compile.compile_variant`. With ``hint="throughput"`` a stream of images is
            finished sooner, but each single image later.

        Raises
        ------
        BundleError
            If the bundle or the variant is missing, altered or unreadable.
        DeviceError
            If the device is absent or can't compile the model.
        ValueError
            If `execution_precision` or `hint` is unknown.
        """
        if not isinstance(bundle, Bundle):
            bundle = Bundle.open(Path(bundle))
        recommendation = load_recommendation(bundle) if cache and "auto" in {variant, device} else None
        best = None if recommendation is None else recommendation.deployment(variant=variant, device=device, hint=hint)
        reason = f"asked for variant {variant} on device {device}"
        if recommendation is not None and best is not None:
            variant, device = best.variant, best.device
            reason += f"; the bench recommended it at {recommendation.timestamp}"
        if variant == "auto":
            variant = [name for name in VARIANTS if name in bundle.manifest.variants][-1]
            reason += "; without a recommendation, auto is the variant with the smallest weights"
        runner = compile_variant(
            bundle,
            variant=variant,
            device=device,
            execution_precision=execution_precision,
            hint=hint,
            cache=cache,
            properties=properties,
        )
        _LOGGER.info("running %s on %s (%s): %s", runner.variant, runner.device, runner.device_name, reason)
        return cls(
            bundle.manifest.classes, bundle.manifest.image.reader(), runner, None if best is None else recommendation
        )

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the device's memory; a prediction after this raises ValueError."""
        self.runner.close()

    def predict(self, images: Iterable[ImageLike], *, top_k: int = 1) -> list[Prediction]:
        """Classify images.

        Parameters
        ----------
        images
            Paths, or uint8 RGB arrays of shape ``[height, width, 3]`` and any size. One array of shape
            ``[N, height, width, 3]`` is N images.
        top_k
            Number of classes in each prediction, at least 1.

        Returns
        -------
        list of Prediction
            One for each image, in the same order.

        Raises
        ------
        ImageError
            If an image can't be read.
        TypeError
            If `images` is a single path, or one of them is neither a path nor an array.
        ValueError
            If an array has another shape or dtype, `top_k` is less than 1, or the classifier is closed.
        """
        return list(self.predict_stream(images, top_k=top_k))

    def predict_stream(self, images: Iterable[ImageLike], *, top_k: int = 1) -> Iterator[Prediction]:
        """Classify a stream of images, in order, with only a few of them in memory.

        Parameters and errors are those of `predict`. The next images are read from `images` while earlier ones are
        inferred, so a prediction may be yielded only after later images were read. If images arrive slowly, call
        `predict` for each instead.

        Yields
        ------
        Prediction
            One for each image, in the same order.
        """
        return _all_read(self.answers(images, top_k=top_k))

    def answers(self, images: Iterable[ImageLike], *, top_k: int = 1) -> Generator[Prediction | ImageError, None, None]:
        """Classify images like `predict_stream`, but yield the error in place of an image that can't be read."""
        if isinstance(images, str | bytes | os.PathLike):
            raise TypeError(f"images is the single path {images!r}, expected several: put it into a list")
        if top_k < 1:
            raise ValueError(f"top_k is {top_k}, expected at least 1")
        return self._answers(images, top_k)

    def _answers(self, images: Iterable[ImageLike], top_k: int) -> Generator[Prediction | ImageError, None, None]:
        """Decode images in threads, infer them, and yield a prediction or an error for each."""
        has_score = self.runner.known_threshold is not None
        # To hand a single image to another thread takes as long as its decoding.
        is_alone = isinstance(images, Sequence | np.ndarray) and len(images) <= 1
        with ThreadPool(0 if is_alone else decoding_threads()) as pool:
            pixels = ordered_results((self._decode(pool, image) for image in images), pool.depth)
            started: Iterable[Pending[Logits | ImageError]] = (
                Completed(p) if isinstance(p, ImageError) else self.runner.start(p, known_margin=has_score)
                for p in pixels
            )
            for logits in ordered_results(started, self.runner.depth):
                yield logits if isinstance(logits, ImageError) else self._prediction(logits, top_k)

    def _decode(self, pool: ThreadPool, image: ImageLike) -> Pending[ImageBatch | ImageError]:
        """Start to turn an image into pixels of shape ``[size, size, 3]``."""
        if isinstance(image, str | os.PathLike):
            return pool.submit(_load, Path(image), self.reader)
        return Completed(_fit(image, self.reader))

    def _prediction(self, row: Logits, top_k: int) -> Prediction:
        """Turn the logits of an image, and the margin of its known score, into the `top_k` most likely classes."""
        logits, margin = row[: len(self.classes)], row[len(self.classes) :]
        probabilities = softmax(logits)
        order = np.argsort(-probabilities, kind="stable")[:top_k]
        return Prediction(
            tuple(self.classes[i] for i in order),
            tuple(float(probabilities[i]) for i in order),
            known=bool(margin[0] >= 0) if len(margin) else None,
        )


def softmax(logits: Logits) -> Logits:
    """Return the probabilities along the last axis, float32 of the same shape, computed without overflow."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Logits = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def _load(path: Path, reader: ImageReader) -> ImageBatch | ImageError:
    """Return a file's pixels, or the error if it can't be read."""
    try:
        return reader.read(path)
    except ImageError as error:
        return error


def _all_read(answers: Generator[Prediction | ImageError, None, None]) -> Iterator[Prediction]:
    """Yield the predictions; raise the first error among them."""
    with closing(answers):
        for answer in answers:
            if isinstance(answer, ImageError):
                raise answer
            yield answer


def _fit(image: npt.NDArray[Any], reader: ImageReader) -> ImageBatch:
    """Return an array's pixels, resized for the model, in memory of their own."""
    if not isinstance(image, np.ndarray):
        raise TypeError(f"an image is a {type(image).__name__}, expected a path or a uint8 array")
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:  # noqa: PLR2004 - RGB
        raise ValueError(f"the array is {image.dtype} {list(image.shape)}, expected uint8 [height, width, 3]")
    fitted = reader.fit(image)
    # The caller may overwrite its array before this image is inferred.
    return fitted.copy() if fitted is image else fitted
