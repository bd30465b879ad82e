"""Figures as text."""

import pytest

from overfly.benchmarks.results import number_format


def test_a_tiny_p_is_not_written_as_zero():
    texts = [number_format.p_value(p) for p in (0.0, 0.00099, 0.001, 1.0)]
    assert texts == ["<0.001", "<0.001", "0.001", "1.000"]


@pytest.mark.parametrize(
    ("function", "value", "text"),
    [
        ("percent", 419 / 420, "99.8"),
        ("percent", 1.0, "100.0"),
        ("decimal", -0.12345, "-0.123"),
        ("milliseconds", 0.4567, "0.46"),
        ("milliseconds", 9.99, "9.99"),
        ("milliseconds", 9.999, "10.0"),
        ("milliseconds", 10.0, "10.0"),
        ("milliseconds", 99.96, "100"),
        ("milliseconds", 100.4, "100"),
        ("rate", 99.94, "99.9"),
        ("rate", 99.96, "100"),
        ("rate", 1234.5, "1,234"),
        ("mebibytes", 2.5 * 2**20, "2.5"),
        ("mebibytes", 100 * 2**20 - 1, "100"),
        ("mebibytes", 100 * 2**20, "100"),
        ("factor", 14.16, "14.2"),
        ("factor", 99.97, "100"),
        ("factor", 123.4, "123"),
    ],
)
def test_a_figure_has_the_digits_that_matter(function, value, text):
    assert getattr(number_format, function)(value) == text


def test_a_missing_figure_is_a_dash():
    assert number_format.optional(None, number_format.percent) == "-"
    assert number_format.optional(0.0, number_format.percent) == "0.0"


def test_an_interval_has_both_bounds_in_the_format_of_the_figure():
    assert number_format.interval((0.905, 0.9876), number_format.percent) == "90.5 to 98.8"
    assert number_format.interval((0.905, 0.9876), number_format.decimal) == "0.905 to 0.988"


def test_a_number_of_images_has_its_noun():
    assert [number_format.images(n) for n in (0, 1, -1, 2)] == ["0 images", "1 image", "-1 image", "2 images"]
    assert [number_format.images(n, "+d") for n in (1, -4)] == ["+1 image", "-4 images"]
