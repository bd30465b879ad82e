"""The comparison of recipes: its statistics by hand, its checks, and runs of a small training."""

import json
import shutil
from dataclasses import astuple
from pathlib import Path

import pytest

from overfly.benchmarks.development.recipe_comparison import Difference, Judged, compare, main
from overfly.runtime.files.hashing import sha256_file
from overfly.training.job import TrainJob, train
from overfly.training.run import Run


def test_the_interval_is_that_of_students_t():
    # The differences are 1, 2 and 3: mean 2, standard error 1/sqrt(3), and t is 4.3027 with two degrees of freedom.
    found = Difference.of([2, 4, 6], [1, 2, 3])
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), rel=1e-4)


def test_runs_are_paired_by_seed():
    baseline = {0: Judged(100, 90, 0.3), 1: Judged(100, 80, 0.5)}
    other = {1: Judged(100, 81, 0.4), 0: Judged(100, 91, 0.2)}
    first, second = compare({"default": baseline, "longer": other})
    assert first.accuracy is None
    assert first.cells == ("default", "170 of 200", "90, 80", "baseline", "0.400", "baseline", "-")
    assert astuple(second.accuracy) == pytest.approx((0.01, 0.01, 0.01))
    assert astuple(second.nll) == pytest.approx((-0.1, -0.1, -0.1))


@pytest.mark.parametrize(("n_right", "is_met"), [([50, 52], True), ([44, 45], False)])
def test_a_recipe_may_not_cost_more_than_its_interval(n_right, is_met):
    baseline = {seed: Judged(100, 52, 0.3) for seed in (0, 1)}
    _, other = compare({"a": baseline, "b": {seed: Judged(100, right, 0.3) for seed, right in enumerate(n_right)}})
    assert other.is_met == is_met


@pytest.fixture(scope="module")
def runs(short_run, tmp_path_factory, three_blocks):
    """Return the folders of two runs that differ in their seed."""
    first = Run.open(short_run).record
    job = TrainJob(
        data=Path(first.data), out=tmp_path_factory.mktemp("runs") / "1", recipe=first.recipe, weights="none", seed=1
    )
    with three_blocks():
        train(job)
    return [str(short_run), str(job.out)]


@pytest.mark.slow
def test_a_recipe_is_no_different_from_itself(runs, three_blocks, capsys):
    with three_blocks():
        main(["--recipe", "a", *runs, "--recipe", "b", *reversed(runs), "--json"])
    baseline, other = json.loads(capsys.readouterr().out)
    assert (baseline["name"], other["name"]) == ("a", "b")
    assert other["judged"].keys() == baseline["judged"].keys() == {"0", "1"}
    assert other["accuracy"] == other["nll"] == {"mean": 0, "low": 0, "high": 0}
    n_images = sum(len(Run.open(Path(run)).split().images("val")) for run in runs)
    assert sum(run["n_images"] for run in baseline["judged"].values()) == n_images


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        ([["a", 0, 1]], "found one recipe"),
        ([["a", 0, 1], ["a", 0, 1]], "found one recipe"),
        ([["a", 0], ["b", 0]], "the runs of a have too few seeds"),
        ([["a", 0, 1], ["b", 0, 0]], "the runs of b have too few seeds"),
        ([["a", 0, 1], ["b", 0, 2]], "the runs of b have other seeds or splits than those of a"),
    ],
)
def test_runs_that_cannot_be_compared(runs, tmp_path, capsys, recipes, message):
    renumber(Path(runs[1]), tmp_path / "2", seed=2)
    paths = [*runs, str(tmp_path / "2")]
    options = [word for name, *places in recipes for word in ("--recipe", name, *(paths[i] for i in places))]
    with pytest.raises(SystemExit):
        main(options)
    assert message in capsys.readouterr().err


def renumber(source, target, seed):
    """Copy a run, as if it had been trained with another seed."""
    shutil.copytree(source, target)
    record = json.loads((target / "run.json").read_text())
    (target / "run.json").write_text(json.dumps({**record, "seed": seed}))


@pytest.mark.slow
def test_a_run_without_the_part(short_run, tmp_path, capsys):
    """A run from a split without validation images cannot be judged on them."""
    folders = []
    for seed in (0, 1):
        renumber(short_run, tmp_path / str(seed), seed=seed)
        split = tmp_path / str(seed) / "split.json"
        split.write_text(split.read_text().replace('"val"', '"train"'))
        run = tmp_path / str(seed) / "run.json"
        record = json.loads(run.read_text())
        run.write_text(json.dumps({**record, "split_sha256": sha256_file(split)}))
        folders.append(str(tmp_path / str(seed)))
    with pytest.raises(SystemExit):
        main(["--recipe", "a", *folders, "--recipe", "b", *folders])
    assert "has no validation part" in capsys.readouterr().err
