"""Divide scenes between parts so that no scene is near one of another part.

Neighbors look alike and may even overlap, so a model that is tested next to what it was trained on looks better than
it is. Therefore whole blocks of the ground go to a part, and at the borders between parts scenes are dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import shapely

from overfly.runtime.errors import DataError
from overfly.training.data.parts import PARTS

# An index into PARTS is the part of a scene; at a border, the scene with the lower one is dropped. The test part is
# small and the training part is large, so that this changes the shares least.
DROPPED = -1
_TRAIN, _VAL, _TEST = range(len(PARTS))

# Gaps are measured in a plane and between whole pixels, so one that is too short by less than this is accepted.
GAP_TOLERANCE = 1e-3

# So many random assignments are tried. The shares that are aimed at are smaller in some: the border of a part costs the
# training part more scenes, so the other parts end up with more than their shares.
_N_TRIALS = 24
_SCALES = (1.0, 0.93, 0.86)
_N_AT_ONCE = 20_000

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitPlan:
    """How to divide scenes.

    Attributes
    ----------
    distance_m
        No scene of a part is nearer to one of another part.
    block_m
        Side of the blocks that go to a part as a whole.
    test_fraction, val_fraction
        Wanted share of the test part in all scenes, and of the validation part in the scenes that are not in it.
    seed
        Of the random assignments.
    """

    distance_m: float
    block_m: float
    test_fraction: float
    val_fraction: float = 0.0
    seed: int = 0

    @property
    def shares(self) -> tuple[float, ...]:
        """The wanted share of each of `PARTS` in all scenes."""
        val = (1 - self.test_fraction) * self.val_fraction
        return 1 - self.test_fraction - val, val, self.test_fraction


def divide(footprints: npt.NDArray[np.object_], labels: Integers, classes: Sequence[str], plan: SplitPlan) -> Integers:
    """Assign each scene to a part, or drop it.

    The blocks are assigned class by class, those with the fewest blocks first (the order of iterative stratification:
    Sechidis et al. 2011, On the Stratification of Multi-label Data), each block to the part that lacks most of all its
    classes. Of several random assignments, the one is taken whose shares are nearest to the wanted ones.

    Parameters
    ----------
    footprints
        A polygon for each scene, in meters on the ground.
    labels
        For each scene, the index of its class.
    classes
        The names of the classes.
    plan
        The wanted shares and distances.

    Returns
    -------
    ndarray
        int64, shape ``[N]``: for each scene an index into `PARTS`, or `DROPPED`.

    Raises
    ------
    DataError
        If a class can't be in every part; the message names it.
    """
    blocks = block_numbers(footprints, plan.block_m)
    check_divisible(blocks, labels, classes, plan)
    counts = np.zeros((int(blocks.max()) + 1, len(classes)), np.int64)
    np.add.at(counts, (blocks, labels), 1)
    first, second = _near_pairs(footprints, blocks, plan.distance_m)
    used = np.array(plan.shares) > 0
    best: tuple[float, Integers, Integers] | None = None
    for trial in range(_N_TRIALS):
        rng = np.random.default_rng([plan.seed, trial])
        parts = _apply_guard(_assign(counts, _scaled(plan.shares, trial), rng)[blocks], first, second)
        found = np.zeros((len(PARTS), len(classes)), np.int64)
        np.add.at(found, (parts[parts != DROPPED], labels[parts != DROPPED]), 1)
        score = _score(found, plan.shares, n_dropped=float(np.mean(parts == DROPPED)))
        if best is None or score < best[0]:
            best = score, parts, found
    assert best is not None  # noqa: S101 - there is at least one trial
    _, parts, found = best
    if (incomplete := np.flatnonzero((found[used] == 0).any(axis=0))).size:
        label = int(incomplete[0])
        raise _indivisible(classes[label], int(np.count_nonzero(counts[:, label])), plan)
    return parts


def block_numbers(footprints: npt.NDArray[np.object_], block_m: float) -> Integers:
    """Return the number of the block that the center of each footprint is in; blocks are numbered from 0."""
    centers = shapely.get_coordinates(shapely.centroid(footprints))
    cells = np.floor(centers / block_m).astype(np.int64)
    numbers = np.unique(cells, axis=0, return_inverse=True)[1]
    return np.asarray(numbers, np.int64).reshape(-1)


def check_divisible(blocks: Integers, labels: Integers, classes: Sequence[str], plan: SplitPlan) -> None:
    """Raise a DataError if a class is in fewer blocks than there are parts; the message names it."""
    for label, name in enumerate(classes):
        n_blocks = len(np.unique(blocks[labels == label]))
        if n_blocks < _n_parts(plan):
            raise _indivisible(name, n_blocks, plan)


def _indivisible(name: str, n_blocks: int, plan: SplitPlan) -> DataError:
    """Return the error for a class that can't be in every part."""
    needed = _n_parts(plan)
    names = " and ".join(part for part, share in zip(PARTS, plan.shares, strict=True) if share > 0)
    side = f"{plan.block_m:g} m"
    found = f"{n_blocks} block{'s' * (n_blocks != 1)} of {side} x {side}"
    apart = "" if n_blocks < needed else f" that are at least {plan.distance_m:g} m apart for each part"
    return DataError(
        f"the class {name} can't be divided: its scenes are in {found}, expected at least {needed}{apart}, one for "
        f"each of {names}; add rasters or labels of it, lower --block, or leave the class out"
    )


def _n_parts(plan: SplitPlan) -> int:
    """Return the number of parts that get scenes."""
    return sum(share > 0 for share in plan.shares)


def _scaled(shares: tuple[float, ...], trial: int) -> npt.NDArray[np.float64]:
    """Return the shares to aim at in a trial."""
    aimed = np.array(shares) * _SCALES[trial % len(_SCALES)]
    aimed[_TRAIN] += 1 - aimed.sum()
    return aimed


def _assign(counts: Integers, shares: npt.NDArray[np.float64], rng: np.random.Generator) -> Integers:
    """Assign each block to a part; `counts` has the number of scenes for each block and class."""
    # As fractions of each class, so that a rare class weighs as much as a common one.
    fractions = counts / np.maximum(counts.sum(axis=0), 1)
    lacking = np.repeat(shares[:, np.newaxis], counts.shape[1], axis=1)
    parts = np.full(len(counts), DROPPED)
    used = np.flatnonzero(shares > 0)
    for label in np.argsort(np.count_nonzero(counts, axis=0), kind="stable"):
        inside = rng.permutation(np.flatnonzero(counts[:, label]))
        served = {int(part) for part in parts[inside]}
        waiting = inside[parts[inside] == DROPPED]
        waiting = waiting[np.argsort(-counts[waiting, label], kind="stable")]
        for position, block in enumerate(waiting):
            unserved = [part for part in used if part not in served]
            # The last blocks go to the parts that would get none.
            choices = unserved if len(waiting) - position <= len(unserved) else used
            # The part where the sum of (lacking fraction)^2 / share, over all classes, falls most.
            gain = ((2 * lacking[choices] - fractions[block]) * fractions[block]).sum(axis=1) / shares[choices]
            part = choices[int(gain.argmax())]
            parts[block] = part
            served.add(int(part))
            lacking[part] -= fractions[block]
    assigned: Integers = np.where(parts == DROPPED, _TRAIN, parts)
    return assigned


def _near_pairs(
    footprints: npt.NDArray[np.object_], blocks: Integers, distance_m: float
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Return all pairs of scenes of different blocks that are nearer than the distance."""
    tree = shapely.STRtree(footprints)
    distance = distance_m * (1 - GAP_TOLERANCE)
    found = []
    for start in range(0, len(footprints), _N_AT_ONCE):
        some = footprints[start : start + _N_AT_ONCE]
        one, other = tree.query(some, predicate="dwithin", distance=distance)
        one = one + start
        is_relevant = (one < other) & (blocks[one] != blocks[other])
        found.append((one[is_relevant].astype(np.int32), other[is_relevant].astype(np.int32)))
    return np.concatenate([pair[0] for pair in found]), np.concatenate([pair[1] for pair in found])


def _apply_guard(parts: Integers, first: npt.NDArray[np.int32], second: npt.NDArray[np.int32]) -> Integers:
    """Drop scenes that are near one of another part."""
    kept: Integers = parts.copy()
    # First those of the validation part, so that no training scene gives way to one that is dropped itself.
    for weaker in (_VAL, _TRAIN):
        one, other = kept[first], kept[second]
        kept[first[(one == weaker) & (other > weaker)]] = DROPPED
        kept[second[(other == weaker) & (one > weaker)]] = DROPPED
    return kept


def _score(found: Integers, shares: tuple[float, ...], *, n_dropped: float) -> float:
    """Return how far an assignment is from the wanted one; `found` has the number of scenes by part and class."""
    wanted = np.array(shares)
    n_missing = np.count_nonzero(found[wanted > 0] == 0)
    deviation = np.abs(found / np.maximum(found.sum(axis=0), 1) - wanted[:, np.newaxis]).max(axis=0)
    return float(n_missing + deviation.mean() + deviation.max() / 4 + n_dropped / 4)
