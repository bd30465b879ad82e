"""A window has the class that covers most of it, or that of the nearest point in it."""

import numpy as np
import pytest
import shapely

from overfly.training.data.chips.classes import AMBIGUOUS, UNLABELED, classify_windows
from overfly.training.data.chips.labels import Labels

WINDOW = shapely.box(0, 0, 10, 10)


def _classify(pairs, windows=(WINDOW,), min_cover=0.5):
    geometries, names = (np.array(values, object) for values in zip(*pairs, strict=True))
    labels = Labels(geometries=geometries, names=names, n_without_class=0, n_without_place=0)
    found = classify_windows(np.array(windows, object), labels, min_cover=min_cover)
    return [found.names[n] if n >= 0 else int(n) for n in found.numbers], found.count_dropped()


@pytest.mark.parametrize(
    ("width", "min_cover", "expected"),
    [(5, 0.5, "a"), (4.9, 0.5, UNLABELED), (4.9, 0.4, "a"), (10, 1.0, "a"), (9.99, 1.0, UNLABELED)],
)
def test_a_polygon_must_cover_enough(width, min_cover, expected):
    assert _classify([(shapely.box(-5, -5, width, 15), "a")], min_cover=min_cover)[0] == [expected]


def test_the_class_that_covers_most_wins():
    assert _classify([(shapely.box(0, 0, 4, 10), "a"), (shapely.box(4, 0, 10, 10), "b")], min_cover=0.3)[0] == ["b"]


def test_parts_of_a_class_add_up_and_an_overlap_counts_once():
    parts = [(shapely.box(0, 0, 3, 10), "a"), (shapely.box(7, 0, 10, 10), "a"), (shapely.box(3, 0, 7, 10), "b")]
    assert _classify(parts)[0] == ["a"]
    twice = [(shapely.box(0, 0, 3, 10), "a"), (shapely.box(0, 0, 4, 10), "a")]
    assert _classify(twice)[0] == [UNLABELED]


def test_two_classes_that_cover_the_same_are_ambiguous():
    found, dropped = _classify([(WINDOW, "a"), (WINDOW, "b")])
    assert found == [AMBIGUOUS]
    assert dropped == {"ambiguous": 1, "unlabeled": 0}


def test_the_nearest_point_in_the_window_counts_where_no_polygon_does():
    points = [(shapely.Point(1, 1), "a"), (shapely.Point(6, 5), "b"), (shapely.Point(11, 5), "c")]
    windows = [WINDOW, shapely.box(20, 0, 30, 10), shapely.box(10, 0, 20, 10)]
    assert _classify(points, windows)[0] == ["b", UNLABELED, "c"]
    assert _classify([*points, (WINDOW, "d")], windows)[0] == ["d", UNLABELED, "c"]


def test_no_label_leaves_all_windows_without_one():
    labels = Labels(geometries=np.empty(0, object), names=np.empty(0, object), n_without_class=0, n_without_place=0)
    assert classify_windows(np.array([WINDOW], object), labels, min_cover=0.5).numbers.tolist() == [UNLABELED]
