"""The Python door: pictures or arrays in, labels out."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from overfly.runtime.bundle import Bundle
from overfly.runtime.errors import ImageError
from overfly.runtime.images import ImageBatch, load_image
from overfly.runtime.runner import Logits, Runner, compile_variant


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
class Classifier:
    """A bundle's variant on a device, with the bundle's class names.

    Examples
    --------
    >>> classifier = Classifier.from_bundle(Path("bundle"), device="CPU", variant="int8")
    >>> classifier.predict([Path("scene.jpg")])[0].label
    'harbor'
    """

    classes: tuple[str, ...]
    size: int
    runner: Runner

    @classmethod
    def from_bundle(
        cls, path: Path, *, device: str = "auto", variant: str = "int8", execution_precision: str = "auto"
    ) -> "Classifier":
        """Open the bundle in the folder `path` and compile a variant; see `compile_variant`."""
        bundle = Bundle.open(path)
        runner = compile_variant(bundle, variant=variant, device=device, execution_precision=execution_precision)
        return cls(bundle.manifest.classes, bundle.manifest.image.size, runner)

    def predict(self, images: Sequence[Path | ImageBatch], *, top_k: int = 1) -> list[Prediction]:
        """Classify images.

        Parameters
        ----------
        images
            Paths, or uint8 arrays of shape ``[size, size, 3]``, RGB.
        top_k
            How many classes each prediction holds.

        Raises
        ------
        ImageError
            When a picture can't be read.
        ValueError
            When an array has another shape or dtype.
        """
        return list(self.predict_stream(images, top_k=top_k))

    def predict_stream(self, images: Iterable[Path | ImageBatch], *, top_k: int = 1) -> Iterator[Prediction]:
        """Classify images one by one, in order, without holding them all in memory."""
        for logits in self.runner.stream(self._pixels(image) for image in images):
            yield self._prediction(logits, top_k)

    def _pixels(self, image: Path | ImageBatch) -> ImageBatch:
        """Return uint8 pixels of shape ``[size, size, 3]``."""
        if isinstance(image, Path):
            return load_image(image, self.size)
        if image.dtype != np.uint8 or image.shape != (self.size, self.size, 3):
            expected = f"uint8 [{self.size}, {self.size}, 3]"
            raise ValueError(f"the array is {image.dtype} {list(image.shape)}, expected {expected}")
        return image

    def _prediction(self, logits: Logits, top_k: int) -> Prediction:
        """Turn one row of logits into the `top_k` most likely classes."""
        probabilities = softmax(logits)
        order = np.argsort(-probabilities, kind="stable")[:top_k]
        return Prediction(tuple(self.classes[i] for i in order), tuple(float(probabilities[i]) for i in order))


@dataclass(frozen=True, slots=True)
class FileResult:
    """The answer for one file: a prediction, or the sentence that says why there is none."""

    path: Path
    prediction: Prediction | None
    error: str | None


def predict_files(classifier: Classifier, paths: Iterable[Path], *, top_k: int = 1) -> Iterator[FileResult]:
    """Classify files in order; one that can't be read gives an error and the rest goes on."""
    read: deque[tuple[Path, str | None]] = deque()

    def readable() -> Iterator[ImageBatch]:
        for path in paths:
            try:
                pixels = load_image(path, classifier.size)
            except ImageError as error:
                read.append((path, str(error)))
                continue
            read.append((path, None))
            yield pixels

    def unreadable() -> Iterator[FileResult]:
        while read and read[0][1] is not None:
            yield FileResult(read[0][0], None, read.popleft()[1])

    for prediction in classifier.predict_stream(readable(), top_k=top_k):
        yield from unreadable()
        yield FileResult(read.popleft()[0], prediction, None)
    yield from unreadable()


def softmax(logits: Logits) -> Logits:
    """Return probabilities along the last axis, float32, computed without overflow."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Logits = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities
