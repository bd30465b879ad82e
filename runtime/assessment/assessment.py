"""Compare a map with the labels of a sample: its accuracy, and the area that each class has in truth."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from overfly.runtime.assessment.class_map import ClassMap, read_class_map
from overfly.runtime.assessment.estimates import (
    Estimate,
    StratifiedSample,
    area_shares,
    highest_share_unseen,
    overall_accuracy,
    producers_accuracies,
    users_accuracies,
)
from overfly.runtime.assessment.reference import read_reference

ASSESSMENT_SCHEMA = "overfly.assessment/1"

# The estimators take all cells of a class for equally large. Longitude and latitude over many degrees are not.
_MAX_AREA_RATIO = 1.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassAssessment:
    """What a sample says about one class.

    Attributes
    ----------
    name
        Name of the class.
    map_area_m2
        Its area on the map.
    n_map, n_reference
        Number of labeled cells that have the class on the map, and of those that have it as label.
    users_accuracy
        Share of its area on the map that has the class in truth; None if no cell of it is labeled.
    producers_accuracy
        Share of its true area that has the class on the map; None if it is no label, or a class lacks labels.
    area_m2
        Its true area; None if a class lacks labels.
    """

    name: str
    map_area_m2: float
    n_map: int
    n_reference: int
    users_accuracy: Estimate | None
    producers_accuracy: Estimate | None
    area_m2: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What a sample says about a map.

    Attributes
    ----------
    n_labeled, n_blank
        Number of cells with and without a label.
    overall_accuracy
        Share of the area that has the right class; None if a class of the map lacks labels.
    classes
        Each class that has an area on the map or is a label.
    error_matrix
        Number of labeled cells, rows the map, columns the labels; both in the order of `classes`.
    notes
        What the reader of the figures has to know, as sentences.
    """

    n_labeled: int
    n_blank: int
    overall_accuracy: Estimate | None
    classes: tuple[ClassAssessment, ...]
    error_matrix: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...]


def assess(folder: Path, reference: Path) -> Assessment:
    """Estimate the accuracy of a map, and the area of each class, from a labeled sample of its cells.

    Parameters
    ----------
    folder
        Of the map.
    reference
        The file with the labels; see `read_labels`.

    Raises
    ------
    DocumentError
        If ``map.json`` can't be read.
    RasterError
        If the map or the labels can't be used, or do not belong together.
    """
    class_map = read_class_map(folder)
    labels = read_reference(reference, class_map)
    sample = StratifiedSample(labels.counts, class_map.weights, class_map.cells)
    total = float(class_map.areas_m2.sum())
    figures = zip(users_accuracies(sample), producers_accuracies(sample), area_shares(sample), strict=True)
    classes = [
        ClassAssessment(
            name=class_map.classes[k],
            map_area_m2=float(class_map.areas_m2[k]),
            n_map=int(sample.n_labeled[k]),
            n_reference=int(labels.counts[:, k].sum()),
            users_accuracy=users,
            producers_accuracy=producers,
            area_m2=None if share is None else share.times(total),
        )
        for k, (users, producers, share) in enumerate(figures)
    ]
    listed = [k for k, one in enumerate(classes) if class_map.cells[k] or one.n_reference]
    return Assessment(
        n_labeled=int(labels.counts.sum()),
        n_blank=labels.n_blank,
        overall_accuracy=overall_accuracy(sample),
        classes=tuple(classes[k] for k in listed),
        error_matrix=tuple(tuple(int(labels.counts[i, j]) for j in listed) for i in listed),
        notes=tuple(_notes(class_map, sample, labels.n_blank)),
    )


def _notes(class_map: ClassMap, sample: StratifiedSample, n_blank: int) -> list[str]:
    """Return what the reader of the figures has to know."""
    n_labeled, cells = sample.n_labeled, class_map.cells
    notes = []
    if n_blank:
        notes.append(
            f"{n_blank} of {n_blank + n_labeled.sum()} cells have no label and are left out: if they are harder to "
            "tell than the others, the true accuracy is lower"
        )
    if without := _names(class_map, (cells > 0) & (n_labeled == 0)):
        notes.append(
            f"no cell of {without} is labeled, so overall accuracy, producer's accuracies and areas can't be "
            "estimated: label at least two cells of each class"
        )
    if single := _names(class_map, (cells > 1) & (n_labeled == 1)):
        notes.append(
            f"only one cell of {single} is labeled, so its variance is unknown, and figures that depend on it have no "
            "interval: label at least two cells of each class"
        )
    alike = (n_labeled > 1) & (n_labeled < cells) & (sample.counts.max(axis=1) == n_labeled)
    if names := _names(class_map, alike):
        n_fewest = int(n_labeled[alike].min())
        notes.append(
            f"all labeled cells of {names} have the same label, so the intervals leave out that others may differ: "
            f"up to {highest_share_unseen(n_fewest):.0%} of a class may, at 95% confidence, if {n_fewest} cells agree"
        )
    elsewhere = sample.counts.sum(axis=0) - np.diagonal(sample.counts)
    if names := _names(class_map, (np.diagonal(sample.counts) > 0) & (elsewhere == 0) & (n_labeled < cells).any()):
        notes.append(
            f"no cell of another class is labeled {names}, so the interval of the producer's accuracy leaves out that "
            "there may be some: a larger sample can tell"
        )
    if class_map.area_ratio > _MAX_AREA_RATIO:
        notes.append(
            f"the largest cell has {class_map.area_ratio:.2f} times the area of the smallest, and the estimates take "
            "the cells of a class for equally large: use a map in a projection with equal areas"
        )
    return notes


def _names(class_map: ClassMap, chosen: npt.NDArray[np.bool_]) -> str:
    """Return the names of the classes that are chosen by a boolean array, as a list in words."""
    return ", ".join(repr(class_map.classes[k]) for k in np.flatnonzero(chosen))
