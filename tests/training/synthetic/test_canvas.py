"""The canvas: its coordinates, its noise, and how shapes, crowns and shadows are drawn on it."""

import numpy as np
import pytest

from overfly.training.synthetic.canvas import Canvas, Shape, mixed, placed, rectangle, scaled


def make_canvas(size=64, seed=2):
    return Canvas(np.random.default_rng(seed), size)


@pytest.mark.parametrize("size", [32, 64, 512])
def test_the_ground_covered_does_not_depend_on_the_number_of_pixels(size):
    reference, canvas = (Canvas(np.random.default_rng(1), s) for s in (256, size))
    assert canvas.extent_m == pytest.approx(reference.extent_m)
    assert canvas.m_per_px == pytest.approx(reference.m_per_px * 256 / size)
    assert 0.8 * 0.3 < reference.m_per_px < 1.25 * 0.3


def test_scene_coordinates_and_pixels_are_inverse():
    canvas = Canvas(np.random.default_rng(2), 64)
    row, column = 10, 47
    place = np.array([[canvas.u[row, column], canvas.v[row, column]]], dtype=float)
    assert canvas.to_pixels(place)[0] == pytest.approx([column + 0.5, row + 0.5], abs=1e-3)


def test_a_shadow_falls_away_from_the_sun_and_its_length_is_that_of_the_slope():
    canvas = Canvas(np.random.default_rng(5), 256)
    canvas.sun, canvas.sun_slope = (1.0, 0.0), 1.0
    canvas.height_m[100:120, 100:110] = 12 * canvas.m_per_px
    shaded = canvas._shade() > 0.5
    assert shaded[110, 110:119].all()
    assert not shaded[110, 123:].any()
    assert not shaded[110, :110].any()
    assert not shaded[:100].any()


@pytest.mark.parametrize("feature_m", [1.0, 8.0, 30.0])
def test_noise_has_a_mean_of_about_0_and_a_deviation_of_about_1(feature_m):
    values = np.stack([make_canvas(128, seed).noise(feature_m) for seed in range(12)])
    assert abs(values.mean()) < 0.35
    assert 0.7 < values.std() < 1.3


def test_coverage_is_1_inside_0_outside_and_a_half_on_the_edge():
    canvas = make_canvas()
    distance_m = np.array([-9, 0, 9], np.float32) * canvas.m_per_px
    assert canvas.edge(distance_m).tolist() == [0, 0.5, 1]
    assert canvas.strip(distance_m, 4 * canvas.m_per_px).tolist() == [0, 1, 0]


def test_a_strip_narrower_than_a_pixel_covers_its_share_of_it():
    canvas = make_canvas()
    assert canvas.strip(np.zeros(1, np.float32), 0.25 * canvas.m_per_px) == pytest.approx(0.25 * 0.625)


def test_the_distance_to_periodic_lines_is_to_the_nearest():
    distances = make_canvas().periodic(np.array([0, 4, 6, 10, 13], np.float32), 0.0, 10.0)
    assert distances.tolist() == [0, 4, -4, 0, 3]


def test_a_later_shape_is_on_top_and_nothing_lowers_the_height_map():
    canvas = make_canvas()
    corners = rectangle((0.0, 0.0), 20.0, 20.0)
    canvas.stamp([Shape(corners, (1.0, 0.0, 0.0), 2.0), Shape(corners, (0.0, 0.0, 1.0), 5.0)])
    canvas.stamp([Shape(corners, (0.0, 1.0, 0.0), 3.0)])
    row, column = (int(value) for value in canvas.to_pixels(np.zeros((1, 2)))[0][::-1])
    assert canvas.albedo[:, row, column].tolist() == [0, 1, 0]
    assert canvas.height_m[row, column] == 5
    assert canvas.height_m[0, 0] == 0


def test_a_crown_is_hidden_by_what_is_higher():
    canvas = make_canvas()
    canvas.height_m[:] = 100
    canvas.plant(np.zeros((1, 2)), radius_m=(6.0, 6.0), palette=[(0.2, 0.4, 0.2)])
    assert not canvas.albedo.any()
    canvas.height_m[:] = 0
    canvas.plant(np.zeros((1, 2)), radius_m=(6.0, 6.0), palette=[(0.2, 0.4, 0.2)])
    assert canvas.albedo.any()
    assert 6 < canvas.height_m.max() < 13


def test_what_is_outside_of_the_image_is_not_seen():
    canvas = make_canvas()
    assert canvas.sees((0.0, 0.0), 0.0)
    assert not canvas.sees((canvas.extent_m, 0.0), 1.0)
    assert canvas.sees((canvas.extent_m, 0.0), canvas.extent_m)


def test_colors_are_mixed_and_scaled_within_their_range():
    assert mixed((0.0, 0.5, 1.0), (1.0, 0.5, 0.0), 0.25) == (0.25, 0.5, 0.75)
    assert scaled((0.2, 0.5, 0.9), 2.0) == (0.4, 1.0, 1.0)


def test_points_are_rotated_before_they_are_moved():
    assert placed(np.array([[1.0, 0.0]]), (10.0, 20.0), np.pi / 2).tolist() == [pytest.approx([10.0, 21.0])]
    assert np.ptp(rectangle((3.0, 4.0), 5.0, 2.0), axis=0) == pytest.approx([5.0, 2.0])
