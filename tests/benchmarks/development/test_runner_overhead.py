"""The comparison with OpenVINO's own tools: a rate by hand, and a short run of the real thing."""

import json

import pytest

from overfly.benchmarks.development import runner_overhead
from overfly.benchmarks.development.runner_overhead import main


def test_a_rate_counts_what_was_done_for_as_long_as_asked(monkeypatch):
    now = 0.0

    def work(items):
        nonlocal now
        for item in items:
            now += 0.25
            yield item

    monkeypatch.setattr(runner_overhead.time, "perf_counter", lambda: now)
    assert runner_overhead._rate(work, ["a", "b", "c"], 2.0) == pytest.approx(4)


@pytest.mark.full
def test_every_comparison_runs_against_the_real_tools(tiny_bundle, tiny_data, capsys):
    arguments = [str(tiny_bundle), "--images", str(tiny_data), "--rounds", "1", "--seconds", "0.3", "--json"]
    main(arguments)
    printed = json.loads(capsys.readouterr().out)
    assert [c["unit"] for c in printed] == ["ms", "images/s", "images/s", "images/s", "ms", "ms", "ms"]
    for comparison in printed:
        assert comparison["ratio"] == pytest.approx(comparison["ours"][0] / comparison["theirs"][0])
        assert comparison["ratio"] > 0


def test_the_old_name_of_an_option_is_answered_with_the_new_one(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["bundle", "--pictures", "folder"])
    assert stopped.value.code == 2
    assert "--images folder" in capsys.readouterr().err.splitlines()[-1]
