"""The comparison with OpenVINO's own tools: ratios by hand, turns in order, and a short run of the real thing."""

import json

import pytest

from overfly.benchmarks import runner_overhead
from overfly.benchmarks.runner_overhead import Comparison, main, table


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

    ours, theirs = runner_overhead._in_turns(3, side("a", iter([1, 2, 3])), side("b", iter([10, 20, 30])))
    assert calls == ["a", "b", "b", "a", "a", "b"]
    assert (ours, theirs) == ((1, 2, 3), (10, 20, 30))


def test_a_rate_counts_what_was_done_for_as_long_as_asked(monkeypatch):
    now = 0.0

    def work(items):
        nonlocal now
        for item in items:
            now += 0.25
            yield item

    monkeypatch.setattr(runner_overhead.time, "perf_counter", lambda: now)
    assert runner_overhead._rate(work, ["a", "b", "c"], 2.0) == pytest.approx(4)


def test_the_table_says_what_was_not_kept():
    good = Comparison("fast", "ms", (1.0,), (1.0,), at_most=1.03)
    bad = Comparison("slow", "images/s", (90.0,), (100.0,), at_least=0.97)
    shown = table([good, bad])
    columns = {column.header: list(column.cells) for column in shown.columns}
    assert columns["kept"] == ["yes", "no"]
    assert columns["ratio"] == ["1.000", "0.900"]
    assert columns["limit"] == ["at most 1.03", "at least 0.97"]


@pytest.mark.slow
def test_every_comparison_runs_against_the_real_tools(tiny_bundle, tiny_data, capsys):
    arguments = [str(tiny_bundle), "--pictures", str(tiny_data), "--rounds", "1", "--seconds", "0.3", "--json"]
    main(arguments)
    told = json.loads(capsys.readouterr().out)
    assert [c["unit"] for c in told] == ["ms", "images/s", "images/s", "ms"]
    for comparison in told:
        assert comparison["ratio"] == pytest.approx(comparison["ours"][0] / comparison["theirs"][0])
        # The same work: far off would mean that one side measures something else.
        assert 0.2 < comparison["ratio"] < 5
