"""The preview shows the image through the color of each cell, and a legend."""

import io

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.mapping.outputs.cells import MapCells
from overfly.runtime.mapping.outputs.palette import class_colors
from overfly.runtime.mapping.outputs.preview import Caption, preview

GRAY = 100


def draw(cells, classes, *, cell_m=(50.0, 50.0)):
    shape = cells.indices.shape
    image = np.full((4 * shape[0], 4 * shape[1], 3), GRAY, np.uint8)
    caption = Caption(title="field", figures=cells.figures(classes), colors=class_colors(len(classes)), cell_m=cell_m)
    return Image.open(io.BytesIO(preview(image, cells, caption)))


def test_cells_have_the_color_of_their_class_over_the_image(cells, classes):
    page = draw(cells, classes)
    assert page.mode == "RGB"
    side = 1400 / 4
    left, top = 40, 90
    for row, column, label in ((0, 0, 0), (1, 2, 1)):
        found = page.getpixel((round(left + (column + 0.5) * side), round(top + (row + 0.5) * side)))
        expected = 0.55 * GRAY + 0.45 * np.array(class_colors(3)[label])
        np.testing.assert_allclose(found, expected, atol=2)
    assert page.getpixel((round(left + 3.5 * side), round(top + 0.5 * side))) == (GRAY, GRAY, GRAY)


@pytest.mark.parametrize(("rows", "columns"), [(1, 40), (40, 1), (1, 1)])
def test_maps_of_any_shape_and_many_classes_fit(rows, columns):
    classes = tuple(f"a class with a very long name, number {i}" for i in range(40))
    indices = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns) % 40
    cells = MapCells(indices, np.full(indices.shape, 60_000, np.uint16), np.ones(indices.shape))
    page = draw(cells, classes, cell_m=(30.0, 40.0))
    assert min(page.size) > 100
    assert max(page.size) < 2200
