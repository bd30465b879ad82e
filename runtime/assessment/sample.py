"""Draw a stratified random sample: cells of each class of a map, at random and without replacement."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from overfly.runtime.assessment.class_map import ClassMap
from overfly.runtime.errors import RasterError

# What a file with a sample calls the names of its cells, and the labels that a person gives them.
ID_COLUMN = "id"
REFERENCE_COLUMN = "reference"

# A variance needs two cells.
MIN_PER_CLASS = 2

# Olofsson et al. 2014, section 5.1.2, give 50 to 100 cells to each rare class.
_ENOUGH_PER_CLASS = 50


@dataclass(frozen=True, slots=True, order=True)
class Cell:
    """A cell of a map: its row and its column, from 0."""

    row: int
    column: int

    def name(self, key: str) -> str:
        """Return the name of the cell on the map with this `ClassMap.key`: no other map has a cell of this name."""
        return f"{key}-{self.row}-{self.column}"


def allocate(cells: npt.NDArray[np.int64], areas: npt.NDArray[np.float64], n_cells: int) -> npt.NDArray[np.int64]:
    """Divide a sample among the classes.

    Olofsson et al. 2014, section 5.1.2, advise a compromise between equal shares, which are good for the accuracy of
    each class, and shares by area, which are good for areas and the overall accuracy: each class gets a minimum, and
    the rest is divided by area. The minimum is 50 cells, or less so that all minimums take half of the sample at most,
    but never less than 2. After that, each cell goes to the class with the largest area for each cell that it has got
    (the method of Webster and Sainte-Lague), as long as the class has cells left.

    Parameters
    ----------
    cells
        int64, shape ``[n_classes]``: number of cells of each class.
    areas
        float64, shape ``[n_classes]``: area of each class.
    n_cells
        Size of the sample.

    Returns
    -------
    ndarray
        int64, shape ``[n_classes]``: how many cells to draw from each class; the sum is `n_cells`.

    Raises
    ------
    ValueError
        If the sample is too small for two cells of each class, or larger than the map.
    """
    n_classes = int(np.count_nonzero(cells))
    lowest = int(np.minimum(cells, MIN_PER_CLASS).sum())
    if not lowest <= n_cells <= cells.sum():
        raise ValueError(f"a sample of {n_cells} cells, expected {lowest} to {cells.sum()}")
    minimum = max(MIN_PER_CLASS, min(_ENOUGH_PER_CLASS, n_cells // (2 * n_classes)))
    drawn: npt.NDArray[np.int64] = np.minimum(cells, minimum)
    for _ in range(n_cells - int(drawn.sum())):
        drawn[np.argmax(np.where(drawn < cells, areas / (drawn + 0.5), -1.0))] += 1
    return drawn


def draw_sample(class_map: ClassMap, n_cells: int, *, seed: int = 0) -> list[Cell]:
    """Draw a stratified random sample of the cells of a map.

    Parameters
    ----------
    class_map
        The map; each class with cells is a stratum.
    n_cells
        Size of the sample; see `allocate`.
    seed
        The same seed gives the same sample of the same map.

    Returns
    -------
    list of Cell
        In random order, so that the order says nothing about the class.

    Raises
    ------
    RasterError
        If the sample is too small for two cells of each class, or larger than the map.
    """
    try:
        drawn = allocate(class_map.cells, class_map.areas_m2, n_cells)
    except ValueError as error:
        n_classes = int(np.count_nonzero(class_map.cells))
        raise RasterError(
            f"{class_map.folder} can't have {error}: each of its {n_classes} classes needs {MIN_PER_CLASS}, and it has "
            f"{class_map.cells.sum()} in all; choose another number"
        ) from error
    cells: list[Cell] = []
    for index, n_drawn in enumerate(drawn):
        # A class's cells don't depend on how many are drawn from the others.
        rng = np.random.default_rng([seed, index])
        rows, columns = np.nonzero(class_map.indices == index)
        chosen = rng.permutation(len(rows))[:n_drawn]
        cells += [Cell(int(rows[k]), int(columns[k])) for k in chosen]
    order = np.random.default_rng([seed, len(drawn)]).permutation(len(cells))
    return [cells[k] for k in order]
