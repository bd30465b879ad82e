"""Per-class F1, confusion matrices, and images: classified differently by two rows, or wrong and sure."""

from dataclasses import dataclass

import numpy as np

from overfly.benchmarks.results.packed import unpack_rows
from overfly.benchmarks.results.records import Report
from overfly.benchmarks.results.row_records import Measurements
from overfly.runtime.evaluation.calibration import Scores, log_softmax
from overfly.runtime.evaluation.metrics import ClassCounts, Confusion, confusion_matrix, f1_per_class, most_confused


@dataclass(frozen=True, slots=True)
class ClassScore:
    """The F1 of one class.

    Attributes
    ----------
    name
        The class.
    n_images
        How many evaluated images have this class.
    baseline, compared_row
        Its F1 in the baseline and in the row that is compared with it; None if there is no such row.
    """

    name: str
    n_images: int
    baseline: float | None
    compared_row: float | None


@dataclass(frozen=True, slots=True)
class ImageAnswers:
    """What the baseline and the compared row say of an image.

    Attributes
    ----------
    index
        Index of the image.
    image
        Path of the image, relative to the data folder.
    truth, baseline, compared_row
        The true class, and the classes that the two rows take it for.
    baseline_probability, compared_row_probability
        The probabilities that they give these classes.
    """

    index: int
    image: str
    truth: str
    baseline: str
    compared_row: str
    baseline_probability: float
    compared_row_probability: float

    @property
    def outcome(self) -> str:
        """``lost`` if only the baseline is right, ``gained`` if only the compared row is right, else ``neither``."""
        if self.baseline == self.truth:
            return "lost"
        return "gained" if self.compared_row == self.truth else "neither"


def confusion_of(report: Report, index: int | None) -> Confusion | None:
    """Return a row's confusion matrix, rows the truth; None if there is no such row, or if it failed."""
    measurements = None if index is None else report.rows[index].measurements
    if measurements is None:
        return None
    truth = np.array(report.images.truth, dtype=np.int64)
    predicted = np.array(measurements.predictions, dtype=np.int64)
    return confusion_matrix(truth, predicted, n_classes=len(report.classes))


def frequent_errors(report: Report, index: int, *, n_pairs: int) -> list[tuple[str, str, int]]:
    """Return a row's most frequent errors: true class, predicted class, number of images; none if the row failed."""
    confusion = confusion_of(report, index)
    return [] if confusion is None else most_confused(confusion, report.classes, n_pairs=n_pairs)


def class_scores(report: Report) -> list[ClassScore]:
    """Return the score of every class that has evaluated images, in the order of the classes."""
    counts = np.bincount(np.array(report.images.truth, dtype=np.int64), minlength=len(report.classes))
    confusions = [confusion_of(report, index) for index in (report.baseline, report.compared_row)]
    columns = [
        None if confusion is None else f1_per_class(ClassCounts.of(confusion)).tolist() for confusion in confusions
    ]
    return [
        ClassScore(name, int(counts[i]), *(None if f1 is None else f1[i] for f1 in columns))
        for i, name in enumerate(report.classes)
        if counts[i]
    ]


def answers(report: Report) -> list[ImageAnswers]:
    """Return the answers for every image; none without a baseline or a row to compare with it."""
    if report.baseline is None or report.compared_row is None:
        return []
    baseline, compared = (report.rows[i].measurements for i in (report.baseline, report.compared_row))
    if baseline is None or compared is None:
        return []
    name, probabilities = report.classes, [_top_probabilities(row) for row in (baseline, compared)]
    return [
        ImageAnswers(index, image, name[truth], name[a], name[b], p, q)
        for index, (image, truth, a, b, p, q) in enumerate(
            zip(
                report.images.names,
                report.images.truth,
                baseline.predictions,
                compared.predictions,
                *probabilities,
                strict=True,
            )
        )
    ]


def disagreements(report: Report) -> list[ImageAnswers]:
    """Return the images that the compared row classifies differently from the baseline: lost, gained, then neither."""
    found = [image for image in answers(report) if image.baseline != image.compared_row]
    return sorted(found, key=lambda image: ("lost", "gained", "neither").index(image.outcome))


def surest_mistakes(report: Report, *, n_images: int) -> list[ImageAnswers]:
    """Return the images that the compared row has wrong, the surest first, at most `n_images` of them."""
    wrong = [image for image in answers(report) if image.compared_row != image.truth]
    return sorted(wrong, key=lambda image: -image.compared_row_probability)[:n_images]


def scores_of(report: Report, index: int) -> Scores | None:
    """Return what the probability metrics need of a row; None if it failed."""
    measurements = report.rows[index].measurements
    if measurements is None:
        return None
    return Scores.of(unpack_rows(measurements.logits), np.array(report.images.truth, dtype=np.int64))


def _top_probabilities(measurements: Measurements) -> list[float]:
    """Return the probability of each image's most likely class."""
    probabilities: list[float] = np.exp(log_softmax(unpack_rows(measurements.logits))).max(axis=1).tolist()
    return probabilities
