"""Top-1 accuracy, macro F1 and Cohen's kappa from a confusion matrix: the paper's equations 1 to 7.

Each metric is one function of `ClassCounts`, which holds one confusion matrix or many. `METRICS` lists the functions by
the names that `Metrics` uses.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Confusion = npt.NDArray[np.int64]
Counts = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The metrics of one evaluation, as fractions (not percent).

    Attributes
    ----------
    accuracy, f1_macro, kappa
        See the functions of these names.
    n_images
        Number of images that were evaluated.
    """

    accuracy: float
    f1_macro: float
    kappa: float
    n_images: int


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """The counts per class that the metrics need, each int64 of shape ``[..., n_classes]``.

    Attributes
    ----------
    n_true
        Images of the class (the row sums of a confusion matrix).
    n_predicted
        Images predicted as the class (the column sums).
    n_right
        Images of the class predicted as the class (the diagonal).
    """

    n_true: Counts
    n_predicted: Counts
    n_right: Counts

    @classmethod
    def of(cls, confusion: Confusion) -> "ClassCounts":
        """Return the counts of a confusion matrix of shape ``[n_classes, n_classes]``, rows the truth."""
        return cls(confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion))


def confusion_matrix(
    truth: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], *, n_classes: int
) -> Confusion:
    """Count the images by true and predicted class.

    Parameters
    ----------
    truth, predicted
        Class indices in ``[0, n_classes)``, integers of shape ``[N]``.

    Returns
    -------
    ndarray
        int64, shape ``[n_classes, n_classes]``; rows are the truth, columns the prediction.
    """
    flat = truth.astype(np.int64) * n_classes + predicted.astype(np.int64)
    return np.bincount(flat, minlength=n_classes**2).reshape(n_classes, n_classes)


def accuracy(counts: ClassCounts) -> Values:
    """Return the top-1 accuracy, float64 of shape ``[...]`` (equation 6, observed agreement)."""
    values: Values = counts.n_right.sum(axis=-1) / counts.n_true.sum(axis=-1)
    return values


def f1_per_class(counts: ClassCounts) -> Values:
    """Return ``2 TP / (2 TP + FP + FN)`` of each class, float64 of shape ``[..., n_classes]``.

    This is the harmonic mean of precision and recall (equations 1 to 3). As in scikit-learn, it is 0 for a class that
    is neither present nor predicted.
    """
    total = counts.n_true + counts.n_predicted
    f1: Values = np.divide(2 * counts.n_right, total, out=np.zeros(total.shape), where=total > 0)
    return f1


def f1_macro(counts: ClassCounts) -> Values:
    """Return the mean F1 over the classes that are present or predicted, float64 of shape ``[...]``."""
    n_seen = (counts.n_true + counts.n_predicted > 0).sum(axis=-1)
    values: Values = f1_per_class(counts).sum(axis=-1) / n_seen
    return values


def kappa(counts: ClassCounts) -> Values:
    """Return Cohen's kappa, float64 of shape ``[...]`` (equations 5 to 7).

    Kappa is not defined when truth and prediction are one and the same single class, because the agreement by chance is
    then 1. It is taken as 1 there, because all predictions are right.
    """
    observed = accuracy(counts)
    chance = (counts.n_true * counts.n_predicted).sum(axis=-1) / counts.n_true.sum(axis=-1) ** 2
    values: Values = np.divide(observed - chance, 1 - chance, out=np.ones(chance.shape), where=chance < 1)
    return values


METRICS: dict[str, Callable[[ClassCounts], Values]] = {"accuracy": accuracy, "f1_macro": f1_macro, "kappa": kappa}
TITLES = {"accuracy": "accuracy", "f1_macro": "macro F1", "kappa": "kappa"}


def summarize(confusion: Confusion) -> Metrics:
    """Return the metrics of a confusion matrix, int64 of shape ``[n_classes, n_classes]``, rows the truth.

    Raises
    ------
    ValueError
        If the matrix counts no image.
    """
    n_images = int(confusion.sum())
    if n_images == 0:
        raise ValueError("the confusion matrix counts 0 images, expected at least 1")
    counts = ClassCounts.of(confusion)
    return Metrics(n_images=n_images, **{name: float(metric(counts)) for name, metric in METRICS.items()})


def most_confused(confusion: Confusion, classes: Sequence[str], *, n_pairs: int = 3) -> list[tuple[str, str, int]]:
    """Return the pairs (true class, predicted class, images) with the most errors, most first, none with 0."""
    errors = confusion.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:n_pairs]
    pairs = [(int(i) // len(classes), int(i) % len(classes)) for i in order]
    return [(classes[t], classes[p], int(errors[t, p])) for t, p in pairs if errors[t, p] > 0]
