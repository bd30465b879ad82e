"""Missing pixels are replaced by mirrored ones."""

import numpy as np
import pytest

from overfly.runtime.raster.fill import mirror_missing

MISSING = 0


def _row(*values):
    pixels = np.repeat(np.array([values], np.uint8)[:, :, np.newaxis], 3, axis=2)
    return pixels, pixels[:, :, 0] != MISSING


@pytest.mark.parametrize(
    ("row", "filled"),
    [
        ((1, 2, 3, 0, 0), (1, 2, 3, 2, 1)),
        ((0, 0, 3, 4, 5), (5, 4, 3, 4, 5)),
        ((1, 2, 0, 4, 5), (1, 2, 1, 4, 5)),  # the left one of two
        ((1, 2, 3, 0, 0, 6, 7), (1, 2, 3, 2, 7, 6, 7)),
        ((1, 0, 0, 0), (1, 1, 1, 1)),  # the mirrored ones are outside
        ((0, 2, 0, 0, 5, 6), (2, 2, 2, 6, 5, 6)),  # the one mirrored at 2 is missing
    ],
)
def test_a_row_is_mirrored_at_the_nearest_valid_pixel(row, filled):
    pixels, valid = _row(*row)
    expected, _ = _row(*filled)
    np.testing.assert_array_equal(mirror_missing(pixels, valid), expected)
    # Columns alike: rows that are all missing are replaced by rows.
    columns = mirror_missing(pixels.transpose(1, 0, 2), valid.T)
    np.testing.assert_array_equal(columns, expected.transpose(1, 0, 2))
    np.testing.assert_array_equal(pixels[0, :, 0], row)


def test_rows_without_a_valid_pixel_mirror_rows_that_were_filled_first():
    pixels = np.zeros((4, 3, 3), np.uint8)
    pixels[1] = np.array([7, 8, 9])[:, np.newaxis]
    pixels[2] = np.array([4, 5, 0])[:, np.newaxis]
    filled = mirror_missing(pixels, pixels[:, :, 0] != MISSING)[:, :, 0]
    assert filled.tolist() == [[4, 5, 4], [7, 8, 9], [4, 5, 4], [7, 8, 9]]


def test_nothing_or_everything_missing_leaves_the_pixels():
    pixels = np.full((2, 2, 3), 5, np.uint8)
    assert mirror_missing(pixels, np.ones((2, 2), bool)) is pixels
    assert mirror_missing(pixels, np.zeros((2, 2), bool)) is pixels


def test_many_rows_are_filled_like_few():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (600, 40, 3), np.uint8)
    valid = rng.random((600, 40)) < 0.6
    whole = mirror_missing(pixels, valid)
    parts = [mirror_missing(pixels[i : i + 1], valid[i : i + 1]) for i in range(600)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))
    np.testing.assert_array_equal(whole[valid], pixels[valid])
