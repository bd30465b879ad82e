"""A drawn landscape has the class of each scene where its labels say so."""

import numpy as np
import pyogrio
import rasterio
import shapely
from rasterio.crs import CRS

from overfly.runtime.raster.scale import pixel_size, project
from overfly.training.synthetic.canvas import REFERENCE_SIZE_PX
from overfly.training.synthetic.dataset import CLASSES, draw_sample
from overfly.training.synthetic.landscape import SCENE_M, make_landscape, write_labels, write_orthophoto


def test_every_class_is_there_and_the_seed_decides():
    first, again, other = (make_landscape(9, 12, northing=0.0, first=0, seed=seed).classes for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert set(np.unique(first)) == set(range(len(CLASSES)))


def test_scenes_and_labels_are_at_the_same_place(tmp_path):
    landscape = make_landscape(2, 3, northing=5_000_000.0, first=40, seed=0)
    write_orthophoto(tmp_path / "a.tif", landscape, seed=0)
    write_labels(tmp_path / "a.geojson", landscape)
    meta, _, geometries, (names,) = pyogrio.raw.read(tmp_path / "a.geojson")
    assert meta["crs"] == "EPSG:4326"
    outlines = dict(zip(names, shapely.from_wkb(geometries), strict=True))
    size = REFERENCE_SIZE_PX
    with rasterio.open(tmp_path / "a.tif") as dataset:
        ground = pixel_size(dataset.crs, dataset.transform, dataset.width, dataset.height)
        assert abs(ground.x * size - SCENE_M) < 1e-3
        assert abs(ground.y * size - SCENE_M) < 1e-3
        pixels = dataset.read().transpose(1, 2, 0)
        for (row, column), label in np.ndenumerate(landscape.classes):
            place = dataset.transform.c + (column + 0.5) * size * dataset.transform.a
            north = dataset.transform.f + (row + 0.5) * size * dataset.transform.e
            x, y = project(dataset.crs, CRS.from_epsg(4326), np.array([place]), np.array([north]))
            assert outlines[CLASSES[label]].contains(shapely.Point(x[0], y[0]))
    label = landscape.classes[0, 0]
    np.testing.assert_array_equal(pixels[:size, :size], np.asarray(draw_sample(CLASSES[label], 40, size=size, seed=0)))
