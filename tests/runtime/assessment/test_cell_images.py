import json

import numpy as np
import pytest
import rasterio
from PIL import Image

from overfly.runtime.assessment.cell_images import IMAGE_SIZE, CellImages
from overfly.runtime.assessment.class_map import read_class_map
from overfly.runtime.assessment.sample import Cell
from overfly.runtime.errors import RasterError


def cut(folder, row, column):
    with CellImages(read_class_map(folder)) as images:
        image = images.cut(Cell(row, column))
    assert (image.mode, image.size) == ("RGB", (IMAGE_SIZE, IMAGE_SIZE))
    return np.asarray(image).astype(int)


@pytest.fixture
def flat_map(write_class_map, tmp_path):
    """A function that writes a map of 12 x 12 cells whose raster has the values `bands` everywhere but in cell 5, 7."""

    def write(values, inside, dtype=np.uint8, **options):
        bands = np.empty((len(values), 120, 120), dtype)
        bands[:] = np.array(values)[:, None, None]
        bands[:, 50:60, 70:80] = np.array(inside)[:, None, None]
        return write_class_map(tmp_path / "map", np.zeros((12, 12), np.uint8), pixels=bands, **options)

    return write


# The image shows 48 raster pixels of 10 for a cell, which is in the middle.
LOW, HIGH = IMAGE_SIZE * 19 / 48, IMAGE_SIZE * 29 / 48


def test_the_cell_is_in_the_middle_of_its_surroundings(flat_map):
    image = cut(flat_map((10, 20, 30), (200, 100, 50)), 5, 7)
    middle = image[int(LOW) + 24 : int(HIGH) - 24, int(LOW) + 24 : int(HIGH) - 24]
    assert (middle == [200, 100, 50]).all()
    around = np.ones((IMAGE_SIZE, IMAGE_SIZE), bool)
    around[int(LOW) - 24 : int(HIGH) + 24, int(LOW) - 24 : int(HIGH) + 24] = False
    assert (image[around] == [10, 20, 30]).all()


def test_a_white_line_in_black_is_around_the_cell(flat_map):
    image = cut(flat_map((90, 90, 90), (90, 90, 90)), 5, 7)
    white, black = (np.argwhere((image == color).all(axis=2)) for color in (255, 0))
    for line in (white, black):
        assert line.min() == pytest.approx(LOW - 2, abs=2)
        assert line.max() == pytest.approx(HIGH + 2, abs=2)
    inside = image[int(LOW) + 2 : int(HIGH) - 2, int(LOW) + 2 : int(HIGH) - 2]
    assert (inside == 90).all()


def test_outside_the_raster_is_gray(flat_map):
    image = cut(flat_map((10, 20, 30), (10, 20, 30)), 0, 0)
    edge = int(LOW)
    assert (image[: edge - 6, :] == 128).all()
    assert (image[:, : edge - 6] == 128).all()
    assert (image[-40:, -40:] == [10, 20, 30]).all()


def test_the_bands_and_the_range_are_those_of_the_map(flat_map):
    folder = flat_map((0, 1000, 2000, 4095), (0,) * 4, np.uint16, bands=(4, 3, 2), value_range=(0.0, 4000.0))
    assert cut(folder, 1, 1)[-1, -1].tolist() == [255, 128, 64]


def test_16_bits_without_a_range_keep_the_high_byte_and_one_band_is_gray(flat_map):
    assert cut(flat_map((0x4321,), (0,), np.uint16, bands=(1,)), 1, 1)[-1, -1].tolist() == [0x43] * 3


def test_a_raster_with_very_many_pixels_for_a_cell_is_reduced(write_class_map, tmp_path):
    folder = write_class_map(tmp_path / "map", np.zeros((1, 1), np.uint8))
    record = json.loads((folder / "map.json").read_text())
    raster = record["raster"]
    raster["width"] = raster["height"] = 3000
    record["window_pixels"] = [6000.0, 6000.0]
    raster["transform"] = [10 / 3000, 0.0, raster["transform"][2], 0.0, -10 / 3000, raster["transform"][5]]
    (folder / "map.json").write_text(json.dumps(record))
    with rasterio.open(
        raster["path"],
        "w",
        driver="GTiff",
        dtype="uint8",
        count=3,
        width=3000,
        height=3000,
        crs=raster["crs"],
        transform=rasterio.Affine(*raster["transform"]),
        compress="deflate",
    ) as dataset:
        for band, value in ((1, 40), (2, 50), (3, 60)):
            dataset.write(np.full((3000, 3000), value, np.uint8), band)
    image = cut(folder, 0, 0)
    assert image[IMAGE_SIZE // 2, IMAGE_SIZE // 2].tolist() == [40, 50, 60]
    assert image[5, 5].tolist() == [128, 128, 128]


class TestARasterThatIsNotTheOne:
    def test_it_is_gone(self, class_map):
        path = class_map.folder.parent / "map-raster.tif"
        path.unlink()
        with pytest.raises(RasterError, match=r"map-raster\.tif"):
            CellImages(class_map)

    def test_it_has_another_size(self, class_map):
        Image.new("RGB", (7, 9)).save(class_map.record.raster.path)
        with pytest.raises(RasterError, match=r"7 x 9 .* 300 x 200"):
            CellImages(class_map)

    def test_it_is_at_another_place(self, class_map):
        Image.new("RGB", (300, 200)).save(class_map.record.raster.path)
        with pytest.raises(RasterError, match=r"map-raster\.tif"):
            CellImages(class_map)

    def test_it_lacks_a_band(self, flat_map):
        with pytest.raises(RasterError, match=r"1 bands, .* band 3"):
            CellImages(read_class_map(flat_map((1,), (1,))))
