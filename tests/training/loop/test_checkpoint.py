"""An interrupted training goes on to the very same weights, and nothing finished is ever lost."""

import csv
import dataclasses
import hashlib
import shutil
import subprocess
import sys

import pytest

from overfly.runtime.errors import OutputError, RunError
from overfly.runtime.reporter import Reporter
from overfly.training.job import TrainJob, train
from overfly.training.recipe import override
from overfly.training.run import Run

STATE = "last/state.safetensors"

CHILD = """
import sys
from pathlib import Path
from overfly.runtime.reporter import Reporter
from overfly.training.recipe import Recipe
from overfly.training.job import Job, train

class Teller(Reporter):
    def note(self, message):
        print(message, flush=True)
        if message.startswith("epoch 1"):
            sys.stdin.read()  # until the parent kills this process

recipe = eval(sys.argv[3])
train(Job(Path(sys.argv[1]), Path(sys.argv[2]), recipe, weights="none", seed=5, device="cpu"), reporter=Teller())
"""


def interrupted(job, listener, stop_at="epoch 1 of 3  ", **options):
    """Train until the reporter hears certain words."""
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=listener(stop_at=stop_at), **options)
    return job


def deterministic_rows(run):
    """The history without what the clock says."""
    with (run.path / "history.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: row[key] for key in ("epoch", "loss", "val_accuracy", "learning_rate")} for row in rows]


def assert_same(run, other):
    """Two runs came to the same weights by the same way."""
    assert run.record.checkpoint_sha256 == other.record.checkpoint_sha256
    assert run.record.split_sha256 == other.record.split_sha256
    assert run.record.metrics == other.record.metrics
    assert deterministic_rows(run) == deterministic_rows(other)


@pytest.fixture(scope="module")
def stopped(scenes, recipe, tmp_path_factory):
    """The work folder of a training that was stopped after its first epoch; not to be changed."""

    class Stop(Exception):  # noqa: N818 - it is no error
        pass

    class Stopper(Reporter):
        def note(self, message):
            if message.startswith("epoch 1"):
                raise Stop

    job = TrainJob(scenes, tmp_path_factory.mktemp("stopped") / "run", recipe, weights="none", seed=5, device="cpu")
    with pytest.raises(Stop):
        train(job, reporter=Stopper())
    return job.work


@pytest.fixture
def unfinished(stopped, make_job):
    """A job whose training was stopped after its first epoch."""
    job = make_job()
    shutil.copytree(stopped, job.work)
    return job


@pytest.mark.parametrize("stop_at", ["epoch 1 of 3", "epoch 1 of 3  ", "epoch 2 of 3  ", "testing"])
def test_a_resumed_training_comes_to_the_same_weights(finished, make_job, listener, stop_at):
    # With two blanks the words are those of the note after an epoch, without them those of the bar within it.
    job = interrupted(make_job(), listener, stop_at)
    assert not job.out.exists()
    # Until the first epoch is done there is nothing to go on with.
    assert (job.work / "last").exists() == (stop_at != "epoch 1 of 3")
    assert_same(train(job, resume=True), finished[0])
    assert not job.work.exists()


def test_a_killed_training_comes_to_the_same_weights(finished, make_job, recipe, scenes):
    job = make_job()
    command = [sys.executable, "-c", CHILD, str(scenes), str(job.out), repr(recipe)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        line = child.stdout.readline()
        child.kill()
    assert line.startswith("epoch 1 of 3")
    assert (job.work / STATE).exists()
    assert_same(train(job, resume=True), finished[0])


@pytest.mark.parametrize(
    ("field", "value"),
    [("learning_rate", 0.004), ("epochs", 4), ("batch_size", 8), ("ema_decay", 0.5), ("jitter", 0.0)],
)
def test_a_changed_recipe_is_refused_by_the_fields_name(unfinished, recipe, field, value):
    before = (unfinished.work / STATE).read_bytes()
    changed = dataclasses.replace(unfinished, recipe=override(recipe, **{field: value}))
    with pytest.raises(RunError) as caught:
        train(changed, resume=True)
    assert str(caught.value) == (
        f"{unfinished.work / STATE} is of a training with {field} = {getattr(recipe, field)}, not {value}: "
        "repeat the command as it was, or start again with --overwrite"
    )
    assert (unfinished.work / STATE).read_bytes() == before


def test_a_changed_seed_is_refused(unfinished):
    with pytest.raises(RunError, match="of a training with seed = 5, not 6"):
        train(dataclasses.replace(unfinished, seed=6), resume=True)


def test_changed_data_are_refused(unfinished, make_folder):
    with pytest.raises(RunError, match="of a training with split = "):
        train(dataclasses.replace(unfinished, data=make_folder(seed=3)), resume=True)


def test_a_resumed_training_says_where_it_goes_on_and_finds_moved_data(finished, unfinished, make_folder, listener):
    heard = listener()
    moved = dataclasses.replace(unfinished, data=make_folder("moved"))
    assert_same(train(moved, resume=True, reporter=heard), finished[0])
    assert heard.notes[0] == "going on after epoch 1 of 3"
    assert not any(stage.startswith("epoch 1") for stage, _, _ in heard.stages)


@pytest.mark.parametrize(
    "damage", [lambda c: c[:1000], lambda _: b"", lambda c: c[: len(c) // 2], lambda _: b"{}" * 99]
)
def test_a_damaged_state_is_told(unfinished, damage):
    path = unfinished.work / STATE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError, match="can't be read") as caught:
        train(unfinished, resume=True)
    assert str(caught.value).startswith(f"{path} ")
    assert str(caught.value).endswith("start again with --overwrite")


def test_an_unfinished_run_is_neither_lost_nor_taken_up_by_chance(unfinished):
    before = (unfinished.work / STATE).read_bytes()
    with pytest.raises(OutputError) as caught:
        train(unfinished)
    assert str(caught.value) == (
        f"{unfinished.work} holds an unfinished run: add --resume to go on with it, or --overwrite to start again"
    )
    assert (unfinished.work / STATE).read_bytes() == before


def test_overwrite_starts_an_unfinished_run_again(finished, unfinished, listener):
    heard = listener()
    run = train(unfinished, overwrite=True, reporter=heard)
    assert heard.notes[0].startswith("epoch 1 of 3")
    assert_same(run, finished[0])


@pytest.fixture
def occupied(finished, make_job):
    """A job with another seed whose output holds a finished run."""
    job = make_job(seed=6)
    shutil.copytree(finished[0].path, job.out)
    return job


@pytest.mark.parametrize("resume", [False, True])
def test_a_finished_run_is_not_overwritten(occupied, finished, resume):
    with pytest.raises(OutputError) as caught:
        train(occupied, resume=resume)
    assert str(caught.value) == (
        f"{occupied.out} exists already: choose another place, or add --overwrite to replace it"
    )
    assert Run.open(occupied.out).record == finished[0].record
    assert not occupied.work.exists()


def test_overwrite_keeps_the_finished_run_until_the_new_one_is_complete(occupied, finished, listener):
    interrupted(occupied, listener, "testing", overwrite=True)
    old = Run.open(occupied.out)
    assert old.record == finished[0].record
    assert hashlib.sha256((old.path / "checkpoint.safetensors").read_bytes()).hexdigest() == (
        old.record.checkpoint_sha256
    )
    new = train(occupied, resume=True, overwrite=True)
    assert new.record.seed == 6
    assert new.record.checkpoint_sha256 != finished[0].record.checkpoint_sha256
    assert [path.name for path in occupied.out.parent.iterdir()] == ["run"]
