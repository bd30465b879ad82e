"""What the temperature gains: by hand, and for a small run."""

import json

import numpy as np
import pytest

from overfly.benchmarks.development.calibration import Calibration, Quality, compare, main, with_mean
from overfly.export.exporter import ExportJob, export


def test_the_figures_are_those_with_and_without_the_temperature():
    # Three of four images are right, each with a probability of 3/4; with a temperature of 2, e^2/(1 + e^2) and so on.
    logits = np.log(np.array([[3, 1], [3, 1], [3, 1], [1, 3]], np.float32))
    found = compare("fp32, seed 0", logits, np.zeros(4, np.int64), 2.0)
    assert (found.n_right, found.n_images) == (3, 4)
    assert found.calibrated.ece == pytest.approx(0, abs=1e-6)
    assert found.calibrated.nll == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4, rel=1e-6)
    # The probabilities are 9/10 without the temperature.
    assert found.raw.ece == pytest.approx(0.15, rel=1e-5)
    assert found.raw.nll == pytest.approx(-(3 * np.log(0.9) + np.log(0.1)) / 4, rel=1e-5)
    assert found.raw.brier == pytest.approx((3 * 0.02 + 1.62) / 4, rel=1e-5)
    assert found.is_met


def test_the_mean_has_limits_of_its_own():
    good, bad = Quality(0.01, 0.1, 0.02), Quality(0.03, 0.3, 0.04)
    rows = [Calibration(f"int8, seed {seed}", 98, 100, 0.01, good, bad) for seed in (0, 1)]
    *_, mean = with_mean("int8", rows)
    assert mean == Calibration("int8, mean", 196, 200, 0.01, good, bad, is_mean=True)
    assert mean.is_met
    worse = Calibration("int8, seed 2", 98, 100, 0.01, Quality(0.05, 0.1, 0.02), bad)
    assert not with_mean("int8", [*rows, worse])[-1].is_met
    assert mean.cells[1:5] == ("196 of 200", "0.010 (0.030)", "0.010", "0.100 (0.300)")


@pytest.mark.slow
def test_a_run_and_its_bundle(short_run, three_blocks, tmp_path, capsys):
    with three_blocks():
        bundle = export(ExportJob(run=short_run, out=tmp_path / "bundle", variants=("fp32", "int8")))
    main([str(short_run), str(bundle.path), "--json"])
    rows = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in rows] == ["fp32, seed 0", "fp32, mean", "int8, seed 0", "int8, mean"]
    assert all(row["n_images"] == 24 for row in rows)


def test_a_bundle_after_each_run(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path)])
    assert "expected a bundle after each run" in capsys.readouterr().err
