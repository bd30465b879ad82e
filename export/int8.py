"""INT8 by NNCF: post-training quantisation, and accuracy control where that loses too much."""

import contextlib
import io
import logging
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from overfly.export.signal_stack import preserve_signal_stack
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.runner import Logits
from overfly.runtime.reporter import Reporter

# The full bias correction takes as long as the fast one and the statistics together, and halves the error of the
# logits: on held-back training scenes 0.12 against 0.24 RMS for a fine-tuned MobileNetV2.
_FAST_BIAS_CORRECTION = False

# What an image's nearness to PyTorch counts at most beside its right answer, 1: two models differ by less than a half.
_NEARNESS = 0.49


@dataclass(frozen=True, slots=True)
class ValidationImages:
    """Images that judge a quantised model before it is signed off; never of the test part.

    Attributes
    ----------
    part
        Which part of the split they are of.
    images
        uint8, shape ``[N, size, size, 3]``.
    labels
        int64, shape ``[N]``.
    logits
        float32, shape ``[N, n_classes]``, of the PyTorch fp32 model.
    """

    part: str
    images: ImageBatch
    labels: npt.NDArray[np.int64]
    logits: Logits

    def n_lost(self, logits: Logits) -> int:
        """Return how many images fewer than the PyTorch model these logits, of all images, have right."""
        pytorch, other = ((of.argmax(axis=1) == self.labels).sum() for of in (self.logits, logits))
        return int(pytorch - other)

    def score(self, index: int, logits: Logits) -> float:
        """Return 1 for a right answer to one image, and on top, less than a half for how near PyTorch's it is.

        The logits have the shape ``[1, n_classes]``.
        """
        reference = self.logits[index]
        distance = float(((logits[0] - reference) ** 2).sum() / (reference**2).sum())
        return float(logits.argmax() == self.labels[index]) + _NEARNESS / (1 + distance)


def quantize(model: Any, images: ImageBatch, reporter: Reporter, *, ignored: Sequence[str] = ()) -> Any:  # noqa: ANN401
    """Return a quantised copy of an OpenVINO model.

    Parameters
    ----------
    model
        An fp32 model that takes uint8 ``[N, size, size, 3]``.
    images
        Calibration images, uint8 of shape ``[N, size, size, 3]``, from the training part only. All are used.
    reporter
        Hears how many of the images were seen.
    ignored
        Names of operations to leave in floating point.
    """
    import nncf

    scope = nncf.IgnoredScope(names=list(ignored)) if ignored else None
    with _nncf_says(None), preserve_signal_stack():
        return nncf.quantize(
            model,
            _dataset(images, partial(reporter.progress, "calibrating")),
            # It counts batches, and ours hold one image each.
            subset_size=len(images),
            fast_bias_correction=_FAST_BIAS_CORRECTION,
            ignored_scope=scope,
            advanced_parameters=_ranges(),
        )


def quantize_within(model: Any, images: ImageBatch, judges: ValidationImages, max_lost: int, reporter: Reporter) -> Any:  # noqa: ANN401
    """Return a quantised copy in which NNCF put layers back to floating point until it loses little enough.

    Layers go one by one, the most helpful first, until at most `max_lost` of the judging images fewer are
    classified rightly than by the model itself.

    Parameters
    ----------
    model, images
        As for `quantize`.
    judges
        What the accuracy is judged by.
    max_lost
        In images.
    reporter
        Hears what NNCF does.
    """
    import nncf

    def validate(compiled: Any, indices: Iterable[int]) -> tuple[float, list[float]]:  # noqa: ANN401 - no stub
        chosen = list(indices)
        scores = []
        for done, index in enumerate(chosen, start=1):
            scores.append(judges.score(index, compiled([judges.images[index : index + 1]])[0]))
            reporter.progress("judging", done, len(chosen))
        # Whole images count; the mean of what is beside them, less than a half, decides between equals. (NNCF can
        # compare logits by itself, but then 3.4 takes the least helpful layer first.)
        return sum(map(math.floor, scores)) + float(np.mean(np.mod(scores, 1))), scores

    with _nncf_says(reporter.note), preserve_signal_stack():
        return nncf.quantize_with_accuracy_control(
            model,
            _dataset(images, partial(reporter.progress, "calibrating")),
            _dataset(judges.images, lambda _done, _total: None),
            validate,
            max_drop=max_lost + 0.5,
            subset_size=len(images),
            fast_bias_correction=_FAST_BIAS_CORRECTION,
            advanced_quantization_parameters=_ranges(),
            # Ranking in several threads at once would need their compiled models in memory at once.
            advanced_accuracy_restorer_parameters=nncf.AdvancedAccuracyRestorerParameters(num_ranking_workers=1),
        )


def _ranges() -> Any:  # noqa: ANN401 - nncf.AdvancedQuantizationParameters
    """Return the choice of activation ranges: from the smallest to the largest value seen in all images.

    On held-back training scenes the logits came nearer to fp32's than with NNCF's own, which average over the
    images: 0.116 against 0.131 RMS at 256 pixels; see ``docs/export.md``.
    """
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    return nncf.AdvancedQuantizationParameters(activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX)


def _dataset(images: ImageBatch, progress: Callable[[int, int], None]) -> Any:  # noqa: ANN401 - nncf.Dataset
    """Return images as NNCF's data set of single ones, which tells how many were seen."""
    import nncf

    seen = 0

    def one_image(index: int) -> ImageBatch:
        nonlocal seen
        seen += 1
        progress(min(seen, len(images)), len(images))
        return images[index : index + 1]

    return nncf.Dataset(range(len(images)), one_image)


class _Told(logging.Handler):
    """Hands on what is logged, each message as one line."""

    def __init__(self, note: Callable[[str], None]) -> None:
        super().__init__()
        self._note = note

    def emit(self, record: logging.LogRecord) -> None:
        """Hand on a message."""
        self._note("NNCF: " + " ".join(record.getMessage().split()))


@contextlib.contextmanager
def _nncf_says(note: Callable[[str], None] | None) -> Iterator[None]:
    """Let NNCF speak to `note` alone: its own messages and bars go to standard output, which belongs to our data."""
    logger = logging.getLogger("nncf")
    handlers, level = logger.handlers[:], logger.level
    logger.handlers = [] if note is None else [_Told(note)]
    logger.setLevel(logging.ERROR if note is None else logging.INFO)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
