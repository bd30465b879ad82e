"""torchrun starts ``overfly train`` in several processes, with the same result as a single process."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import nn

from overfly.runtime.files.hashing import sha256_file
from overfly.training.models.build import build_model
from overfly.training.run_layout import CHECKPOINT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="CONTRIBUTING.md says what to run by hand"),
]

TORCHRUN = (sys.executable, "-m", "torch.distributed.run")
OVERFLY = ("-m", "overfly.cli", "train")

# What the command does, but in fp64: there, in which order a sum is taken decides nothing.
IN_FP64 = """
import json
import sys
from pathlib import Path
import torch
from overfly.training.distributed.team import join
from overfly.training.recipe import Recipe
from overfly.training.job import TrainJob, train

torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double
data, out, weights, recipe = sys.argv[1:]
recipe = Recipe(**json.loads(recipe))
job = TrainJob(data=Path(data), out=Path(out), recipe=recipe, weights=weights, seed=5, device="cpu")
with join() as team:
    run = train(job, team=team)
    sys.stdout.write(f"{team.rank} {run.record.metrics.accuracy}\\n")  # at once: lines in pieces mix
"""
# 18 images to train on: of each epoch's batches, one is of 3 images. In fp64, depthwise convolutions take minutes.
RECIPE = {
    "model": "resnet18",
    "image_size": 32,
    "epochs": 2,
    "batch_size": 5,
    "precision": "fp32",
    "learning_rate": 1e-5,
    "frozen_fraction": 0.1,
    "test_fraction": 0.25,
    "val_fraction": 0.2,
    "keep": "best",
    "sam_fraction": 0.8,
    "sam_rho": 0.0,
}
# Enough epochs that what happens after the first one comes before the last.
LONG = ("--epochs", 8, "--image-size", 32, "--batch-size", 8, "--device", "cpu", "--weights", "none")


@pytest.fixture(scope="module")
def data(tmp_path_factory, small_pixels):
    """A folder of two classes with 15 images each; not to be changed."""
    folder = tmp_path_factory.mktemp("shared") / "data"
    for label, name in enumerate(("field", "water")):
        (folder / name).mkdir(parents=True)
        for index in range(15):
            Image.fromarray(small_pixels(label, index)).save(folder / name / f"{name}{index}.png")
    return folder


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A weights file of ResNet18 whose batch normalizations have the statistics of images, and so normalize."""
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(1)
        model = build_model("resnet18", 1000).train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None  # the mean of all that it sees
        model(torch.randn(32, 3, 32, 32))
    save_file(model.state_dict(), path)
    return path


@pytest.fixture
def begin():
    """A function that starts a command with its streams open; what still runs at the end is stopped."""
    processes = []

    def call(*arguments, **environment):
        process = subprocess.Popen(
            list(map(str, arguments)),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        )
        processes.append(process)
        return process

    yield call
    for process in processes:
        if process.poll() is None:
            process.terminate()  # torchrun hands it on to its workers
            process.communicate(timeout=300)


@pytest.fixture
def torchrun(begin):
    """A function that runs a command in two processes, or more, and returns its exit code and streams."""

    def call(*arguments, n_processes=2):
        process = begin(*TORCHRUN, "--nproc-per-node", n_processes, *arguments)
        out, err = process.communicate(timeout=300)
        return process.returncode, out, err

    return call


def history(run):
    with (run / "history.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def metrics(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))["metrics"]


def assert_close(run, other, start):
    """Two runs from the same weights differ by what the order of sums in fp64 does: 6e-10 of the way was seen."""
    ours, theirs, before = (load_file(path) for path in (run / CHECKPOINT, other / CHECKPOINT, start))
    statistics = [name for name in ours if "running" in name]
    learnt = [name for name in ours if not (name in statistics or "num_batches" in name or name.startswith("fc."))]
    ours_learnt, theirs_learnt, learnt_before = (
        torch.cat([state[name].double().flatten() for name in learnt]) for state in (ours, theirs, before)
    )
    way = (theirs_learnt - learnt_before).norm()
    assert way > 0.01
    assert (ours_learnt - theirs_learnt).norm() < 1e-7 * way
    for name in statistics:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-7, atol=1e-9)
    for mine, yours in zip(history(run), history(other), strict=True):
        assert float(mine["loss"]) == pytest.approx(float(yours["loss"]), rel=1e-7)
        assert (mine["val_accuracy"], mine["learning_rate"]) == (yours["val_accuracy"], yours["learning_rate"])
    assert metrics(run) == metrics(other)


@pytest.mark.parametrize(
    ("batch_norm", "batch_shares"),
    [
        pytest.param("train", 1, marks=pytest.mark.full),
        ("train", 2),
        pytest.param("frozen", 1, marks=pytest.mark.full),
    ],
)
def test_two_processes_give_the_result_of_one(torchrun, data, weights, tmp_path, batch_norm, batch_shares):
    recipe = json.dumps({**RECIPE, "batch_norm": batch_norm, "sam_rho": 0.05, "batch_shares": batch_shares})
    script = tmp_path / "train.py"
    script.write_text(IN_FP64, encoding="utf-8")
    one, two = tmp_path / "one", tmp_path / "two"
    subprocess.run([sys.executable, script, data, one, weights, recipe], check=True, capture_output=True)
    code, out, err = torchrun(script, data, two, weights, recipe)
    assert code == 0, err
    assert_close(two, one, weights)
    # Every process has the figures.
    accuracy = metrics(one)["accuracy"]
    assert sorted(out.splitlines()) == [f"0 {accuracy}", f"1 {accuracy}"]


# The loss, the gradients and the statistics after a step, for numbers of shares and images such as 2:16. One process
# computes them or, under torchrun, several.
ONE_STEP = """
import sys
import torch
from safetensors.torch import save_file
from torch import nn
from overfly.training.distributed.team import join
from overfly.training.loop.shares import BatchShares
from overfly.training.models.build import PreprocessedModel
from overfly.training.recipe import PAPER, override

layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU6(), nn.Dropout(0.5), nn.Conv2d(4, 4, 2), nn.BatchNorm2d(4)]
results = {}
with join() as team:
    for case in sys.argv[2:]:
        n_shares, n_images, *frozen = case.split(":")
        n_shares, n_images = int(n_shares), int(n_images)
        torch.manual_seed(0)
        for layer in layers:
            if hasattr(layer, "reset_parameters"):
                layer.reset_parameters()
        recipe = override(PAPER, batch_shares=n_shares, batch_norm="frozen" if frozen else "train")
        model = PreprocessedModel(nn.Sequential(*layers, nn.Flatten()), recipe.image)
        pixels = torch.randint(100, 200, (n_images, 4, 4, 3), dtype=torch.uint8)
        shares = BatchShares(model, recipe, team=team, precision="fp32")
        shares.load(pixels, torch.arange(n_images) % 4, torch.Generator().manual_seed(1))
        results[f"{case} loss"] = torch.tensor(shares.backward(update_statistics=True))
        for name, value in model.model.named_parameters():
            results[f"{case} {name} gradient"] = value.grad
        for name, value in model.model.named_buffers():
            results[f"{case} {name}"] = value.clone()
    if team.leads:
        save_file(results, sys.argv[1])
"""


TWO, FOUR = (2, ["1:3", "1:5", "1:16", "2:5", "4:16"]), (4, ["1:5", "2:3", "2:5", "2:16", "2:16:frozen"])


@pytest.mark.parametrize(("n_processes", "cases"), [TWO, FOUR], ids=["2", "4"])
def test_a_step_of_several_processes_is_that_of_one(torchrun, tmp_path, n_processes, cases):
    script = tmp_path / "step.py"
    script.write_text(ONE_STEP, encoding="utf-8")
    one, several = tmp_path / "one.safetensors", tmp_path / "several.safetensors"
    subprocess.run([sys.executable, script, one, *cases], check=True)
    code, _, err = torchrun(script, several, *cases, n_processes=n_processes)
    assert code == 0, err
    expected, found = load_file(one), load_file(several)
    assert found.keys() == expected.keys()
    assert len(expected) == (1 + 8 + 6) * len(cases)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5)
        assert not name.endswith("1.running_var") or (value != 1).any() != ("frozen" in name)


@pytest.fixture(scope="module")
def uninterrupted(data, tmp_path_factory):
    """The run of LONG in two processes, and what was written to the streams; not to be changed."""
    run = tmp_path_factory.mktemp("uninterrupted") / "run"
    command = [*TORCHRUN, "--nproc-per-node", 2, *OVERFLY, data, "--out", run, *LONG]
    finished = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    assert finished.returncode == 0, finished.stderr
    return run, finished.stdout, finished.stderr


def test_only_one_process_writes_and_tells(uninterrupted):
    run, out, err = uninterrupted
    lines = out.splitlines()
    assert lines[0].startswith("test part: ")
    assert lines[-1] == f"run: {run}"
    assert len(set(lines)) == len(lines)
    note, *rows = err.splitlines()[:9]
    assert "each share of a batch has 4 images" in note
    assert [row[:12] for row in rows] == [f"epoch {epoch} of 8" for epoch in range(1, 9)]
    assert [path.name for path in run.parent.iterdir()] == ["run"]
    assert len(history(run)) == 8


def after_second_epoch(process, act):
    """Wait for the line of the second epoch, act, and return the rest of standard error."""
    for line in process.stderr:
        if line.startswith("epoch 2 of 8"):
            act()
            break
    out, err = process.communicate(timeout=300)
    assert out == ""
    return err


def workers(process):
    """Return the ids of torchrun's workers, in the order of their ranks."""
    children = subprocess.run(
        [shutil.which("pgrep"), "-P", str(process.pid)], capture_output=True, text=True, check=True
    )
    return [int(pid) for pid in children.stdout.split()]


@pytest.mark.skipif(shutil.which("pgrep") is None, reason="needs pgrep")
@pytest.mark.parametrize("lost", [0, pytest.param(1, marks=pytest.mark.full)])
def test_a_lost_process_ends_all_and_what_was_saved_is_continued(begin, torchrun, data, tmp_path, uninterrupted, lost):
    out = tmp_path / "run"
    command = (*OVERFLY, data, "--out", out, *LONG)
    process = begin(*TORCHRUN, "--nproc-per-node", 2, *command)
    err = after_second_epoch(process, lambda: os.kill(workers(process)[lost], signal.SIGKILL))
    assert process.returncode == 1
    sentence = next(line for line in err.splitlines() if line.startswith("overfly: "))
    assert sentence.startswith(f"overfly: process {1 - lost} of 2 ")
    assert sentence.endswith(" --resume")
    assert not out.exists()
    code, _, err = torchrun(*command, "--resume")
    assert code == 0, err
    assert err.startswith("continuing ")
    assert sha256_file(out / CHECKPOINT) == sha256_file(uninterrupted[0] / CHECKPOINT)


def test_interrupted_all_stop_after_the_same_step(begin, torchrun, data, tmp_path, uninterrupted):
    out = tmp_path / "run"
    command = (*OVERFLY, data, "--out", out, *LONG)
    process = begin(*TORCHRUN, "--nproc-per-node", 2, *command)
    err = after_second_epoch(process, lambda: process.send_signal(signal.SIGINT))
    assert process.returncode != 0
    printed = [line for line in err.splitlines() if line.startswith(("interrupted", "overfly: "))]
    assert printed[0].startswith(f"interrupted: {out}.unfinished ")
    assert printed[1:] == ["overfly: interrupted"]
    shutil.copytree(f"{out}.unfinished", tmp_path / "alone.unfinished")
    code, _, err = torchrun(*command, "--resume")
    assert code == 0, err
    assert re.match(r"continuing .*epoch \d+ of 8\n", err)
    assert sha256_file(out / CHECKPOINT) == sha256_file(uninterrupted[0] / CHECKPOINT)

    # One process can continue what two have left.
    alone = begin(sys.executable, *OVERFLY, data, "--out", tmp_path / "alone", *LONG, "--resume")
    _, err = alone.communicate(timeout=300)
    assert alone.returncode == 0, err
    assert [row["epoch"] for row in history(tmp_path / "alone")] == [str(epoch) for epoch in range(1, 9)]


def namespace(begin):
    """Start a network namespace, which lives as long as the process that is returned."""
    process = begin("unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec sleep 600")
    assert process.stdout.readline() == "up\n", process.stderr.read()
    return process


def inside(holder, *command):
    """Return the command that runs a command in a process's network namespace."""
    return ("nsenter", f"--net=/proc/{holder.pid}/ns/net", *map(str, command))


@pytest.mark.netns
def test_two_machines_with_nothing_in_common_but_a_cable(begin, data, weights, tmp_path):
    script = tmp_path / "train.py"
    script.write_text(IN_FP64, encoding="utf-8")
    machines = [namespace(begin), namespace(begin)]
    cable = ["ip", "link", "add", "cable0", "netns", str(machines[0].pid), "type", "veth"]
    subprocess.run([*cable, "peer", "name", "cable1", "netns", str(machines[1].pid)], check=True)
    started = []
    for rank, machine in enumerate(machines):
        for command in (f"addr add 192.0.2.{rank + 1}/24 dev cable{rank}", f"link set cable{rank} up"):
            subprocess.run(inside(machine, "ip", *command.split()), check=True)
        place = tmp_path / f"machine{rank}"
        shutil.copytree(data, place / "data")
        shutil.copy(weights, place)
        meeting = ("--nnodes", 2, "--node-rank", rank, "--master-addr", "192.0.2.1", "--master-port", 29500)
        command = (
            *TORCHRUN,
            *meeting,
            script,
            place / "data",
            place / "run",
            place / weights.name,
            json.dumps(RECIPE),
        )
        started.append(begin(*inside(machine, *command)))
    for rank, process in enumerate(started):
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
        assert out.startswith(f"{rank} ")
    assert sorted(path.name for path in (tmp_path / "machine0").iterdir()) == ["data", "run", weights.name]
    assert sorted(path.name for path in (tmp_path / "machine1").iterdir()) == ["data", weights.name]
    one = tmp_path / "one"
    subprocess.run([sys.executable, script, data, one, weights, json.dumps(RECIPE)], check=True, capture_output=True)
    assert_close(tmp_path / "machine0" / "run", one, weights)
