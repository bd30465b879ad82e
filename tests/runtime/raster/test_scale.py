"""Sizes on the ground are those of the ellipsoid, whatever the CRS."""

import math

import numpy as np
import pytest
from rasterio import Affine
from rasterio.crs import CRS

from overfly.runtime.raster.scale import cell_areas, pixel_size

A, F = 6_378_137.0, 1 / 298.257223563  # WGS 84
E2 = F * (2 - F)


def meridian_radius(latitude):
    return A * (1 - E2) / (1 - E2 * math.sin(latitude) ** 2) ** 1.5


def normal_radius(latitude):
    return A / math.sqrt(1 - E2 * math.sin(latitude) ** 2)


@pytest.mark.parametrize("latitude", [-55.0, 0.0, 37.5, 70.0])
def test_a_pixel_in_degrees_has_the_length_of_the_arcs(latitude):
    step = 1e-4
    size = pixel_size(CRS.from_epsg(4326), Affine(step, 0, 10, 0, -step, latitude + 50 * step), 100, 100)
    phi, arc = math.radians(latitude), math.radians(step)
    assert size.x == pytest.approx(normal_radius(phi) * math.cos(phi) * arc, rel=1e-6)
    assert size.y == pytest.approx(meridian_radius(phi) * arc, rel=1e-6)


def test_a_meter_of_web_mercator_is_shorter_on_the_ground():
    # At 60 degrees north. The projection stretches by A / (normal radius * cos) to the east.
    y, phi = 8_399_737.89, math.radians(60)
    size = pixel_size(CRS.from_epsg(3857), Affine(2, 0, 1e6, 0, -2, y + 100), 100, 100)
    assert size.x == pytest.approx(2 * normal_radius(phi) * math.cos(phi) / A, rel=1e-5)
    assert size.y == pytest.approx(2 * meridian_radius(phi) * math.cos(phi) / A, rel=1e-5)


def test_feet_are_converted():
    size = pixel_size(CRS.from_epsg(2926), Affine(1, 0, 1_200_000, 0, -1, 200_000), 10, 10)
    assert size.x == pytest.approx(0.3048006, rel=2e-4)


def test_a_place_that_is_not_on_the_earth_is_an_error():
    with pytest.raises(ValueError, match="outside"):
        pixel_size(CRS.from_epsg(32632), Affine(1e9, 0, 1e12, 0, -1e9, 1e12), 100, 100)


def zone_area(south, north):
    """Return the area between two parallels, per radian of longitude, by numerical integration."""
    phi = np.linspace(south, north, 20_001)
    middle = (phi[1:] + phi[:-1]) / 2
    w = 1 - E2 * np.sin(middle) ** 2
    return float(np.sum(A**2 * (1 - E2) * np.cos(middle) / w**2 * np.diff(phi)))


def test_areas_are_those_between_meridians_and_parallels():
    step = 0.01
    areas = cell_areas(CRS.from_epsg(4326), Affine(step, 0, 8, 0, -step, 48), 300, 4)
    assert areas.shape == (300, 4)
    for row in (0, 150, 299):
        north = math.radians(48 - step * row)
        expected = zone_area(north - math.radians(step), north) * math.radians(step)
        np.testing.assert_allclose(areas[row], expected, rtol=1e-6)


def test_areas_in_utm_are_those_of_the_scale_factor():
    areas = cell_areas(CRS.from_epsg(32632), Affine(100, 0, 500_000, 0, -100, 5_000_000), 3, 3)
    np.testing.assert_allclose(areas, (100 / 0.9996) ** 2, rtol=1e-5)


def test_areas_around_a_pole_add_up():
    areas = cell_areas(CRS.from_epsg(3413), Affine(1000, 0, -20_000, 0, -1000, 20_000), 40, 40)
    middle = areas[19:21, 19:21]
    step = pixel_size(CRS.from_epsg(3413), Affine(1000, 0, -20_000, 0, -1000, 20_000), 40, 40)
    np.testing.assert_allclose(middle, step.x * step.y, rtol=1e-4)
    assert areas.max() / areas.min() < 1.001
