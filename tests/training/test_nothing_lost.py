"""Stopped, killed or out of space at any step, a training goes on from what was saved to the very same weights."""

import dataclasses
import errno
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from overfly.runtime.documents import write_document
from overfly.runtime.errors import OutputError, RunError
from overfly.runtime.evaluation.metrics import evaluate
from overfly.runtime.files import atomic as files
from overfly.runtime.reporter import Reporter
from overfly.training import job as train_module
from overfly.training.data.dataset import decode, scan
from overfly.training.data.split import SPLIT_SCHEMA, make_split
from overfly.training.job import TrainJob, best_epoch, train
from overfly.training.loop import checkpoint as resume_module
from overfly.training.loop.trainer import Epoch, predict_logits
from overfly.training.models.build import build_model
from overfly.training.recipe import override

STATE = "last/state.safetensors"
N_STEPS = 8

# Trains as the job says, saves after each step, and kills itself at the given moment of the given step.
CHILD = """
import os, signal, sys
from pathlib import Path
from overfly.runtime.files import atomic as files
from overfly.runtime.reporter import Reporter
from overfly.training.loop import checkpoint as resume
from overfly.training.recipe import Recipe
from overfly.training.job import Job, train

data, out, recipe, moment, fatal_step = sys.argv[1:]
steps = 0

def die_at(wanted):
    if moment == wanted and steps == int(fatal_step):
        os.kill(os.getpid(), signal.SIGKILL)

class Counter(Reporter):
    def progress(self, stage, done, total):
        global steps
        if stage.startswith("epoch"):
            steps += 1
            die_at("before saving")

class Partial(type(Path())):
    def replace(self, target):
        die_at("half saved")
        super().replace(target)
        die_at("after saving")

resume.SAVE_EVERY_S = 0.0
partial = files._partial
files._partial = lambda path: Partial(partial(path))
job = Job(Path(data), Path(out), eval(recipe), weights="none", seed=5, device="cpu")
train(job, resume=True, reporter=Counter())
"""


@pytest.fixture(scope="module")
def steps(recipe):
    """Two epochs of four steps each, the last of three pictures."""
    return override(recipe, batch_size=4, epochs=2)


@pytest.fixture(scope="module")
def whole(scenes, steps, tmp_path_factory):
    """The SHA-256 of the weights that the recipe of `steps` comes to without an interruption."""
    job = TrainJob(scenes, tmp_path_factory.mktemp("whole") / "run", steps, weights="none", seed=5, device="cpu")
    return train(job).record.checkpoint_sha256


@pytest.fixture(scope="module")
def start_weights(tmp_path_factory):
    """The path of a weights file of the model, which unlike no weights at all lets its layers be kept as they are."""
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
    """Let every step be one after which it is time to save."""
    monkeypatch.setattr(resume_module, "SAVE_EVERY_S", 0.0)


def ordered_results(folder):
    """No file of the folder is one that was not finished."""
    return [path.name for path in folder.rglob("*") if path.name.endswith(".part")] == []


class StopAtStep(Reporter):
    """Listens, and does something at a step, counted from 1 over all epochs."""

    def __init__(self, step, action):
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


@pytest.mark.usefixtures("saves_each_step")
def test_stopped_at_every_single_step_it_comes_to_the_same_weights(job, whole):
    places = []
    for n_done in range(N_STEPS - 1):
        heard = StopAtStep(2, interrupt)  # one step further than what is saved, then lost
        with pytest.raises(KeyboardInterrupt):
            train(job, resume=True, reporter=heard)
        places += [note for note in heard.notes if note.startswith("going on")]
        assert len(places) == n_done
    assert train(job, resume=True).record.checkpoint_sha256 == whole
    assert places == [
        "going on after step 1 of 4 in epoch 1 of 2",
        "going on after step 2 of 4 in epoch 1 of 2",
        "going on after step 3 of 4 in epoch 1 of 2",
        "going on after epoch 1 of 2",
        "going on after step 1 of 4 in epoch 2 of 2",
        "going on after step 2 of 4 in epoch 2 of 2",
    ]


# Choices that have state of their own, or take a step in another way.
OTHER_STEPS = {
    "gradients taken uphill": {"sam_rho": 0.1, "sam_fraction": 0.8},
    "statistics as pretrained": {"batch_norm": "frozen", "frozen_fraction": 0.3},
    "as the paper does": {"optimizer": "adam", "schedule": "constant", "ema_decay": 0.0, "rotation": 0.0},
}


@pytest.mark.parametrize("changes", OTHER_STEPS.values(), ids=OTHER_STEPS)
def test_other_recipes_come_to_the_same_weights_too(make_job, steps, start_weights, tmp_path, changes):
    recipe = override(steps, **changes)
    whole, job = (make_job(recipe=recipe, weights=start_weights, out=tmp_path / name) for name in ("whole", "run"))
    for n_steps in (3, 3):
        with pytest.raises(KeyboardInterrupt):
            train(job, resume=True, reporter=StopAtStep(n_steps, lambda: signal.raise_signal(signal.SIGINT)))
    heard = StopAtStep(None, None)
    found = train(job, resume=True, reporter=heard).record.checkpoint_sha256
    assert heard.notes[0] == "going on after step 2 of 4 in epoch 2 of 2"
    assert found == train(whole).record.checkpoint_sha256


@pytest.mark.parametrize(("number", "step"), [(signal.SIGINT, 3), (signal.SIGTERM, 4), (signal.SIGINT, 8)])
def test_an_interruption_finishes_the_step_and_saves(job, whole, number, step):
    heard = StopAtStep(step, lambda: signal.raise_signal(number))
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=heard)
    assert heard.steps == step
    heard = StopAtStep(None, None)
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    assert heard.notes[0] == f"going on after step {(step - 1) % 4 + 1} of 4 in epoch {(step + 3) // 4} of 2"
    assert heard.steps == N_STEPS - step


def test_an_interruption_while_the_last_epoch_is_judged_is_heard(job, whole):
    class WhileJudging(Reporter):
        def row(self, cells):
            if cells["epoch"] == "2 of 2":
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=WhileJudging())
    heard = StopAtStep(None, None)
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    assert (heard.notes[0], heard.steps) == ("going on after epoch 2 of 2", 0)


def test_the_second_interruption_stops_at_once(job, whole):
    def twice():
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=StopAtStep(6, twice))
    heard = StopAtStep(None, None)
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    assert heard.notes[0] == "going on after epoch 1 of 2"


def test_a_long_epoch_is_saved_every_five_minutes(job, monkeypatch):
    clock = SimpleNamespace(monotonic=lambda: 130.0 * heard.steps)
    monkeypatch.setattr(resume_module, "time", clock)
    saved_at = []
    monkeypatch.setattr(resume_module, "save_state", lambda *_: saved_at.append(heard.steps))
    monkeypatch.setattr(train_module, "write_atomically", lambda *_: None)
    heard = StopAtStep(8, interrupt)
    with pytest.raises(KeyboardInterrupt):
        train(job, reporter=heard)
    # After 390 seconds, at the end of the epoch, and 390 seconds later.
    assert saved_at == [3, 4, 7]


def kill_at(moment, step, job):
    """Train in a process of its own that kills itself; return whether it did."""
    command = [sys.executable, "-c", CHILD, job.data, job.out, repr(job.recipe), moment, step]
    finished = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert finished.returncode in {0, -signal.SIGKILL}, finished.stderr
    return finished.returncode != 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_killed_while_it_saves_it_goes_on_from_the_state_before(job, whole):
    assert kill_at("half saved", 3, job)
    assert not ordered_results(job.work)
    heard = StopAtStep(None, None)
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    assert heard.notes[0] == "going on after step 2 of 4 in epoch 1 of 2"
    assert ordered_results(job.out)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_it_comes_to_the_same_weights(job, whole, seed):
    rng = np.random.default_rng(seed)
    while kill_at(rng.choice(["before saving", "half saved", "after saving"]), rng.integers(2, 5), job):
        assert not job.out.exists()
    assert files.sha256_file(job.out / "checkpoint.safetensors") == whole
    assert ordered_results(job.out)


@contextmanager
def full_disk(n_written):
    """Inside the block the disk is full after a number of files."""
    left = iter(range(n_written))

    def fsync(descriptor, real=os.fsync):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files.os, "fsync", fsync)
        yield


# Each epoch writes its state and the history; the end the checkpoint, the split, the history, two pictures, run.json.
@pytest.mark.parametrize("n_written", [0, 1, 2, 3, 4, 8])
def test_a_full_disk_leaves_what_was_saved_and_says_what_to_do(job, whole, n_written):
    with full_disk(n_written), pytest.raises(OutputError) as caught:
        train(job)
    assert str(caught.value) == (
        f"can't write to {job.work}: No space left on device; what was saved before is whole: "
        "put that right, and go on with the same command and --resume"
    )
    assert ordered_results(job.work)
    heard = StopAtStep(None, None)
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    rows = (job.out / "history.csv").read_text(encoding="utf-8").splitlines()[1:]
    assert [row.partition(",")[0] for row in rows] == ["1", "2"]
    n_epochs = min((n_written + 1) // 2, 2)
    assert heard.steps == N_STEPS - 4 * n_epochs


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_limit_of_the_system_on_files_is_like_a_full_disk(job, whole):
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    heard = StopAtStep(5, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, before[1])))
    try:
        with pytest.raises(OutputError, match="File too large; what was saved before is whole"):
            train(job, reporter=heard)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert ordered_results(job.work)
    heard = StopAtStep(None, None)
    assert train(job, resume=True, reporter=heard).record.checkpoint_sha256 == whole
    assert heard.notes[0] == "going on after epoch 1 of 2"


def epochs_of(*accuracies):
    return [Epoch(i, 1.0, accuracy, 0.1, 1.0, 1.0) for i, accuracy in enumerate(accuracies, start=1)]


@pytest.mark.parametrize(
    ("accuracies", "best"), [((0.5,), 1), ((0.5, 0.7, 0.6), 2), ((0.7, 0.6, 0.7), 3), ((0.0, 0.0), 2)]
)
def test_the_best_epoch(accuracies, best):
    assert best_epoch(epochs_of(*accuracies)) == best


@pytest.fixture
def second_is_best(monkeypatch):
    """Let the second of three epochs be the best; returns its weights, which are there after it."""
    weights = {}

    def accuracy(trainer, _val):
        if trainer.epoch == 2:
            weights.update({name: value.clone() for name, value in trainer.averaged.model.state_dict().items()})
        return {1: 0.5, 2: 0.9, 3: 0.7}[trainer.epoch]

    monkeypatch.setattr(train_module, "_val_accuracy", accuracy)
    return weights


@pytest.mark.parametrize(("ema_decay", "stop_at"), [(0.9, None), (0.0, 5), (0.9, 10)])
@pytest.mark.usefixtures("saves_each_step")
def test_the_best_epochs_weights_are_kept(job, steps, second_is_best, ema_decay, stop_at):
    job = dataclasses.replace(job, recipe=override(steps, keep="best", epochs=3, ema_decay=ema_decay))
    if stop_at is not None:
        with pytest.raises(KeyboardInterrupt):
            train(job, reporter=StopAtStep(stop_at, interrupt))
    heard = StopAtStep(None, None)
    run = train(job, resume=True, reporter=heard)
    kept = load_file(run.path / "checkpoint.safetensors")
    assert kept.keys() == second_is_best.keys()
    assert all(torch.equal(value, second_is_best[name]) for name, value in kept.items())
    assert "keeping the weights of epoch 2, the best on the validation part" in heard.notes


def test_the_metrics_are_those_of_the_weights_that_are_kept(job, steps, scenes, second_is_best):
    run = train(dataclasses.replace(job, recipe=override(steps, keep="best", epochs=3, learning_rate=0.02)))
    del second_is_best
    split = run.split().images("test")
    logits = predict_logits(run.load_model(), decode(scenes, split, size=32))
    labels = np.array([scene.label for scene in split])
    assert evaluate(labels, logits.argmax(axis=1), n_classes=3) == run.record.metrics


def test_to_keep_the_best_of_a_split_without_a_validation_part(job, steps, tmp_path):
    split = make_split(scan(job.data), test_fraction=0.25)
    write_document(tmp_path / "split.json", split, schema=SPLIT_SCHEMA)
    best = dataclasses.replace(job, recipe=override(steps, keep="best"), split_file=tmp_path / "split.json")
    with pytest.raises(RunError, match="this split has none: leave --split out and add --val-fraction"):
        train(best)


def test_to_keep_the_best_takes_a_validation_part(job, steps):
    recipe = override(steps, keep="best", val_fraction=0.0)
    with pytest.raises(RunError) as caught:
        train(dataclasses.replace(job, recipe=recipe))
    assert str(caught.value) == (
        "to keep the best epoch takes a validation part, and this split has none: add --val-fraction 0.1, "
        "or keep the last epoch"
    )
    assert not job.work.exists()
