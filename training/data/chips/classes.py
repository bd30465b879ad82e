"""Which class each window of a raster has, by the labels that cover it or are in it."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from overfly.training.data.chips.labels import Labels

# Class numbers of windows without one.
UNLABELED = -1
AMBIGUOUS = -2
# Shares that differ by less are equal: they come from areas.
_ROUNDING = 1e-9
_N_AT_ONCE = 50_000

Integers = npt.NDArray[np.int64]
Windows = npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowClasses:
    """The class of each window.

    Attributes
    ----------
    names
        The classes that occur, sorted.
    numbers
        int64, shape ``[N]``: for each window an index into `names`, `UNLABELED` or `AMBIGUOUS`.
    """

    names: tuple[str, ...]
    numbers: Integers

    def count_dropped(self) -> Counter[str]:
        """Return the number of windows without a class, by the reason."""
        return Counter(
            unlabeled=int(np.count_nonzero(self.numbers == UNLABELED)),
            ambiguous=int(np.count_nonzero(self.numbers == AMBIGUOUS)),
        )


def classify_windows(windows: Windows, labels: Labels, *, min_cover: float) -> WindowClasses:
    """Return the class of each window.

    A window has the class whose polygons cover most of it, if they cover at least `min_cover`; two classes that cover
    the same make it ambiguous. A window without such a class has that of the point in it that is nearest to its center.

    Parameters
    ----------
    windows
        Polygons in the coordinates of the labels, shape ``[N]``.
    labels
        Polygons and points.
    min_cover
        Share of a window's area, above 0, at most 1.
    """
    names = tuple(sorted(set(labels.names)))
    numbers = np.array([names.index(name) for name in labels.names], np.int64)
    is_polygon = shapely.get_type_id(labels.geometries) != shapely.GeometryType.POINT
    found = np.full(len(windows), UNLABELED, np.int64)
    polygons, points = labels.geometries[is_polygon], labels.geometries[~is_polygon]
    for start in range(0, len(windows), _N_AT_ONCE):
        some = windows[start : start + _N_AT_ONCE]
        classes = _by_polygons(some, polygons, numbers[is_polygon], len(names), min_cover)
        is_open = classes == UNLABELED
        classes[is_open] = _by_points(some[is_open], points, numbers[~is_polygon])
        found[start : start + _N_AT_ONCE] = classes
    return WindowClasses(names=names, numbers=found)


def _by_polygons(windows: Windows, polygons: Windows, numbers: Integers, n_classes: int, min_cover: float) -> Integers:
    """Return the class of each window by the polygons that cover it."""
    classes = np.full(len(windows), UNLABELED, np.int64)
    if not len(polygons) or not len(windows):
        return classes
    window, polygon = shapely.STRtree(polygons).query(windows, predicate="intersects")
    order = np.lexsort((numbers[polygon], window))
    window, polygon = window[order], polygon[order]
    groups, starts, sizes = np.unique(window * n_classes + numbers[polygon], return_index=True, return_counts=True)
    parts = shapely.intersection(windows[window], polygons[polygon])
    cover = shapely.area(parts[starts])
    # Polygons of one class may overlap, and count once.
    for group in np.flatnonzero(sizes > 1):
        cover[group] = shapely.area(shapely.union_all(parts[starts[group] : starts[group] + sizes[group]]))
    shares = np.zeros((len(windows), n_classes))
    shares[groups // n_classes, groups % n_classes] = cover
    shares /= shapely.area(windows)[:, np.newaxis]
    best = shares.max(axis=1, keepdims=True)
    is_covered = best[:, 0] >= min_cover - _ROUNDING
    is_tie = np.count_nonzero(shares >= best - _ROUNDING, axis=1) > 1
    return np.where(is_covered, np.where(is_tie, AMBIGUOUS, shares.argmax(axis=1)), classes)


def _by_points(windows: Windows, points: Windows, numbers: Integers) -> Integers:
    """Return the class of each window by the point that is nearest to its center."""
    classes = np.full(len(windows), UNLABELED, np.int64)
    if not len(points) or not len(windows):
        return classes
    window, point = shapely.STRtree(points).query(windows, predicate="intersects")
    distance = shapely.distance(shapely.centroid(windows[window]), points[point])
    # The last one assigned is the nearest.
    for i in np.argsort(-distance, kind="stable"):
        classes[window[i]] = numbers[point[i]]
    return classes
