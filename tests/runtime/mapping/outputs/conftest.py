"""A small map with known cells."""

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from overfly.runtime.mapping.outputs.cells import MapCells
from overfly.runtime.mapping.outputs.geotiff import MapPlace
from overfly.runtime.mapping.sums import NO_DATA, ONE

INDICES = np.array([[0, 0, 1, -1], [0, 1, 1, -1], [1, 0, 0, 0]], np.int32)


@pytest.fixture
def classes():
    """The names of the classes."""
    return ("beach", "forest", "harbor")


@pytest.fixture(scope="session")
def place():
    """Cells of 100 m in UTM."""
    return MapPlace(crs=CRS.from_epsg(32632), transform=Affine(100, 0, 500_000, 0, -100, 5_000_000))


@pytest.fixture
def cells():
    """A map of 3 x 4 cells; the area of each is its number plus 1."""
    confidence = np.where(INDICES < 0, NO_DATA, ONE // 2 + 100 * np.arange(12).reshape(3, 4)).astype(np.uint16)
    return MapCells(INDICES, confidence, 1.0 + np.arange(12).reshape(3, 4))
