"""Two sides in turns: ratios by hand, turns in order, and what the table says."""

import json

import pytest

from overfly.benchmarks.development.ab_test import Comparison, in_turns, show, table


@pytest.mark.parametrize(
    ("limits", "kept"),
    [({"at_most": 1.0}, True), ({"at_most": 0.99}, False), ({"at_least": 1.0}, True), ({"at_least": 1.01}, False)],
)
def test_the_ratio_is_the_median_of_the_rounds_and_kept_or_not(limits, kept):
    comparison = Comparison("x", "ms", ours=(2.0, 3.0, 10.0), theirs=(4.0, 3.0, 5.0), **limits)
    assert comparison.ratios == (0.5, 1.0, 2.0)
    assert comparison.ratio == 1.0
    assert comparison.kept is kept


def test_the_sides_take_turns_and_the_first_changes_each_round():
    calls = []

    def side(name, figures):
        def measure():
            calls.append(name)
            return next(figures)

        return measure

    ours, theirs = in_turns(3, side("a", iter([1, 2, 3])), side("b", iter([10, 20, 30])))
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert (ours, theirs) == ((1, 2, 3), (10, 20, 30))


def test_the_table_says_what_was_not_kept():
    good = Comparison("fast", "ms", (1.0,), (1.0,), at_most=1.03)
    bad = Comparison("slow", "images/s", (90.0,), (100.0,), at_least=0.97)
    shown = table([good, bad])
    columns = {column.header: list(column.cells) for column in shown.columns}
    assert columns["kept"] == ["yes", "no"]
    assert columns["ratio"] == ["1.000", "0.900"]
    assert columns["limit"] == ["at most 1.03", "at least 0.97"]


def test_as_json_every_figure_is_there(capsys):
    show([Comparison("x", "ms", (2.0, 3.0), (4.0, 3.0), at_most=0.7)], as_json=True)
    (told,) = json.loads(capsys.readouterr().out)
    assert told == {
        "name": "x",
        "unit": "ms",
        "ours": [2.0, 3.0],
        "theirs": [4.0, 3.0],
        "at_least": None,
        "at_most": 0.7,
        "ratios": [0.5, 1.0],
        "ratio": 0.75,
        "kept": False,
    }
