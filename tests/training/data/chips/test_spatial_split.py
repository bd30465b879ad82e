"""The parts of a split are apart on the ground, and every class has its share in each."""

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from overfly.runtime.errors import DataError
from overfly.training.data.chips.spatial_split import DROPPED, SplitPlan, block_numbers, divide
from overfly.training.data.parts import PARTS

SCENE = 78.0
TRAIN, VAL, TEST = range(3)


def _plan(**choices):
    return SplitPlan(**{"distance_m": SCENE, "block_m": 8 * SCENE, "test_fraction": 0.2, **choices})


def _windows(n_columns, n_rows, *, stride=SCENE, origin=(0.0, 0.0), angle=0.0, side=SCENE):
    """Return the footprints of a raster's windows: a grid that starts at `origin` and is turned by `angle`."""
    rows, columns = np.mgrid[:n_rows, :n_columns].reshape(2, -1) * stride
    corners = np.array([(0, 0), (1, 0), (1, 1), (0, 1)]) * side
    points = np.stack([columns, rows], axis=1)[:, np.newaxis] + corners
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return shapely.polygons(points @ turn + np.array(origin))


def _smallest_gap(footprints, parts):
    """Return the smallest distance between footprints of different parts, compared pair by pair."""
    groups = [shapely.multipolygons(footprints[parts == part]) for part in range(3)]
    pairs = [(a, b) for a in range(3) for b in range(a) if not groups[a].is_empty and not groups[b].is_empty]
    return min(shapely.distance(footprints[parts == a], groups[b]).min() for a, b in pairs)


rasters = st.tuples(
    st.integers(4, 26),
    st.integers(4, 26),
    st.sampled_from([SCENE, SCENE / 2, 1.3 * SCENE]),
    st.tuples(st.floats(-1500, 1500), st.floats(-1500, 1500)),
    st.sampled_from([0.0, 0.02, 0.7]),
)


@given(
    drawn=st.lists(rasters, min_size=1, max_size=3),
    n_classes=st.integers(1, 4),
    val_fraction=st.sampled_from([0.0, 0.2]),
    patch=st.sampled_from([1, 5, 30]),
    seed=st.integers(0, 1000),
)
@settings(max_examples=60, deadline=None)
def test_no_scene_is_within_one_scene_of_another_part_over_all_rasters(drawn, n_classes, val_fraction, patch, seed):
    grids = [_windows(w, h, stride=s, origin=o, angle=a) for w, h, s, o, a in drawn]
    footprints = np.concatenate(grids)
    # Labels in patches of the ground, so that overlapping rasters agree.
    cells = np.floor(shapely.get_coordinates(shapely.centroid(footprints)) / (patch * SCENE)).astype(int)
    labels = (cells[:, 0] * 7 + cells[:, 1] * 3 + seed) % n_classes
    names = [f"class {label}" for label in range(n_classes)]
    try:
        parts = divide(footprints, labels, names, _plan(val_fraction=val_fraction, seed=seed))
    except DataError as error:
        assert any(name in str(error) for name in names)  # noqa: PT017 - too small an area may be drawn
        return
    assert _smallest_gap(footprints, parts) >= SCENE * 0.999
    wanted = (TRAIN, TEST) if val_fraction == 0 else (TRAIN, VAL, TEST)
    for label in range(n_classes):
        assert {int(part) for part in parts[labels == label]} - {DROPPED} == set(wanted)


@pytest.mark.parametrize(("val_fraction", "stride", "most_dropped"), [(0.0, 1, 0.1), (0.15, 1, 0.15), (0.0, 0.5, 0.2)])
def test_the_shares_of_each_class_are_within_ten_points(val_fraction, stride, most_dropped):
    footprints = _windows(96, 96, stride=stride * SCENE)
    rng = np.random.default_rng(1)
    patches = rng.integers(0, 6, (24, 24))
    labels = np.kron(patches, np.ones((4, 4), int)).reshape(-1)
    plan = _plan(val_fraction=val_fraction)
    parts = divide(footprints, labels, [*"abcdef"], plan)
    assert np.mean(parts == DROPPED) < most_dropped
    for label in range(6):
        found = parts[(labels == label) & (parts != DROPPED)]
        for part in range(len(PARTS)):
            assert np.mean(found == part) == pytest.approx(plan.shares[part], abs=0.1)


def test_windows_side_by_side_lose_one_window_at_a_border():
    # Two blocks next to each other: one of the 8 columns of the training block is dropped.
    parts = divide(_windows(16, 8), np.zeros(128, np.int64), ["a"], _plan())
    assert np.count_nonzero(parts == DROPPED) == 8
    columns = parts.reshape(8, 16)
    assert {TRAIN, TEST} == {*columns[0, [0, 15]]}
    assert np.count_nonzero(parts == TEST) == 64


def test_a_class_in_two_blocks_is_in_both_parts():
    footprints = np.concatenate([_windows(64, 64), _windows(8, 8, origin=(9_984_000, 0)), _windows(8, 8)])
    labels = np.concatenate([np.zeros(64 * 64, int), np.ones(128, int)])
    parts = divide(footprints, labels, ["common", "rare"], _plan())
    assert {TRAIN, TEST} <= {*parts[labels == 1]}


def test_the_same_seed_divides_alike_and_another_one_otherwise():
    footprints, labels = _windows(40, 40), np.arange(1600) % 3
    first = divide(footprints, labels, [*"abc"], _plan(seed=1))
    np.testing.assert_array_equal(first, divide(footprints, labels, [*"abc"], _plan(seed=1)))
    assert (first != divide(footprints, labels, [*"abc"], _plan(seed=2))).any()


@pytest.mark.parametrize(("val_fraction", "n_blocks", "needed"), [(0.0, 1, 2), (0.1, 2, 3)])
def test_a_class_in_too_few_blocks_is_named_with_their_number(val_fraction, n_blocks, needed):
    footprints = np.concatenate([_windows(40, 40), _windows(8 * n_blocks, 8, origin=(0, 9_984_000))])
    labels = np.array([0] * 1600 + [1] * 64 * n_blocks)
    with pytest.raises(DataError, match=rf"the class water .* {n_blocks} block.* at least {needed}.*--block"):
        divide(footprints, labels, ["field", "water"], _plan(val_fraction=val_fraction))


def test_blocks_are_numbered_by_the_ground_they_are_on():
    footprints = np.concatenate([_windows(16, 8), _windows(1, 1, origin=(10.0, 10.0))])
    numbers = block_numbers(footprints, 8 * SCENE)
    assert set(numbers) == {0, 1}
    assert numbers[128] == numbers[0]
