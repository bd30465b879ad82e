"""Stopped or killed at any step, a training continues from its saved state to exactly the same weights."""

import csv
import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save, save_file

from overfly.runtime.errors import OutputError, RunError
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.reporter import Reporter
from overfly.training.job import TrainJob, train
from overfly.training.loop import checkpoint
from overfly.training.models.build import build_model
from overfly.training.recipe import override
from overfly.training.run import Run

pytestmark = pytest.mark.usefixtures("small_model")

STATE = "last/state.safetensors"
N_STEPS = 8

# Trains, saves after each step, and kills itself at the given moment of the given step.
CHILD = """
import json, os, sys
from pathlib import Path
from overfly.runtime.reporter import Reporter
from overfly.training.job import TrainJob, train
from overfly.training.loop import checkpoint
from overfly.training.models.torchvision_import import torchvision_models
from overfly.training.recipe import Recipe

models = torchvision_models()
blocks = [[1, 16, 1, 1], [6, 24, 1, 2], [6, 40, 1, 2]]  # of the fixture three_blocks
models.mobilenet_v2 = lambda *, weights: models.MobileNetV2(inverted_residual_setting=blocks)
data, out, recipe, moment, fatal_step = sys.argv[1:]
n_steps = 0

def die_at(this_moment):
    if moment == this_moment and n_steps == int(fatal_step):
        os.kill(os.getpid(), 9)  # SIGKILL; Windows ends the process at once as well

class Counter(Reporter):
    def progress(self, stage, done, total):
        global n_steps
        if stage.startswith("epoch"):
            n_steps += 1
            die_at("before saving")

def replace(path, target, real=os.replace):
    die_at("half saved")
    real(path, target)
    die_at("after saving")

os.replace = replace
checkpoint.SAVE_EVERY_S = 0.0
recipe = Recipe(**json.loads(recipe))
job = TrainJob(data=Path(data), out=Path(out), recipe=recipe, weights="none", seed=5, device="cpu")
train(job, resume=True, reporter=Counter())
"""


@pytest.fixture(scope="module")
def steps(recipe):
    """Two epochs of four steps each, the last of three images."""
    return override(recipe, batch_size=4, epochs=2)


@pytest.fixture(scope="module")
def whole(scenes, steps, tmp_path_factory):
    """The SHA-256 of the weights after an uninterrupted training with the recipe `steps`."""
    out = tmp_path_factory.mktemp("whole") / "run"
    job = TrainJob(data=scenes, out=out, recipe=steps, weights="none", seed=5, device="cpu")
    return train(job).record.checkpoint_sha256


@pytest.fixture(scope="module")
def start_weights(tmp_path_factory):
    """The path of a weights file of the model; with weights, unlike without, layers can be frozen."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        save_file(build_model("mobilenet_v2", 1000).state_dict(), path)
    return str(path)


@pytest.fixture
def job(make_job, steps):
    """The job of `whole`, with an output of its own."""
    return make_job(recipe=steps)


@pytest.fixture
def saves_each_step(monkeypatch):
    """Save after every step."""
    monkeypatch.setattr(checkpoint, "SAVE_EVERY_S", 0.0)


def no_partial_files(folder):
    return not list(folder.rglob("*.part"))


class StopAtStep(Reporter):
    """Records notes, and calls `action` at a step, counted from 1 over all epochs."""

    def __init__(self, step=None, action=None):
        self.notes = []
        self.steps = 0
        self.step = step
        self.action = action

    def note(self, message):
        self.notes.append(message)

    def progress(self, stage, *_):
        if stage.startswith("epoch"):
            self.steps += 1
            if self.steps == self.step:
                self.action()


def interrupt():
    raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.usefixtures("saves_each_step")
def test_stopped_at_every_single_step_the_weights_are_the_same(job, whole):
    positions = []
    for n_done in range(N_STEPS - 1):
        heard = StopAtStep(2, interrupt)  # one step after the saved one, then lost
        with pytest.raises(KeyboardInterrupt):
            train(job, resume=True, reporter=heard)
        positions += [note for note in heard.notes if note.startswith("continuing")]
        assert len(positions) == n_done
    assert train(job, resume=True).record.checkpoint_sha256 == whole
    assert positions == [
        "continuing after step 1 of 4 in epoch 1 of 2",
        "continuing after step 2 of 4 in epoch 1 of 2",
        "continuing after step 3 of 4 in epoch 1 of 2",
        "continuing after epoch 1 of 2",
        "continuing after step 1 of 4 in epoch 2 of 2",
        "continuing after step 2 of 4 in epoch 2 of 2",
    ]


# Choices that have state of their own, or take a step in another way.
OTHER_STEPS = [
    {"sam_fraction": 0.8, "batch_norm": "frozen", "frozen_fraction": 0.3},
    {"optimizer": "adam", "schedule": "constant", "ema_decay": 0.0, "rotation": 0.0},
]


@pytest.mark.slow
@pytest.mark.parametrize("changes", OTHER_STEPS, ids=["SAM and frozen statistics", "as in the paper"])
def test_with_other_recipes_the_weights_are_the_same_too(make_job, steps, start_weights, tmp_path, changes):
    recipe = override(steps, **changes)
    whole, job = (make_job(recipe=recipe, weights=start_weights, out=tmp_path / name) for name in ("whole", "run"))
    for n_steps in (3, 3):
        with pytest.raises(KeyboardInterrupt):
            train(job, resume=True, reporter=StopAtStep(n_steps, lambda: signal.raise_signal(signal.SIGINT)))
    heard = StopAtStep()
    found = train(job, resume=True, reporter=heard).record.checkpoint_sha256
    assert heard.notes[0].endswith("step 2 of 4 in epoch 2 of 2")
    assert found == train(whole).record.checkpoint_sha256


@pytest.mark.parametrize(
    ("number", "step"),
    [
        (signal.SIGINT, 3),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((signal.SIGTERM, 4), (signal.SIGINT, 8))),
    ],
)
def test_an_interruption_finishes_the_step_and_saves(job, whole, number, step):
    heard = StopAtStep(step, lambda: signal.raise_signal(number))
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=heard)
    assert heard.steps == step
    heard = StopAtStep()
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    assert heard.notes[0].endswith(f"step {(step - 1) % 4 + 1} of 4 in epoch {(step + 3) // 4} of 2")
    assert heard.steps == N_STEPS - step


def test_an_interruption_after_the_last_step_stops_too(job, whole):
    class AtLastRow(Reporter):
        def row(self, cells):
            if cells["epoch"] == "2 of 2":
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=AtLastRow())
    heard = StopAtStep()
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    assert heard.notes[0].endswith("epoch 2 of 2")
    assert heard.steps == 0


def test_the_second_interruption_stops_at_once(job, whole):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=StopAtStep(6, twice))
    heard = StopAtStep()
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    assert heard.notes[0].endswith("after epoch 1 of 2")


def test_a_long_epoch_is_saved_every_five_minutes(job, monkeypatch):
    heard = StopAtStep(8, interrupt)
    monkeypatch.setattr(checkpoint, "time", SimpleNamespace(monotonic=lambda: 130.0 * heard.steps))
    saved_at = []
    monkeypatch.setattr("overfly.training.job.save_state", lambda *_: saved_at.append(heard.steps))
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=heard)
    # After 390 seconds, at the end of the epoch, and 390 seconds later.
    assert saved_at == [3, 4, 7]


def kill_at(moment, step, job):
    """Train in a process of its own that kills itself; return whether it did."""
    recipe = json.dumps(dataclasses.asdict(job.recipe))
    command = [sys.executable, "-c", CHILD, job.data, job.out, recipe, moment, step]
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert finished.returncode in {0, 9, -9}, finished.stderr
    return finished.returncode != 0


@pytest.mark.slow
def test_killed_while_it_saves_it_continues_from_the_state_before(job, whole):
    assert kill_at("half saved", 3, job)
    assert not no_partial_files(job.work)
    heard = StopAtStep()
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    assert heard.notes[0].endswith("step 2 of 4 in epoch 1 of 2")
    assert no_partial_files(job.out)


@pytest.mark.slow
def test_killed_again_and_again_the_weights_are_the_same(job, whole):
    rng = np.random.default_rng(0)
    while kill_at(rng.choice(["before saving", "half saved", "after saving"]), rng.integers(2, 5), job):
        assert not job.out.exists()
    assert sha256_file(job.out / "checkpoint.safetensors") == whole
    assert no_partial_files(job.out)


@pytest.mark.parametrize(("ema_decay", "stop_at"), [pytest.param(0.0, 5, marks=pytest.mark.slow), (0.9, 10)])
@pytest.mark.usefixtures("saves_each_step")
def test_the_best_epoch_survives_an_interruption(job, steps, monkeypatch, ema_decay, stop_at):
    weights = {}

    def accuracy(trainer, _part):
        if trainer.epoch == 2:
            weights.update({name: value.clone() for name, value in trainer.ema_model.model.state_dict().items()})
        return {1: 0.5, 2: 0.9, 3: 0.7}[trainer.epoch]

    monkeypatch.setattr("overfly.training.job._accuracy", accuracy)
    job = dataclasses.replace(job, recipe=override(steps, keep="best", epochs=3, ema_decay=ema_decay))
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=StopAtStep(stop_at, interrupt))
    heard = StopAtStep()
    run = train(job, resume=True, reporter=heard)
    kept = load_file(run.path / "checkpoint.safetensors")
    assert kept.keys() == weights.keys()
    temperature = run.record.temperature_scaling.temperature
    for name, value in kept.items():
        assert torch.equal(value, weights[name] / (temperature if name.startswith("classifier.") else 1)), name
    assert any("epoch 2" in note for note in heard.notes)


def interrupted(job, listener, stop_at, **options):
    """Train until the reporter receives a message that starts with `stop_at`."""
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=listener(stop_at=stop_at), **options)
    return job


def deterministic_rows(run):
    """The history without the times."""
    with (run.path / "history.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    return [{key: row[key] for key in ("epoch", "loss", "val_accuracy", "learning_rate")} for row in rows]


def assert_same(run, other):
    """Two runs have the same weights and the same history."""
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

    job = TrainJob(
        data=scenes, out=tmp_path_factory.mktemp("stopped") / "run", recipe=recipe, weights="none", seed=5, device="cpu"
    )
    with pytest.raises(Stop):
        train(job, reporter=Stopper())
    return job.work


@pytest.fixture
def unfinished(stopped, make_job):
    """A job whose training was stopped after its first epoch."""
    job = make_job()
    shutil.copytree(stopped, job.work)
    return job


@pytest.mark.parametrize("stop_at", ["epoch 1 of 3", pytest.param("testing", marks=pytest.mark.slow)])
def test_stopped_before_the_first_save_or_after_the_last_the_run_is_the_same(finished, make_job, listener, stop_at):
    job = interrupted(make_job(), listener, stop_at)
    assert not job.out.exists()
    # Until the first epoch is done, nothing is saved.
    assert (job.work / "last").exists() == (stop_at == "testing")
    assert_same(train(job, resume=True), finished[0])
    assert not job.work.exists()


def test_another_recipe_is_rejected_by_the_name_of_its_field(unfinished, recipe):
    before = (unfinished.work / STATE).read_bytes()
    changed = dataclasses.replace(unfinished, recipe=override(recipe, learning_rate=0.004))
    with pytest.raises(RunError) as caught:
        train(changed, resume=True)
    assert str(caught.value) == (
        f"{unfinished.work / STATE} is of a training with learning_rate = 0.003, not 0.004: "
        "repeat the command that started it with --resume (and with --set learning_rate=0.003, if an earlier version "
        "started it), or start again with --overwrite"
    )
    assert (unfinished.work / STATE).read_bytes() == before


def test_another_seed_is_rejected(unfinished):
    with pytest.raises(RunError, match="seed = 5, not 6"):
        train(dataclasses.replace(unfinished, seed=6), resume=True)


def test_other_data_are_rejected(unfinished, make_folder):
    other = make_folder(seed=3)
    with pytest.raises(RunError, match="24 files") as caught:
        train(dataclasses.replace(unfinished, data=other), resume=True)
    assert str(caught.value).startswith(str(other))


def test_a_resumed_training_says_where_it_continues_and_finds_moved_data(finished, unfinished, make_folder, listener):
    heard = listener()
    moved = dataclasses.replace(unfinished, data=make_folder("moved"))
    assert_same(train(moved, resume=True, reporter=heard), finished[0])
    assert heard.notes[0].endswith("after epoch 1 of 3")
    assert not any(stage.startswith("epoch 1") for stage, _, _ in heard.stages)


@pytest.mark.parametrize(
    "damage", [lambda c: c[:1000], lambda _: b"", lambda c: c[: len(c) // 2], lambda _: b"{}" * 99]
)
def test_a_damaged_state_is_named(unfinished, damage):
    path = unfinished.work / STATE
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RunError) as caught:
        train(unfinished, resume=True)
    assert str(caught.value).startswith(f"{path} can't be read")
    assert str(caught.value).endswith("start again with --overwrite")


def test_a_state_of_another_version_is_called_so(unfinished):
    path = unfinished.work / STATE
    tensors = load(path.read_bytes())  # load_file would keep the file open, and Windows would not let it be written
    facts = json.loads(tensors["facts"].numpy().tobytes())
    facts["identity"]["recipe"]["momentum"] = 0.9
    tensors["facts"] = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    path.write_bytes(save(tensors))
    with pytest.raises(RunError) as caught:
        train(unfinished, resume=True)
    message = str(caught.value)
    assert message.startswith(f"{path} is of another version of overfly (")
    assert "momentum" in message
    assert message.endswith("): resume the training with that version, or start again with --overwrite")


def test_an_unfinished_run_is_neither_lost_nor_continued_by_accident(unfinished):
    before = (unfinished.work / STATE).read_bytes()
    with pytest.raises(OutputError) as caught:
        train(unfinished)
    assert str(caught.value) == (
        f"{unfinished.work} holds an unfinished run: add --resume to continue it, or --overwrite to start again"
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
    assert str(occupied.out) in str(caught.value)
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
