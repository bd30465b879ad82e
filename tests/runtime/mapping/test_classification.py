"""The result of a block survives the journal."""

import numpy as np
import pytest

from overfly.runtime.mapping.classification import BlockResult
from overfly.runtime.mapping.grid import Block

N_CLASSES = 5


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_result_is_the_same_after_its_way_through_the_journal(share):
    rng = np.random.default_rng(0)
    classified, present = (rng.random((3, 7)) < share for _ in range(2))
    probabilities = rng.integers(0, 65535, (classified.sum(), N_CLASSES), np.uint16)
    thumbnail = rng.integers(0, 256, (6, 14, 3), np.uint8) if classified.any() else None
    result = BlockResult(classified, present, probabilities, thumbnail)
    read = BlockResult.from_bytes(result.to_bytes(), Block(4, 2, 3, 7), n_values=N_CLASSES, cell_pixels=2)
    np.testing.assert_array_equal(read.classified, classified)
    np.testing.assert_array_equal(read.present, present)
    np.testing.assert_array_equal(read.probabilities, probabilities)
    assert (read.thumbnail is None) == (thumbnail is None)
    if thumbnail is not None:
        np.testing.assert_array_equal(read.thumbnail, thumbnail)
