"""The comparison of recipes: its statistics by hand, its checks, and runs of a small training."""

import json
import shutil
from dataclasses import astuple
from pathlib import Path

import pytest
from scipy.stats import t as student

from overfly.benchmarks.development.recipe_comparison import STUDENT_T, Difference, Judged, compare, main
from overfly.runtime.files.hashing import sha256_file
from overfly.training.job import TrainJob, train
from overfly.training.run import Run


def test_the_interval_is_that_of_students_t():
    # The differences are 1, 2 and 3: mean 2, standard error 1/sqrt(3), and t is 4.3027 with two degrees of freedom.
    found = Difference.of([2, 4, 6], [1, 2, 3])
    assert (found.mean, found.low, found.high) == pytest.approx((2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), rel=1e-4)


def test_the_quantiles_are_those_of_scipy():
    assert pytest.approx([student.ppf(0.975, n + 1) for n in range(len(STUDENT_T))], abs=6e-5) == STUDENT_T


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
    """Return the folders of three runs that differ in their seeds."""
    first = Run.open(short_run).record
    folder = tmp_path_factory.mktemp("runs")
    with three_blocks():
        for seed in (1, 2):
            out = folder / str(seed)
            train(TrainJob(data=Path(first.data), out=out, recipe=first.recipe, weights="none", seed=seed))
    return [str(short_run), str(folder / "1"), str(folder / "2")]


@pytest.mark.slow
def test_a_recipe_is_no_different_from_itself(runs, three_blocks, capsys):
    with three_blocks():
        main(["--recipe", "a", *runs, "--recipe", "b", *reversed(runs), "--json"])
    baseline, other = json.loads(capsys.readouterr().out)
    assert (baseline["name"], other["name"]) == ("a", "b")
    assert baseline["judged"] == other["judged"]
    assert list(other["judged"]) == ["0", "1", "2"]
    assert other["accuracy"] == other["nll"] == {"mean": 0, "low": 0, "high": 0}
    n_images = sum(len(Run.open(Path(run)).split().images("val")) for run in runs)
    assert sum(run["n_images"] for run in baseline["judged"].values()) == n_images


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipes", "message"),
    [
        ([["a", 0, 1, 2]], "found one recipe, or a name twice"),
        ([["a", 0, 1, 2], ["b", 0, 1, 2], ["a", 0, 1, 2]], "found one recipe, or a name twice"),
        ([["a", 0, 1], ["b", 0, 1]], "a has 2 runs of 2 seeds"),
        ([["a", 0, 1, 2], ["b", 0, 1, 1, 2]], "b has 4 runs of 3 seeds"),
        ([["a", 0, 1, 2], ["b"]], "b has 0 runs of 0 seeds"),
        ([["a", 0, 1, 2], ["b", 0, 1, 3]], "the runs of b have other seeds or splits than those of a"),
        ([["a", 0, 1, 2], ["b", 0, 1, 4]], "4 is not a run"),
    ],
)
def test_runs_that_cannot_be_compared(runs, tmp_path, capsys, recipes, message):
    renumber(Path(runs[2]), tmp_path / "3", seed=3)
    paths = [*runs, str(tmp_path / "3"), str(tmp_path / "4")]
    options = [word for name, *places in recipes for word in ("--recipe", name, *(paths[i] for i in places))]
    with pytest.raises(SystemExit) as stopped:
        main(options)
    assert stopped.value.code == 2
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
    for seed in range(3):
        folder = tmp_path / str(seed)
        renumber(short_run, folder, seed=seed)
        split = (folder / "split.json").read_text().replace('"val"', '"train"')
        (folder / "split.json").write_text(split)
        record = json.loads((folder / "run.json").read_text())
        record["split_sha256"] = sha256_file(folder / "split.json")
        (folder / "run.json").write_text(json.dumps(record))
        folders.append(str(folder))
    with pytest.raises(SystemExit):
        main(["--recipe", "a", *folders, "--recipe", "b", *folders])
    assert "has no validation part" in capsys.readouterr().err
