import json
from dataclasses import asdict

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.control import GroundControlPoint

from overfly.runtime.assessment.cell_images import IMAGE_SIZE, CellImages
from overfly.runtime.assessment.class_map import read_class_map
from overfly.runtime.assessment.sample import Cell
from overfly.runtime.errors import RasterError
from overfly.runtime.mapping.grid import WindowGrid
from overfly.runtime.raster.description import describe_raster
from overfly.runtime.raster.source import RasterSource


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
    # The filter reaches half a pixel of the raster further.
    edge = int(LOW - 0.5 * IMAGE_SIZE / 48)
    assert (image[:edge, :] == 128).all()
    assert (image[:, :edge] == 128).all()
    assert (image[-40:, -40:] == [10, 20, 30]).all()


def test_the_bands_and_the_range_are_those_of_the_map(flat_map):
    folder = flat_map((0, 1000, 2000, 4095), (0,) * 4, np.uint16, bands=(4, 3, 2), value_range=(0.0, 4000.0))
    assert cut(folder, 1, 1)[-1, -1].tolist() == [255, 128, 64]


CORNERS = [(0, 0), (0, 40), (40, 0), (40, 40)]
ROTATED = Affine.translation(404_000, 3_285_000) @ Affine.rotation(30) @ Affine.scale(1, -1)
POINTS = [GroundControlPoint(r, c, 404_000 + c, 3_285_000 - r) for r, c in CORNERS]


@pytest.mark.parametrize(
    ("choices", "options", "color"),
    [
        ({"transform": ROTATED}, {}, 7),
        ({"gcps": POINTS}, {}, 7),
        ({"colormap": {7: (40, 50, 60)}}, {"bands": (1, 1, 1)}, (40, 50, 60)),
        ({}, {"nodata": "7"}, 128),
        ({"nodata": 7}, {}, 128),
        ({"nodata": 7}, {"nodata": "none"}, 7),
    ],
    ids=["rotated", "ground control points", "palette", "--nodata 7", "nodata 7", "--nodata none"],
)
def test_each_raster_is_read_as_for_the_map(write_class_map, draw_raster, tmp_path, choices, options, color):
    n_bands = 1 if "colormap" in choices else 3
    path = draw_raster(np.full((n_bands, 40, 40), 7, np.uint8), crs="EPSG:32617", **choices)
    with RasterSource(path) as source:
        raster, grid = describe_raster(source), WindowGrid(source.width, source.height, 20.0, 20.0, 2)
        cells = grid.transform(source.transform)
    folder = write_class_map(tmp_path / "map", np.zeros((grid.n_rows, grid.n_columns), np.uint8), **options)
    record = json.loads((folder / "map.json").read_text())
    (folder / "map.json").write_text(json.dumps(record | {"raster": asdict(raster)}))
    with rasterio.open(folder / "class.tif", "r+") as dataset:
        dataset.transform = cells
    image = cut(folder, grid.n_rows // 2, grid.n_columns // 2)
    assert (image[250:260, 250:260] == color).all()
    assert (image[0, 0] == (128 if "transform" in choices else color)).all()


def test_a_large_cell_is_read_in_parts_without_seams(write_class_map, draw_raster, tmp_path, monkeypatch):
    monkeypatch.setattr("overfly.runtime.assessment.cell_images._PART_PIXELS", 100_000)
    folder = write_class_map(tmp_path / "map", np.zeros((1, 1), np.uint8))
    record = json.loads((folder / "map.json").read_text())
    raster = record["raster"]
    raster["width"] = raster["height"] = 256
    record["window_pixels"] = [512.0, 512.0]
    raster["transform"] = [10 / 256, 0.0, raster["transform"][2], 0.0, -10 / 256, raster["transform"][5]]
    (folder / "map.json").write_text(json.dumps(record))
    values = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (3, 256, 256))
    draw_raster(values, raster["path"], crs=raster["crs"], transform=Affine(*raster["transform"]))
    image = cut(folder, 0, 0)
    # The raster is a quarter of the image wide, in the middle, next to the two lines.
    assert np.abs(image[194:318, IMAGE_SIZE // 2, 0] - (2 * np.arange(194, 318) - 383.5)).max() <= 1
    assert image[5, 5].tolist() == [128, 128, 128]


class TestARasterThatIsNotTheOne:
    def test_it_is_gone(self, class_map):
        path = class_map.folder.parent / "map-raster.tif"
        path.unlink()
        with pytest.raises(RasterError, match=r"map-raster\.tif"):
            CellImages(class_map)

    def test_it_has_another_size(self, class_map, draw_raster):
        draw_raster(np.zeros((3, 9, 7), np.uint8), class_map.record.raster.path)
        with pytest.raises(RasterError, match=r"7 x 9 .* 300 x 200"):
            CellImages(class_map)

    def test_it_is_at_another_place(self, class_map, draw_raster):
        there = class_map.record.raster
        shifted = Affine(*there.transform) @ Affine.translation(0, 0.1)
        draw_raster(np.zeros((3, 200, 300), np.uint8), there.path, crs=there.crs, transform=shifted)
        with pytest.raises(RasterError, match=r"map-raster\.tif has other coordinates"):
            CellImages(class_map)

    def test_it_lacks_a_band(self, flat_map):
        with pytest.raises(RasterError, match=r"1 band, .* 1,2,3"):
            CellImages(read_class_map(flat_map((1,), (1,))))
