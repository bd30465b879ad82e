"""Figures as text."""

from overfly.benchmarks.results.number_format import p_value


def test_a_tiny_p_is_not_written_as_zero():
    assert [p_value(p) for p in (0.0, 0.00099, 0.001, 1.0)] == ["<0.001", "<0.001", "0.001", "1.000"]
