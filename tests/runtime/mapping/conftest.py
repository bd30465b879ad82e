"""What a map of noise must be, computed window by window in the plainest way."""

import numpy as np
import pytest

SIZE = 8  # side of the images of the hand-made bundle in pixels


@pytest.fixture
def expected_probabilities(expected_logits):
    """A function that returns the mean probabilities of each cell, [rows, columns, n_classes]: NaN without windows.

    Missing pixels must be filled already, and `classified` says which windows count.
    """

    def compute(pixels, per_side, classified):
        n_rows, n_columns = classified.shape
        stride = SIZE // per_side
        sums, counts = np.zeros((n_rows, n_columns, 4)), np.zeros((n_rows, n_columns, 1))
        for row, column in np.argwhere(classified):
            window = pixels[row * stride : row * stride + SIZE, column * stride : column * stride + SIZE]
            exponentials = np.exp(expected_logits(window[None])[0])
            cells = np.s_[row : row + per_side, column : column + per_side]
            sums[cells] += exponentials / exponentials.sum()
            counts[cells] += 1
        with np.errstate(invalid="ignore"):
            return sums / counts

    return compute
