"""Whether probabilities mean what they say: log likelihood, Brier score, calibration error, risk-coverage curve.

Each metric is one function of `Scores` and of how often each image counts, for one set of images or for many resamples.
`PROBABILITY_METRICS` lists the functions by the names that reports use.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.bundle import Logits
from overfly.runtime.evaluation.metrics import Values

# How often each image counts: int64 of shape [..., N]. Each set of images has the same number of them.
Times = npt.NDArray[np.int64]

# As in Guo et al., "On calibration of modern neural networks" (2017).
N_BINS = 15


@dataclass(frozen=True, slots=True)
class Scores:
    """What the metrics need of each image, from the least sure answer to the surest; each of shape ``[N]``.

    Attributes
    ----------
    confidence
        The probability of the most likely class, float64, ascending.
    is_right
        Whether that class is the true one, bool.
    log_loss
        Minus the natural logarithm of the probability of the true class, float64.
    squared_error
        The squared differences between the probabilities and 1 for the true class or 0 for another, summed over the
        classes: float64 in [0, 2].
    """

    confidence: Values
    is_right: npt.NDArray[np.bool_]
    log_loss: Values
    squared_error: Values

    @classmethod
    def of(cls, logits: Logits, truth: npt.NDArray[np.integer]) -> "Scores":
        """Return the scores of logits.

        Parameters
        ----------
        logits
            float32, shape ``[N, n_classes]``, at least one image.
        truth
            Class indices, integers of shape ``[N]``.
        """
        log_probabilities = log_softmax(logits)
        probabilities = np.exp(log_probabilities)
        images = np.arange(len(truth))
        expected = np.zeros_like(probabilities)
        expected[images, truth] = 1
        order = np.argsort(probabilities.max(axis=1), kind="stable")
        return cls(
            confidence=probabilities.max(axis=1)[order],
            is_right=(logits.argmax(axis=1) == truth)[order],
            log_loss=-log_probabilities[images, truth][order],
            squared_error=((probabilities - expected) ** 2).sum(axis=1)[order],
        )

    @property
    def once(self) -> Times:
        """Each image once, shape ``[N]``."""
        return np.ones(len(self.confidence), dtype=np.int64)


def log_softmax(logits: Logits) -> Values:
    """Return the natural logarithms of the probabilities along the last axis, float64 of the same shape."""
    shifted = logits.astype(np.float64)
    shifted -= shifted.max(axis=-1, keepdims=True)
    values: Values = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return values


def nll(scores: Scores, times: Times) -> Values:
    """Return the mean negative log likelihood of the true classes in nats, float64 of shape ``[...]``."""
    values: Values = (times @ scores.log_loss) / times.sum(axis=-1)
    return values


def brier(scores: Scores, times: Times) -> Values:
    """Return the Brier score over all classes (Brier, 1950), float64 of shape ``[...]`` in [0, 2]; 0 is perfect."""
    values: Values = (times @ scores.squared_error) / times.sum(axis=-1)
    return values


def ece(scores: Scores, times: Times) -> Values:
    """Return the expected calibration error of the most likely class, float64 of shape ``[...]`` in [0, 1].

    It is the mean over the images of ``|accuracy - mean confidence|`` of their bin: `N_BINS` bins with the same number
    of images each (`confidence_bins`). It is 0 only if the two are equal in every bin, so chance makes it positive
    even if the probabilities are right: `ece_if_calibrated` computes by how much.
    """
    return _binned_error(confidence_bins(scores, times), times * (scores.is_right - scores.confidence), times)


PROBABILITY_METRICS: dict[str, Callable[[Scores, Times], Values]] = {"nll": nll, "brier": brier, "ece": ece}
PROBABILITY_TITLES = {"nll": "NLL", "brier": "Brier", "ece": "ECE"}


def confidence_bins(scores: Scores, times: Times) -> npt.NDArray[np.int64]:
    """Return the bin of each image, int64 of shape ``[..., N]``, from 0 for the least sure to ``N_BINS - 1``.

    It is the share of the images that are less sure, in fifteenths, rounded down. So the bins have the same number of
    images, up to one, and images of the same confidence share a bin.
    """
    less_sure = np.cumsum(times, axis=-1) - times
    first_equal = np.searchsorted(scores.confidence, scores.confidence, side="left")
    bins = N_BINS * less_sure[..., first_equal] // times.sum(axis=-1, keepdims=True)
    # All others are less sure than an image that is surest and counts 0 times.
    clipped: npt.NDArray[np.int64] = np.minimum(bins, N_BINS - 1)
    return clipped


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The images of a bin: their mean confidence, the number of them, and how many are right."""

    confidence: float
    n_images: int
    n_right: int

    @property
    def accuracy(self) -> float:
        """The share that is right."""
        return self.n_right / self.n_images

    @property
    def ci95(self) -> tuple[float, float]:
        """The 95% interval of the accuracy by E. B. Wilson (1927), which has a width also if all are right."""
        z, n, share = 1.959964, self.n_images, self.accuracy
        middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
        return max(0.0, middle - half), min(1.0, middle + half)


def reliability(scores: Scores) -> list[ReliabilityBin]:
    """Return the bins of `ece` that have images, from the least sure to the surest."""
    bins = confidence_bins(scores, scores.once)
    return [
        ReliabilityBin(float(scores.confidence[same].mean()), int(same.sum()), int(scores.is_right[same].sum()))
        for same in (bins == number for number in np.unique(bins))
    ]


def ece_if_calibrated(scores: Scores, *, seed: int = 0, n_draws: int) -> Values:
    """Return what `ece` would be if the probabilities were right: its own bias, and how far chance changes it.

    Each draw keeps the confidences and decides anew which answers are right: each with its confidence as the
    probability. The mean of the draws is the bias of the estimator for this number of images and these confidences.

    Returns
    -------
    ndarray
        float64, shape ``[n_draws]``.
    """
    generator = np.random.default_rng(seed)
    bins, n_images = confidence_bins(scores, scores.once), len(scores.confidence)
    values = []
    for n in chunks(n_draws, n_images):
        is_right = generator.random((n, n_images)) < scores.confidence
        times = np.broadcast_to(scores.once, is_right.shape)
        values.append(_binned_error(np.broadcast_to(bins, is_right.shape), is_right - scores.confidence, times))
    return np.concatenate(values)


def chunks(n_draws: int, n_images: int) -> Iterator[int]:
    """Yield numbers of draws, in sum `n_draws`, each small enough for arrays of ``[draws, n_images]`` in memory."""
    largest = max(1, (1 << 20) // n_images)
    yield from (min(largest, n_draws - done) for done in range(0, n_draws, largest))


def risk_coverage(scores: Scores) -> tuple[Values, Values]:
    """Return the accuracy of the surest answers if the others are left to a person.

    There is a point for each threshold of the confidence that separates images. This is one minus the risk of the
    risk-coverage curve (El-Yaniv and Wiener, "On the foundations of noise-free selective classification", 2010).

    Returns
    -------
    tuple
        The share of the images that are left to a person, ascending from 0, and the accuracy of the others; float64 of
        the same shape.
    """
    n_images = len(scores.confidence)
    first_of_equals = np.flatnonzero(np.diff(scores.confidence, prepend=-1.0) > 0)
    n_right = np.cumsum(scores.is_right[::-1])[::-1]
    return first_of_equals / n_images, n_right[first_of_equals] / (n_images - first_of_equals)


def _binned_error(bins: npt.NDArray[np.int64], deviations: Values, times: Times) -> Values:
    """Return the sum over the bins of the absolute sum of deviations, per image; all arguments are ``[..., N]``."""
    n_images = times.shape[-1]
    rows = bins.reshape(-1, n_images) + N_BINS * np.arange(bins.size // n_images)[:, np.newaxis]
    sums = np.bincount(rows.ravel(), deviations.ravel(), minlength=N_BINS * len(rows)).reshape(*bins.shape[:-1], N_BINS)
    values: Values = np.abs(sums).sum(axis=-1) / times.sum(axis=-1)
    return values
