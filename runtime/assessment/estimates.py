"""Accuracy and areas of a map, estimated from a random sample in each of its classes.

The estimators are those of Olofsson et al. 2014, "Good practices for estimating area and assessing accuracy of land
change", Remote Sensing of Environment 148:42-57; the numbers of equations below are the paper's. A stratum is what the
map calls one class. The paper's strata are so large that it matters little how much of them is sampled. Maps can be
small, so each stratum's variance also has the finite population correction (Cochran 1977, Sampling Techniques, 3rd ed.,
section 3.2): a stratum in which every cell is labeled has no variance.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

# Of the standard normal distribution, as the paper rounds it.
Z_95 = 1.96

Counts = npt.NDArray[np.int64]
Shares = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimated figure with its 95% interval.

    Attributes
    ----------
    value
        The figure.
    standard_error
        Of the figure; None if the sample is too small to tell.
    low, high
        The value minus and plus 1.96 standard errors, limited to what is possible; None if the standard error is.
    """

    value: float
    standard_error: float | None
    low: float | None
    high: float | None

    def times(self, factor: float) -> "Estimate":
        """Return the estimate in another unit."""
        error, low, high = (None if f is None else f * factor for f in (self.standard_error, self.low, self.high))
        return Estimate(self.value * factor, error, low, high)


@dataclass(frozen=True, slots=True, eq=False)
class StratifiedSample:
    """The labels of a random sample of cells, drawn separately in each class of a map.

    Parameters
    ----------
    counts
        int64, shape ``[n_classes, n_classes]``: number of sampled cells, rows the map, columns the reference.
    weights
        float64, shape ``[n_classes]``: share of the map's area that each class has on the map; the sum is 1.
    cells
        int64, shape ``[n_classes]``: number of cells of each class on the map. None for strata without end.

    Raises
    ------
    ValueError
        If the shapes differ, the weights do not sum up to 1, or more cells are labeled than a class has.
    """

    counts: Counts
    weights: Shares
    cells: Counts | None = None

    def __post_init__(self) -> None:
        n_classes = len(self.weights)
        if self.counts.shape != (n_classes, n_classes) or self.counts.min() < 0:
            raise ValueError(f"counts of shape {self.counts.shape} for {n_classes} weights, expected one row for each")
        if self.weights.min() < 0 or not math.isclose(self.weights.sum(), 1.0, abs_tol=1e-9):
            raise ValueError(f"the weights sum up to {self.weights.sum()}, expected shares with the sum 1")
        limit = np.where(self.weights > 0, np.inf, 0) if self.cells is None else self.cells
        if (self.n_labeled > limit).any():
            raise ValueError(f"{self.n_labeled} labeled cells in classes of {limit}: expected no more than there are")

    @property
    def n_labeled(self) -> Counts:
        """Number of labeled cells of each class of the map, int64, shape ``[n_classes]``."""
        counts: Counts = self.counts.sum(axis=1)
        return counts

    def proportions(self) -> Shares:
        """Return the share of each reference class in each class of the map.

        Returns
        -------
        ndarray
            float64, shape ``[n_classes, n_classes]``. A row is NaN if no cell of the class is labeled, and 0 if the
            map has none.
        """
        rows = self.n_labeled[:, None]
        unknown = np.where(self.weights > 0, np.nan, 0.0)[:, None]
        return np.where(rows > 0, self.counts / np.maximum(rows, 1), unknown)

    def variances(self) -> Shares:
        """Return the variance of each of the `proportions`; NaN where it is unknown, as it is with one labeled cell."""
        p, rows = self.proportions(), self.n_labeled[:, None]
        known = np.where(rows > 1, p * (1 - p) / np.maximum(rows - 1, 1), np.nan)
        unsampled = np.ones(rows.shape) if self.cells is None else 1 - rows / np.maximum(self.cells, 1)[:, None]
        is_complete = (self.weights == 0)[:, None] | (unsampled == 0)
        return np.where(is_complete, p * 0, known * unsampled)  # p * 0 keeps NaN


def overall_accuracy(sample: StratifiedSample) -> Estimate | None:
    """Return the share of the area that has the right class, eq. 1 and 5; None if a class has no labeled cell."""
    right, variances = (np.diagonal(matrix) for matrix in (sample.proportions(), sample.variances()))
    return _estimate(float(sample.weights @ right), float(sample.weights**2 @ variances))


def users_accuracies(sample: StratifiedSample) -> list[Estimate | None]:
    """Return, for each class, how much of its area on the map has that class in truth, eq. 2 and 6.

    None if no cell of the class is labeled.
    """
    right, variances = (np.diagonal(matrix) for matrix in (sample.proportions(), sample.variances()))
    return [_estimate(*figures) for figures in zip(np.where(sample.n_labeled, right, np.nan), variances, strict=True)]


def producers_accuracies(sample: StratifiedSample) -> list[Estimate | None]:
    """Return, for each class, how much of its true area the map shows, eq. 3 and 7.

    None if the reference has no cell of the class, or some class of the map has no labeled cell.
    """
    variances = sample.weights[:, None] ** 2 * sample.variances()
    shares = sample.weights[:, None] * sample.proportions()
    estimates: list[Estimate | None] = []
    for k, area in enumerate(shares.sum(axis=0)):
        if not area > 0:  # NaN is not
            estimates.append(None)
            continue
        accuracy = shares[k, k] / area
        own, others = variances[k, k], np.delete(variances[:, k], k).sum()
        estimates.append(_estimate(accuracy, ((1 - accuracy) ** 2 * own + accuracy**2 * others) / area**2))
    return estimates


def area_shares(sample: StratifiedSample) -> list[Estimate | None]:
    """Return the share of the area that each class has in truth, eq. 9 and 10.

    None if some class of the map has no labeled cell.
    """
    shares = sample.weights @ sample.proportions()
    variances = sample.weights**2 @ sample.variances()
    return [_estimate(*figures) for figures in zip(shares, variances, strict=True)]


def highest_share_unseen(n_labeled: int) -> float:
    """Return how large a share may be, with 95% confidence, if none of `n_labeled` cells shows it.

    The one-sided limit of Clopper and Pearson 1934, Biometrika 26:404-413, for no success.
    """
    return float(1 - 0.05 ** (1 / n_labeled))


def _estimate(value: float, variance: float) -> Estimate | None:
    """Return a share with its interval, from numbers that are NaN where they are unknown."""
    value, variance = float(value), float(variance)
    if math.isnan(value):
        return None
    if math.isnan(variance):
        return Estimate(value, None, None, None)
    error = math.sqrt(variance)
    return Estimate(value, error, max(0.0, value - Z_95 * error), min(1.0, value + Z_95 * error))
