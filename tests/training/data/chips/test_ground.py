"""Windows of all rasters are in one plane with the distances on the ground."""

import numpy as np
import pytest
import shapely
from rasterio.crs import CRS

from overfly.runtime.errors import RasterError
from overfly.runtime.raster.scale import project
from overfly.training.data.chips.ground import RasterWindows, ground_footprints

UTM = CRS.from_epsg(32632)


def _square(x, y, side=100.0):
    return np.array([[[x, y], [x + side, y], [x + side, y - side], [x, y - side]]])


def _in(crs, corners):
    crs = CRS.from_epsg(crs)
    xs, ys = project(UTM, crs, *corners.reshape(-1, 2).T)
    return RasterWindows(crs, np.stack([xs, ys], axis=1).reshape(corners.shape))


@pytest.mark.parametrize("crs", [32632, 32633, 3857, 4326, 31468, 3035])
def test_the_same_ground_is_the_same_place_in_every_crs(crs):
    here, there = ground_footprints(
        [RasterWindows(UTM, _square(700_000, 5_300_000)), _in(crs, _square(700_000, 5_300_000))]
    )
    assert shapely.area(shapely.intersection(here, there)) == pytest.approx(10_000, rel=2e-3)
    assert shapely.hausdorff_distance(here, there) < 0.01


def test_gaps_are_meters_on_the_ground_also_in_web_mercator():
    # At 60 degrees north, 100 m on the ground are 200 units of Web Mercator.
    one, other = _square(1_000_000, 8_399_737), _square(1_000_300, 8_399_737)
    (first,), (second,) = (ground_footprints([RasterWindows(CRS.from_epsg(3857), c)]) for c in (one, other))
    both = ground_footprints([RasterWindows(CRS.from_epsg(3857), c) for c in (one, other)])
    assert both[0].distance(both[1]) == pytest.approx(100, rel=5e-3)
    assert first.area == pytest.approx(second.area, rel=1e-3) == pytest.approx(2500, rel=1e-2)


def test_rasters_on_other_continents_are_far_apart_and_keep_their_size():
    windows = [RasterWindows(CRS.from_epsg(epsg), _square(500_000, 5_000_000)) for epsg in (32632, 32610)]
    here, there = ground_footprints(windows)
    assert here.distance(there) > 1e7
    assert here.area == pytest.approx(10_000, rel=1e-3) == pytest.approx(there.area, rel=1e-3)


def test_neighbors_on_both_sides_of_180_degrees_are_neighbors():
    west = RasterWindows(CRS.from_epsg(4326), np.array([[[179.999, 0.001], [180, 0.001], [180, 0], [179.999, 0]]]))
    east = RasterWindows(CRS.from_epsg(4326), np.array([[[-180, 0.001], [-179.999, 0.001], [-179.999, 0], [-180, 0]]]))
    here, there = ground_footprints([west, east])
    assert here.distance(there) < 0.01


def test_a_place_outside_of_the_earth_is_an_error():
    with pytest.raises(RasterError, match="no place on the Earth"):
        ground_footprints([RasterWindows(UTM, _square(1e12, 1e12))])


def test_a_raster_without_windows_has_no_footprints():
    empty = RasterWindows(UTM, np.empty((0, 4, 2)))
    assert len(ground_footprints([empty, RasterWindows(UTM, _square(500_000, 5_000_000)), empty])) == 1
