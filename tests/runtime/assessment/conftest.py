"""Fixtures for the tests of the assessment: a small map, its sample, and labels in it."""

import numpy as np
import pyogrio
import pytest

from overfly.runtime.assessment.class_map import read_class_map
from overfly.runtime.assessment.sample_files import CELLS_FILE, write_sample


@pytest.fixture
def class_map(class_map_folder):
    """The small map, read."""
    return read_class_map(class_map_folder)


@pytest.fixture
def labeled(class_map, tmp_path):
    """A function that draws a sample, labels it with the map's classes, and returns the path of a CSV file.

    `changes` maps the number of a row to its label; `name` is that of the file.
    """

    def label(changes=None, *, n_cells=60, name="labels.csv"):
        out = tmp_path / "drawn"
        write_sample(class_map.folder, n_cells, out=out, overwrite=True)
        ids, labels = read_columns(out / CELLS_FILE)
        for number, cell in enumerate(ids):
            _, row, column = cell.split("-")
            true = class_map.classes[class_map.indices[int(row), int(column)]]
            labels[number] = (changes or {}).get(number, true)
        path = tmp_path / name
        lines = [f"{cell},{text}\n" for cell, text in zip(ids, labels, strict=True)]
        path.write_text("id,reference\n" + "".join(lines), encoding="utf-8")
        return path

    return label


def read_columns(path):
    """Return the names of the cells in a GeoPackage, and their labels."""
    _, _, _, (ids, labels) = pyogrio.raw.read(path, columns=["id", "reference"], read_geometry=False)
    return list(ids), np.array(labels, dtype=object)
