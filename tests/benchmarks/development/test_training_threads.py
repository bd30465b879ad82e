"""Every comparison of threads runs, and the processes that it starts end."""

import json
import multiprocessing

import pytest

from overfly.benchmarks.development.training_threads import _keep_busy, _start, main


@pytest.mark.full  # more than a minute, most of it the start of processes
def test_every_comparison_runs(tiny_data, capsys):
    arguments = ["--weights", "none", "--image-size", "32", "--rounds", "1", "--steps", "2", "--json"]
    main([str(tiny_data), *arguments])
    printed = json.loads(capsys.readouterr().out)
    assert [comparison["at_least"] for comparison in printed] == [0.9, 0.9, 1.0, 0.5] * 2
    assert all(comparison["ratio"] > 0 for comparison in printed)
    assert not multiprocessing.active_children()


@pytest.mark.slow
def test_a_process_ends_with_its_block():
    with _start(_keep_busy):
        (process,) = multiprocessing.active_children()
        assert process.is_alive()
    assert not multiprocessing.active_children()
    assert process.exitcode != 0
