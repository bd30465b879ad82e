"""A block's images are those of its windows, wherever the block begins."""

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.mapping.blocks import read_block
from overfly.runtime.mapping.grid import Block, WindowGrid
from overfly.runtime.raster.source import RasterSource

SIZE = 16


def read(path, grid, block, *, reduce_first=False, wanted=None):
    wanted = np.ones((block.n_rows, block.n_columns), bool) if wanted is None else wanted
    with RasterSource(path) as source:
        return read_block(source, grid, block, size=SIZE, reduce_first=reduce_first, wanted=wanted)


@pytest.fixture
def smooth(pixels):
    """Pixels of 300 x 200 without sharp edges."""
    return np.asarray(Image.fromarray(pixels(20, 30)).resize((300, 200), Image.Resampling.BICUBIC))


@pytest.mark.parametrize("reduce_first", [False, True])
@pytest.mark.parametrize("window", [16.0, 32.0, 37.3, 11.1])
def test_the_division_into_blocks_changes_nothing(write_raster, smooth, window, reduce_first):
    path, grid = write_raster(smooth), WindowGrid(300, 200, window, window, 2)
    whole = read(path, grid, Block(0, 0, 8, 8), reduce_first=reduce_first)
    part = read(path, grid, Block(3, 2, 5, 6), reduce_first=reduce_first)
    stride = SIZE // 2
    expected = whole.pixels[3 * stride :, 2 * stride :]
    difference = np.abs(part.pixels.astype(int) - expected)
    if window in {16.0, 32.0}:
        assert difference.max() == 0
    else:
        # The weights of the filter are rounded at other places.
        assert difference.max() <= 3
        assert difference.mean() < 0.5


def test_inside_a_block_windows_are_as_if_resized_one_by_one(write_raster, smooth):
    path, grid = write_raster(smooth), WindowGrid(300, 200, 40.0, 40.0, 2)
    images = list(read(path, grid, Block(0, 0, 3, 4)).windows())
    assert len(images) == 12
    for number, image in enumerate(images):
        row, column = (20 * n for n in divmod(number, 4))
        box = (column, row, column + 40, row + 40)
        alone = Image.fromarray(smooth).resize((SIZE, SIZE), Image.Resampling.BILINEAR, box)
        assert np.abs(image.astype(int) - np.asarray(alone)).max() <= 1


def test_windows_that_are_not_wanted_or_mostly_missing_are_left_out(write_raster, pixels):
    mask = np.full((64, 64), 255, np.uint8)
    mask[:, 25:] = 0
    path, grid = write_raster(pixels(64), mask=mask), WindowGrid(64, 64, 16.0, 16.0, 1)
    wanted = np.ones((4, 4), bool)
    wanted[0] = False
    block = read(path, grid, Block(0, 0, 4, 4), wanted=wanted)
    expected = np.zeros((4, 4), bool)
    expected[1:, :2] = True  # the second column has 9 of 16 pixels
    np.testing.assert_array_equal(block.classified, expected)
    assert block.thumbnail(2).shape == (8, 8, 3)
    np.testing.assert_array_equal(block.present, np.arange(4)[None].repeat(4, 0) < 2)
    assert not read(path, grid, Block(0, 2, 4, 2)).classified.any()
    assert not read(path, grid, Block(0, 0, 4, 4), wanted=np.zeros((4, 4), bool)).classified.any()


def test_cells_of_a_window_have_pixels_or_not_by_themselves(write_raster, pixels):
    mask = np.full((64, 64), 255, np.uint8)
    mask[:, 40:] = 0
    path, grid = write_raster(pixels(64), mask=mask), WindowGrid(64, 64, 16.0, 16.0, 2)
    block = read(path, grid, Block(0, 0, 8, 8))
    assert block.classified[0].tolist() == [True] * 5 + [False] * 3  # the fifth window has half of its pixels
    assert block.present[0].tolist() == [True] * 5 + [False] * 3
