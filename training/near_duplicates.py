"""Find near-duplicates: images in different parts of a split that show nearly the same ground.

Tiles cut from one large image overlap, and archives contain the same place twice. With such a pair the model is tested
on what it was trained on. `overfly.training.data.split` already keeps files that are equal byte for byte in one part.
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
from overfly.training.data.parts import PARTS
from overfly.training.data.split import Split
from overfly.training.loop.augment import N_SYMMETRIES, apply_symmetry

# In UC Merced, two pairs of one class show the same place slightly shifted (0.996 and 0.977), and one is the same file
# twice. Different places reach 0.93 at most: runways with the same markings.
MIN_CORRELATION = 0.95

# UC Merced has 33,600 pairs, which take a second on one core.
MAX_PAIRS = 500_000

# Side of the thumbnails, in pixels: for the search through all pairs, and for the comparison of the best of them.
_COARSE = 16
_FINE = 64
_MAX_CANDIDATES = 600

_CHUNK = 32


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two images, by name and part, and their correlation where they overlap."""

    first: str
    first_part: str
    second: str
    second_part: str
    correlation: float


class _Thumbnails:
    """Gray thumbnails minus their local mean, prepared for cross-correlation with others.

    Parameters
    ----------
    gray
        float32, shape ``[N, S, S]``.
    """

    def __init__(self, gray: torch.Tensor) -> None:
        size = gray.shape[-1]
        reach = size // 16
        # Edges and textures remain. Without this, any two beaches correlate, because half of each is bright.
        mean = F.avg_pool2d(gray[:, None], 2 * reach + 1, 1, reach, count_include_pad=False)[:, 0]
        self.detail = gray - mean
        self.padded = size * 3 // 2
        self.spectrum = self._transform(self.detail)
        ones = self._transform(torch.ones(size, size))
        squares = self._transform(self.detail**2)
        # Energy of each thumbnail within the overlap, for each shift: as the fixed one, and as the shifted one.
        self.energy_fixed = self._inverse(squares.conj() * ones).clamp(min=1)
        self.energy_shifted = self._inverse(ones.conj() * squares).clamp(min=1)
        self.allowed = self._inverse(ones * ones.conj()) > size**2 / 2 - 1

    def correlate_unshifted(self, other: "_Thumbnails", mine: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Return the correlations of `mine` with `others` without a shift, shape ``[len(mine), len(others)]``."""
        one, two = (F.normalize(t.flatten(1), dim=1) for t in (self.detail[mine], other.detail[others]))
        return one @ two.T

    def correlate_shifted(self, other: "_Thumbnails", mine: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
        """Return the highest correlations of `mine` with `others` over all shifts; the indices broadcast."""
        products = self._inverse(self.spectrum[mine].conj() * other.spectrum[others])
        energies = self.energy_fixed[mine] * other.energy_shifted[others]
        values = (products / energies.sqrt()).masked_fill(~self.allowed, -1.0)
        best: torch.Tensor = values.flatten(-2).amax(dim=-1)
        return best

    def _transform(self, images: torch.Tensor) -> torch.Tensor:
        """Return the Fourier transform, padded so that a shift of half a side does not wrap around."""
        spectrum: torch.Tensor = torch.fft.rfft2(images, s=(self.padded, self.padded))
        return spectrum

    def _inverse(self, spectrum: torch.Tensor) -> torch.Tensor:
        """Return the inverse of `_transform`."""
        images: torch.Tensor = torch.fft.irfft2(spectrum, s=(self.padded, self.padded))
        return images


def near_duplicates(split: Split, images: Mapping[str, ImageBatch]) -> list[NearDuplicate] | None:
    """Find pairs of images of one class, in different parts, that show nearly the same ground.

    The measure is the highest normalized cross-correlation of two gray thumbnails minus their local mean, over all 8
    orientations and every shift with an overlap of at least half of the image. It is computed by Fourier transform, as
    in Lewis, "Fast normalized cross-correlation", 1995. All pairs are searched at 16 x 16 pixels, with shifts only for
    the unrotated orientation; the best of them are compared at 64 x 64 pixels, with shifts for all orientations.

    Parameters
    ----------
    split
        The parts to compare.
    images
        For each part uint8 ``[N, S, S, 3]`` RGB, in the order of ``split.images(part)``.

    Returns
    -------
    list or None
        Pairs with a correlation of `MIN_CORRELATION` or more, highest first; None if there are more than `MAX_PAIRS`
        pairs to compare.
    """
    listed = [(part, image) for part in PARTS for image in split.images(part)]
    groups = list(_groups([(part, image.label) for part, image in listed]))
    if sum(len(first) * len(second) for first, second in groups) > MAX_PAIRS:
        return None
    fine = torch.from_numpy(_thumbnails(pixels for part in PARTS for pixels in images[part]))
    candidates = _candidates(F.avg_pool2d(fine, _FINE // _COARSE), groups)
    found = [
        NearDuplicate(listed[i][1].name, listed[i][0], listed[j][1].name, listed[j][0], correlation)
        for (i, j), correlation in _compare(fine, candidates).items()
        if correlation >= MIN_CORRELATION
    ]
    return sorted(found, key=lambda pair: -pair.correlation)


def _groups(keys: list[tuple[str, int]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield, for each class and each two parts, the indices of the images in the one part and in the other."""
    for label in sorted({label for _, label in keys}):
        members = {part: [i for i, key in enumerate(keys) if key == (part, label)] for part in PARTS}
        for one, other in combinations(PARTS, 2):
            if members[one] and members[other]:
                yield torch.tensor(members[one]), torch.tensor(members[other])


def _thumbnails(images: Iterable[ImageBatch]) -> npt.NDArray[np.float32]:
    """Return images as gray thumbnails, float32 ``[N, _FINE, _FINE]``."""
    size = (_FINE, _FINE)
    small = [Image.fromarray(pixels).convert("L").resize(size, Image.Resampling.BILINEAR) for pixels in images]
    return np.stack([np.asarray(thumbnail, np.float32) for thumbnail in small])


def _candidates(gray: torch.Tensor, groups: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """Return the best pairs at low resolution, int64 ``[at most _MAX_CANDIDATES, 3]``.

    A row has the two indices and the symmetry that was applied to the second image.
    """
    plain = _Thumbnails(gray)
    values, pairs = [torch.empty(0)], [torch.empty(0, 3, dtype=torch.int64)]
    for symmetry in range(N_SYMMETRIES):
        turned = _Thumbnails(apply_symmetry(gray, symmetry)) if symmetry else plain
        for first, second in groups:
            for rows in first.split(_CHUNK):
                found = (
                    plain.correlate_unshifted(turned, rows, second)
                    if symmetry
                    else plain.correlate_shifted(plain, rows[:, None], second)
                )
                values.append(found.flatten())
                pairs.append(torch.cartesian_prod(rows, second, torch.tensor([symmetry])))
    correlations = torch.cat(values)
    return torch.cat(pairs)[correlations.topk(min(_MAX_CANDIDATES, len(correlations))).indices]


def _compare(gray: torch.Tensor, candidates: torch.Tensor) -> dict[tuple[int, int], float]:
    """Return the correlation of each candidate pair at high resolution, by the two indices."""
    best: dict[tuple[int, int], float] = {}
    for symmetry in candidates[:, 2].unique().tolist():
        for chunk in candidates[candidates[:, 2] == symmetry].split(_CHUNK):
            one, other = _Thumbnails(gray[chunk[:, 0]]), _Thumbnails(apply_symmetry(gray[chunk[:, 1]], symmetry))
            rows = torch.arange(len(chunk))
            for (i, j, _), value in zip(chunk.tolist(), one.correlate_shifted(other, rows, rows).tolist(), strict=True):
                best[i, j] = max(best.get((i, j), -1.0), value)
    return best
