"""What the report shows beside the rows: per-class F1, confusions, and the images where two models differ."""

from dataclasses import dataclass

import numpy as np

from overfly.benchmarks.results.records import OK, Report
from overfly.runtime.evaluation.metrics import ClassCounts, Confusion, confusion_matrix, f1_per_class


@dataclass(frozen=True, slots=True)
class ClassScore:
    """A class, how many judged images it has, and its F1 by the baseline and by the contender (None: no such row)."""

    name: str
    n_images: int
    baseline: float | None
    compared_row: float | None


@dataclass(frozen=True, slots=True)
class Difference:
    """An image with two answers, as class names."""

    image: str
    truth: str
    baseline: str
    compared_row: str

    @property
    def outcome(self) -> str:
        """Who is right: ``lost`` when only the baseline is, ``gained`` when only the contender is, else ``neither``."""
        if self.baseline == self.truth:
            return "lost"
        return "gained" if self.compared_row == self.truth else "neither"


def confusion_of(report: Report, index: int | None) -> Confusion | None:
    """Return a row's confusion matrix, rows the truth; None when there is no such row or it failed."""
    if index is None or report.rows[index].status != OK:
        return None
    truth = np.array(report.images.truth, dtype=np.int64)
    predicted = np.array(report.raw[index].predictions, dtype=np.int64)
    return confusion_matrix(truth, predicted, n_classes=len(report.classes))


def class_scores(report: Report) -> list[ClassScore]:
    """Return every class that has judged images, in the order of the classes."""
    counts = np.bincount(np.array(report.images.truth, dtype=np.int64), minlength=len(report.classes))
    columns = [_f1(report, index) for index in (report.baseline, report.compared_row)]
    return [
        ClassScore(name, int(counts[i]), *(None if f1 is None else f1[i] for f1 in columns))
        for i, name in enumerate(report.classes)
        if counts[i]
    ]


def differences(report: Report) -> list[Difference]:
    """Return the images where the contender's answer is not the baseline's; lost ones first, then gained."""
    if report.baseline is None or report.compared_row is None:
        return []
    pairs = zip(report.raw[report.baseline].predictions, report.raw[report.compared_row].predictions, strict=True)
    name = report.classes
    found = [
        Difference(image, name[truth], name[a], name[b])
        for image, truth, (a, b) in zip(report.images.names, report.images.truth, pairs, strict=True)
        if a != b
    ]
    return sorted(found, key=lambda d: ("lost", "gained", "neither").index(d.outcome))


def _f1(report: Report, index: int | None) -> list[float] | None:
    """Return a row's F1 for each class."""
    confusion = confusion_of(report, index)
    return None if confusion is None else [float(value) for value in f1_per_class(ClassCounts.of(confusion))]
