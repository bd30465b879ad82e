"""Scenes that look almost alike though they stand in different parts of a split.

Tiles cut from one picture overlap, and archives hold the same place twice. Such a pair tells a test what the training
has seen. Files that are equal byte for byte are the business of `overfly.training.data.split`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.nn import functional as F  # noqa: N812 - PyTorch's own name for it

from overfly.runtime.images.reading import ImageBatch
from overfly.training.data.split import PARTS, Split
from overfly.training.loop.augment import N_SYMMETRIES, apply_symmetry

# Of the pairs of a class in UC Merced, two show the same place a little moved (0.996 and 0.977) and one is the same
# file twice. Different places come to 0.93 at most: runways with the same markings.
MIN_CORRELATION = 0.95

# UC Merced has 33,600, which take a second on one core.
MAX_PAIRS = 500_000

# Side of the thumbnails, in cells: of the first look at all pairs, and of the second at those that may be alike.
_COARSE = 16
_FINE = 64
_SECOND_LOOKS = 600

_ROWS = 32


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two scenes, by name and part, and their correlation where they overlap."""

    first: str
    first_part: str
    second: str
    second_part: str
    correlation: float


class _Thumbnails:
    """Small grey pictures less their local mean, ready to be laid over others.

    Parameters
    ----------
    grey
        float32, shape ``[N, S, S]``.
    """

    def __init__(self, grey: torch.Tensor) -> None:
        size = grey.shape[-1]
        reach = size // 16
        # What is left are edges and textures: any two beaches are alike in that one half is bright.
        mean = F.avg_pool2d(grey[:, None], 2 * reach + 1, 1, reach, count_include_pad=False)[:, 0]
        self.detail = grey - mean
        self.padded = size * 3 // 2
        self.spectrum = self._transform(self.detail)
        ones = self._transform(torch.ones(size, size))
        squares = self._transform(self.detail**2)
        # Of each thumbnail within the overlap, for each shift: when it lies still, and when it is moved.
        self.energy_below = self._back(squares.conj() * ones).clamp(min=1)
        self.energy_above = self._back(ones.conj() * squares).clamp(min=1)
        self.allowed = self._back(ones * ones.conj()) > size**2 / 2 - 1

    def in_place(self, other: "_Thumbnails", mine: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Return the correlations of `mine` with `others` as they lie, shape ``[len(mine), len(others)]``."""
        one, two = (F.normalize(t.flatten(1), dim=1) for t in (self.detail[mine], other.detail[others]))
        return one @ two.T

    def anywhere(self, other: "_Thumbnails", mine: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Return the best correlations over all shifts of `mine` with `others`, indices that broadcast."""
        products = self._back(self.spectrum[mine].conj() * other.spectrum[others])
        energies = self.energy_below[mine] * other.energy_above[others]
        values = (products / energies.sqrt()).masked_fill(~self.allowed, -1.0)
        best: torch.Tensor = values.flatten(-2).amax(dim=-1)
        return best

    def _transform(self, images: torch.Tensor) -> torch.Tensor:
        """Return the Fourier transform, padded so that a shift of half a side does not wrap around."""
        spectrum: torch.Tensor = torch.fft.rfft2(images, s=(self.padded, self.padded))
        return spectrum

    def _back(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the inverse of `_transform`."""
        images: torch.Tensor = torch.fft.irfft2(spectrum, s=(self.padded, self.padded))
        return images


def near_duplicates(split: Split, images: Mapping[str, ImageBatch]) -> list[NearDuplicate] | None:
    """Find the pairs of scenes of one class that lie in different parts and show the same place, or nearly.

    Grey thumbnails less their local mean are laid over each other, in all 8 orientations, at every shift that leaves
    half of the scene in common; the measure is the highest normalised cross-correlation (by Fourier transform, as in
    Lewis, "Fast normalized cross-correlation", 1995). The most promising pairs of a first look at 16 x 16 cells, where
    what is turned is not moved as well, are compared so at 64 x 64.

    Parameters
    ----------
    split
        What is in which part.
    images
        For each part uint8 ``[N, S, S, 3]`` RGB, in the order of ``split.images(part)``.

    Returns
    -------
    list or None
        Pairs with a correlation of `MIN_CORRELATION` or more, most alike first; None where there are more than
        `MAX_PAIRS` to compare.
    """
    scenes = [(part, scene) for part in PARTS for scene in split.images(part)]
    groups = list(_groups([(part, scene.label) for part, scene in scenes]))
    if sum(len(first) * len(second) for first, second in groups) > MAX_PAIRS:
        return None
    fine = torch.from_numpy(_grey(picture for part in PARTS for picture in images[part]))
    candidates = _candidates(F.avg_pool2d(fine, _FINE // _COARSE), groups)
    found = [
        NearDuplicate(scenes[i][1].name, scenes[i][0], scenes[j][1].name, scenes[j][0], correlation)
        for (i, j), correlation in _look_again(fine, candidates).items()
        if correlation >= MIN_CORRELATION
    ]
    return sorted(found, key=lambda pair: -pair.correlation)


def _groups(keys: list[tuple[str, int]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield for each class and two parts the indices of the scenes in the one and in the other."""
    for label in sorted({label for _, label in keys}):
        members = {part: [i for i, key in enumerate(keys) if key == (part, label)] for part in PARTS}
        for one, other in combinations(PARTS, 2):
            if members[one] and members[other]:
                yield torch.tensor(members[one]), torch.tensor(members[other])


def _grey(pictures: Iterable[ImageBatch]) -> npt.NDArray[np.float32]:
    """Return pictures as grey thumbnails, float32 ``[N, _FINE, _FINE]``."""
    size = (_FINE, _FINE)
    small = [Image.fromarray(picture).convert("L").resize(size, Image.Resampling.BILINEAR) for picture in pictures]
    return np.stack([np.asarray(thumbnail, np.float32) for thumbnail in small])


def _candidates(grey: torch.Tensor, groups: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Return the most promising pairs, int64 ``[at most _SECOND_LOOKS, 3]``: two indices, and the second's symmetry."""
    still = _Thumbnails(grey)
    values, places = [torch.empty(0)], [torch.empty(0, 3, dtype=torch.int64)]
    for symmetry in range(N_SYMMETRIES):
        turned = _Thumbnails(apply_symmetry(grey, symmetry)) if symmetry else still
        for first, second in groups:
            for rows in first.split(_ROWS):
                found = (
                    still.in_place(turned, rows, second) if symmetry else still.anywhere(still, rows[:, None], second)
                )
                values.append(found.flatten())
                places.append(torch.cartesian_prod(rows, second, torch.tensor([symmetry])))
    every = torch.cat(values)
    return torch.cat(places)[every.topk(min(_SECOND_LOOKS, len(every))).indices]


def _look_again(grey: torch.Tensor, candidates: torch.Tensor) -> dict[tuple[int, int], float]:
    """Return the correlation of each pair among the candidates, at the full size of the thumbnails."""
    best: dict[tuple[int, int], float] = {}
    for symmetry in candidates[:, 2].unique().tolist():
        for some in candidates[candidates[:, 2] == symmetry].split(_ROWS):
            one, other = _Thumbnails(grey[some[:, 0]]), _Thumbnails(apply_symmetry(grey[some[:, 1]], symmetry))
            same = torch.arange(len(some))
            for (i, j, _), value in zip(some.tolist(), one.anywhere(other, same, same).tolist(), strict=True):
                best[i, j] = max(best.get((i, j), -1.0), value)
    return best
