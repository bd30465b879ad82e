"""Ratios computed by hand, and the order of the measurements."""

import pytest

from overfly.benchmarks.development.ab_test import ABResult, measure_alternately


@pytest.mark.parametrize(
    ("limits", "kept"),
    [({"at_most": 1.0}, True), ({"at_most": 0.99}, False), ({"at_least": 1.0}, True), ({"at_least": 1.01}, False)],
)
def test_the_ratio_is_the_median_of_the_rounds_and_is_held_against_the_limit(limits, kept):
    result = ABResult("x", "ms", ours=(2.0, 3.0, 10.0), theirs=(4.0, 3.0, 5.0), **limits)
    assert result.ratios == (0.5, 1.0, 2.0)
    assert result.ratio == 1.0
    assert result.is_met is kept


def test_the_sides_take_turns_and_the_first_changes_each_round():
    calls = []

    def side(name, figures):
        def measure():
            calls.append(name)
            return next(figures)

        return measure

    ours, theirs = measure_alternately(3, side("a", iter([1, 2, 3])), side("b", iter([10, 20, 30])))
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert (ours, theirs) == ((1, 2, 3), (10, 20, 30))
