"""The simulation of a cluster takes every block, and says how fast."""

import json

import pytest

from overfly.benchmarks.development import cluster_speed


@pytest.mark.slow
def test_simulated_workers_classify_all_blocks(tiny_bundle, capsys):
    cluster_speed.main([str(tiny_bundle), "--workers", "3", "--pause", "0.01", "--blocks", "20", "--json"])
    (record,) = json.loads(capsys.readouterr().out)
    assert (record["n_workers"], record["n_blocks"]) == (3, 20)
    assert 0 < record["blocks_per_s"] <= 3 / 0.01 * 1.5
    assert record["client_ms"] > 0


def test_a_result_is_met_from_200_blocks_per_second_on():
    slow, fast = (cluster_speed.SimulationResult(200, 0.5, 3000, rate, 1.5) for rate in (199.0, 200.0))
    assert (slow.is_met, fast.is_met) == (False, True)
    assert fast.cells == ("200", "400", "200", "1.50", "at least 200")
