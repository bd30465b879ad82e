"""Top-1 accuracy, macro F1 and Cohen's kappa from a confusion matrix: the paper's equations 1 to 7."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Confusion = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Metrics:
    """The figures of one evaluation, as fractions (not percent).

    Attributes
    ----------
    accuracy
        Top-1 accuracy (equation 6, observed agreement).
    f1_macro
        Mean over the classes of the harmonic mean of precision and recall (equations 1 to 3).
    kappa
        Cohen's kappa (equations 5 to 7).
    n_images
        How many images were judged.
    """

    accuracy: float
    f1_macro: float
    kappa: float
    n_images: int


def confusion_matrix(
    truth: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], *, n_classes: int
) -> Confusion:
    """Count the images of each class by the class they were taken for.

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


def f1_per_class(confusion: Confusion) -> npt.NDArray[np.float64]:
    """Return ``2 TP / (2 TP + FP + FN)`` for each class, float64 of shape ``[n_classes]``.

    The same number as the harmonic mean of precision and recall; 0 for a class that is neither
    present nor predicted, as in scikit-learn.
    """
    hits = np.diag(confusion)
    total = confusion.sum(axis=0) + confusion.sum(axis=1)
    f1: npt.NDArray[np.float64] = np.divide(2 * hits, total, out=np.zeros(len(hits)), where=total > 0)
    return f1


def summarize(confusion: Confusion) -> Metrics:
    """Return the metrics of a confusion matrix with at least one image.

    Macro F1 averages over the classes that are present or predicted. Kappa is not defined when
    truth and prediction are one and the same single class (its chance agreement is 1); it is then
    1, as all answers agree.
    """
    n_images = int(confusion.sum())
    if n_images == 0:
        raise ValueError("no image was judged: metrics need at least one")
    observed = float(np.trace(confusion)) / n_images
    chance = float(confusion.sum(axis=0) @ confusion.sum(axis=1)) / n_images**2
    seen = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    kappa = 1.0 if chance == 1 else (observed - chance) / (1 - chance)
    return Metrics(observed, float(f1_per_class(confusion)[seen].mean()), kappa, n_images)


def evaluate(truth: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], *, n_classes: int) -> Metrics:
    """Return the metrics of predicted class indices; both arrays are integers of shape ``[N]``."""
    return summarize(confusion_matrix(truth, predicted, n_classes=n_classes))


def most_confused(confusion: Confusion, classes: Sequence[str], *, n_pairs: int = 3) -> list[tuple[str, str, int]]:
    """Return the pairs (truth, taken for, images) with the most errors, most first, none with 0."""
    errors = confusion.copy()
    np.fill_diagonal(errors, 0)
    order = np.argsort(-errors, axis=None, kind="stable")[:n_pairs]
    pairs = [(int(i) // len(classes), int(i) % len(classes)) for i in order]
    return [(classes[t], classes[p], int(errors[t, p])) for t, p in pairs if errors[t, p] > 0]
