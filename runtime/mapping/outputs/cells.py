"""The class of each cell, decided from its probabilities, and its statistics."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overfly.runtime.mapping.record import ClassFigures
from overfly.runtime.mapping.sums import NO_DATA, ONE, Quantized


@dataclass(frozen=True, slots=True)
class MapCells:
    """The classes of a map's cells.

    Attributes
    ----------
    indices
        int32, shape ``[n_rows, n_columns]``: the index of the class, -1 in empty cells.
    confidence
        uint16, same shape: the probability of that class from 0 to `ONE`; `NO_DATA` in empty cells.
    areas
        float64, same shape: the area of each cell in square meters.
    """

    indices: npt.NDArray[np.int32]
    confidence: Quantized
    areas: npt.NDArray[np.float64]

    def figures(self, classes: tuple[str, ...]) -> tuple[ClassFigures, ...]:
        """Return the row of ``areas.csv`` for each class."""
        filled = self.indices >= 0
        indices = self.indices[filled]
        counts, areas, confidences = (
            np.bincount(indices, weights, minlength=len(classes))
            for weights in (None, self.areas[filled], self.confidence[filled] / ONE)
        )
        return tuple(
            ClassFigures(
                name=name,
                cells=int(count),
                area_m2=float(area),
                mean_probability=float(confidence / count) if count else None,
            )
            for name, count, area, confidence in zip(classes, counts, areas, confidences, strict=True)
        )


def decide(
    probabilities: Quantized,
    areas: npt.NDArray[np.float64],
    *,
    min_probability: float,
    inside: npt.NDArray[np.bool_] | None,
    unknown: bool = False,
) -> MapCells:
    """Give each cell its most likely class.

    Parameters
    ----------
    probabilities
        uint16, shape ``[n_rows, n_columns, n_values]``; see `overfly.runtime.mapping.sums`.
    areas
        The area of each cell in square meters.
    min_probability
        Cells whose class has a lower probability are empty.
    inside
        bool, shape ``[n_rows, n_columns]``: the cells that the map is limited to; None for all.
    unknown
        Whether the last value of a cell is the share of its windows that are known. A cell of which less than half are
        known gets the index after those of the classes, and the share of the others is its confidence.
    """
    n_classes = probabilities.shape[2] - unknown
    highest = probabilities[..., :n_classes].max(axis=2)
    best = probabilities[..., :n_classes].argmax(axis=2)
    filled = (highest != NO_DATA) & (highest >= min_probability * ONE)
    if unknown:
        known = probabilities[..., n_classes]
        strange = (highest != NO_DATA) & (known < ONE // 2)
        filled |= strange
        best, highest = np.where(strange, n_classes, best), np.where(strange, ONE - known, highest)
    if inside is not None:
        filled &= inside
    indices = np.where(filled, best, -1).astype(np.int32)
    return MapCells(indices, np.where(filled, highest, NO_DATA).astype(np.uint16), areas)
