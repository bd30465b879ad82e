"""Per-class F1, confusion matrices, and the images that two rows classify differently."""

from dataclasses import dataclass

import numpy as np

from overfly.benchmarks.results.records import Report
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
class Disagreement:
    """An image that the baseline and the compared row classify differently. All but the image's name are class names.

    Attributes
    ----------
    image
        Path of the image, relative to the data folder.
    """

    image: str
    truth: str
    baseline: str
    compared_row: str

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


def disagreements(report: Report) -> list[Disagreement]:
    """Return the images that the compared row classifies differently from the baseline: lost, gained, then neither."""
    if report.baseline is None or report.compared_row is None:
        return []
    baseline, compared = (report.rows[i].measurements for i in (report.baseline, report.compared_row))
    if baseline is None or compared is None:
        return []
    name = report.classes
    found = [
        Disagreement(image, name[truth], name[a], name[b])
        for image, truth, a, b in zip(
            report.images.names, report.images.truth, baseline.predictions, compared.predictions, strict=True
        )
        if a != b
    ]
    return sorted(found, key=lambda image: ("lost", "gained", "neither").index(image.outcome))
