"""``overfly train`` writes a run and prints its figures; an interruption does not change them."""

import csv
import json
import os
import re
import shutil
import signal
import sys

import numpy as np
import pytest
import rasterio
from PIL import Image
from safetensors.torch import load_file

from overfly.runtime.evaluation.metrics import TITLES
from overfly.runtime.files.hashing import sha256_file


def record_of(run):
    return json.loads((run / "run.json").read_text(encoding="utf-8"))


def options_of_long_training():
    """More epochs than the one after which it is stopped."""
    return ("--weights", "none", "--epochs", 6, "--image-size", 64, "--device", "cpu", "--model", "shufflenet_v2_x1_0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory, small_pixels):
    """(data, run, what --json printed) of a short training with seed 7 and a validation part; not to be changed."""
    import contextlib
    import io

    from PIL import Image

    from overfly.cli import run

    base = tmp_path_factory.mktemp("trained")
    for label, name in enumerate(("field", "water")):
        (base / "data" / name).mkdir(parents=True)
        for i in range(10):
            Image.fromarray(small_pixels(label, i)).save(base / "data" / name / f"{name}{i}.png")
    fractions = ("--test-fraction", "0.3", "--val-fraction", "0.2")
    small = ("--weights", "none", "--epochs", "2", "--image-size", "32", "--model", "shufflenet_v2_x1_0")
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = run(
            ["train", str(base / "data"), "--out", str(base / "run"), *small, *fractions, "--seed", "7", "--json"]
        )
    assert code == 0
    return base / "data", base / "run", out.getvalue()


def test_json_holds_the_figures_of_the_run(trained):
    _, run, out = trained
    printed = json.loads(out)
    record = record_of(run)
    assert printed.pop("run") == str(run)
    assert printed.pop("most_confused") == record["most_confused"]
    for name, ends in record["intervals"].items():
        assert printed.pop(f"{name}_ci95") == ends
    assert printed == record["metrics"]
    assert printed["n_images"] == 6
    assert printed["accuracy"] * 6 == pytest.approx(round(printed["accuracy"] * 6))


def test_the_run_is_complete_and_says_how_it_was_made(trained):
    data, run, _ = trained
    names = {"checkpoint.safetensors", "run.json", "split.json", "history.csv", "curves.png", "confusion.png", "last"}
    assert {path.name for path in run.iterdir()} == names
    assert [path.name for path in run.parent.iterdir() if path.name.startswith("run")] == ["run"]
    record = record_of(run)
    assert record["schema"] == "overfly.run/5"
    assert record["model"] == "shufflenet_v2_x1_0"
    assert record["classes"] == ["field", "water"]
    assert (record["image"]["size"], record["seed"], record["weights"], record["data"]) == (32, 7, "none", str(data))
    recipe = record["recipe"]
    assert (recipe["epochs"], recipe["test_fraction"], recipe["val_fraction"]) == (2, 0.3, 0.2)
    assert record["checkpoint_sha256"] == sha256_file(run / "checkpoint.safetensors")
    assert record["split_sha256"] == sha256_file(run / "split.json")
    assert load_file(run / "checkpoint.safetensors")["fc.weight"].shape == (2, 1024)


def test_the_history_has_a_row_for_each_epoch(trained):
    with (trained[1] / "history.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    for row in rows:
        assert float(row["loss"]) > 0
        assert 0 <= float(row["val_accuracy"]) <= 1
        assert float(row["images_per_second"]) > 0
    # The cosine ends near 0.
    assert float(rows[1]["learning_rate"]) < float(rows[0]["learning_rate"]) <= 1.5e-3


def test_the_split_has_the_parts_asked_for_in_each_class(trained):
    split = json.loads((trained[1] / "split.json").read_text(encoding="utf-8"))
    # A fifth of the seven images that are not for testing is 1.4 in each class, and 2.8 in both.
    for name, n_val in zip(split["classes"], (1, 2), strict=True):
        parts = [file["part"] for file in split["files"] if file["name"].startswith(f"{name}/")]
        assert [parts.count(part) for part in ("train", "val", "test")] == [7 - n_val, n_val, 3]


def test_the_last_lines_are_the_figures_and_the_path(overfly, small_data, tmp_path, briefly):
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly)
    result.assert_done()
    right, *figures = result.out.splitlines()
    record = record_of(tmp_path / "run")
    metrics, intervals = record["metrics"], record["intervals"]
    assert right == f"test part: {round(metrics['accuracy'] * metrics['n_images'])} of 2 images right"
    for line, (name, (low, high)) in zip(figures, intervals.items(), strict=False):
        assert line == f"  {TITLES[name]:<8}  {metrics[name]:7.2%}  95% interval {low:.2%} to {high:.2%}"
    confused = [
        f"  {pair['truth']} classified as {pair['taken_for']}: {pair['n_images']} of {pair['n_true']}"
        for pair in record["most_confused"]
    ]
    assert figures[3:-1] == (["most confused:", *confused] if confused else [])
    assert figures[-1] == f"run: {tmp_path / 'run'}"
    assert "epoch 1 of 1" in result.err


def deepen(data, factor):
    """Turn the images of a folder into TIFFs of 16 bits as GDAL writes them."""
    for path in list(data.rglob("*.png")):
        with Image.open(path) as image:
            pixels = np.moveaxis(np.asarray(image.convert("RGB")).astype(np.uint16) * factor, 2, 0)
        shape = dict(zip(("count", "height", "width"), pixels.shape, strict=True))
        with rasterio.open(path.with_suffix(".tif"), "w", driver="GTiff", dtype="uint16", **shape) as dataset:
            dataset.write(pixels)
        path.unlink()


@pytest.mark.slow
def test_images_that_use_a_part_of_16_bits_give_one_warning_and_need_a_range(overfly, small_data, tmp_path, briefly):
    overfly("train", small_data, "--out", tmp_path / "of8", *briefly).assert_done()
    assert "value_range" not in record_of(tmp_path / "of8")["image"]
    deepen(small_data, 16)
    result = overfly("train", small_data, "--out", tmp_path / "without", *briefly)
    result.assert_done()
    (warning,) = [line for line in result.err.splitlines() if "--range" in line]
    assert str(small_data) in warning
    result = overfly("train", small_data, "--out", tmp_path / "of12", "--range", "0,4080", *briefly)
    result.assert_done()
    assert "--range" not in result.err
    assert record_of(tmp_path / "of12")["image"]["value_range"] == [0.0, 4080.0]
    overfly("export", tmp_path / "of12", "--out", tmp_path / "bundle", "--variant", "fp32").assert_done()
    result = overfly("predict", tmp_path / "bundle", small_data, "--device", "CPU")
    result.assert_done()
    assert "--range" not in result.err


@pytest.mark.parametrize("text", ["5", "5,5", "a,b", "9,1", "nan,1", "0,inf", "1,2,3"])
def test_what_is_no_range_is_wrong_usage(overfly, small_data, tmp_path, text):
    result = overfly("train", small_data, "--out", tmp_path / "run", "--range", text)
    assert result.code == 2
    assert repr(text) in result.err
    assert not (tmp_path / "run").exists()


def test_a_split_is_used_again_whatever_the_seed(overfly, trained, tmp_path, briefly):
    data, run, _ = trained
    result = overfly("train", data, "--out", tmp_path / "run", *briefly, "--split", run / "split.json", "--seed", 99)
    result.assert_done()
    assert (tmp_path / "run" / "split.json").read_bytes() == (run / "split.json").read_bytes()
    other = overfly("train", data, "--out", tmp_path / "other", *briefly, "--seed", 99)
    other.assert_done()
    assert (tmp_path / "other" / "split.json").read_bytes() != (run / "split.json").read_bytes()


@pytest.mark.parametrize("option", ["--test-fraction", "--val-fraction"])
def test_a_split_has_its_fractions(overfly, trained, tmp_path, briefly, option):
    split = ("--split", trained[1] / "split.json", option, "0.1")
    result = overfly("train", trained[0], "--out", tmp_path / "run", *briefly, *split)
    result.assert_misused(str(trained[1] / "split.json"), "--test-fraction")


@pytest.mark.parametrize("option", [("--test-fraction", "0.3"), ("--set", "val_fraction=0.1")])
@pytest.mark.parametrize("given", ["split.json", "part folders"])
def test_a_divided_data_folder_has_its_fractions(overfly, trained, tmp_path, briefly, option, given):
    folder = tmp_path / "divided"
    if given == "split.json":
        shutil.copytree(trained[0], folder)
        shutil.copy(trained[1] / "split.json", folder)
    else:
        for part in ("train", "test"):
            shutil.copytree(trained[0], folder / part)
    result = overfly("train", folder, "--out", tmp_path / "run", *briefly, *option)
    result.assert_misused(str(folder), "--test-fraction", "--val-fraction")


def test_a_split_that_does_not_fit_is_rejected(overfly, trained, tmp_path, briefly):
    data = shutil.copytree(trained[0], tmp_path / "data")
    split = trained[1] / "split.json"
    arguments = ("train", data, "--out", tmp_path / "run", *briefly, "--split")
    overfly(*arguments, tmp_path / "no.json").assert_failed(tmp_path / "no.json")
    overfly(*arguments, trained[1] / "run.json").assert_failed(trained[1] / "run.json", "overfly.split/1")
    shutil.copy(data / "water" / "water0.png", data / "water" / "new.png")
    overfly(*arguments, split).assert_failed("water/new.png")
    (data / "water" / "new.png").replace(data / "water" / "water1.png")
    overfly(*arguments, split).assert_failed("water/water1.png")
    (data / "water" / "water1.png").unlink()
    overfly(*arguments, split).assert_failed("water/water1.png")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_existing_out_is_rejected_and_left_alone(overfly, content, small_data, tmp_path, briefly, kind):
    out = tmp_path / "run"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    before = content(tmp_path)
    result = overfly("train", small_data, "--out", out, *briefly)
    result.assert_failed(out, "--overwrite")
    assert content(tmp_path) == before


def test_overwrite_replaces_a_run_once_the_new_one_is_complete(overfly, content, small_data, tmp_path, briefly):
    out = tmp_path / "run"
    out.mkdir()
    (out / "notes.txt").write_text("old")
    before = content(out)
    bad = (small_data / "water" / "bad.png", b"no image")
    bad[0].write_bytes(bad[1])
    overfly("train", small_data, "--out", out, *briefly, "--overwrite").assert_failed(bad[0])
    assert content(out) == before
    bad[0].unlink()
    overfly("train", small_data, "--out", out, *briefly, "--overwrite").assert_done()
    assert not (out / "notes.txt").exists()
    assert record_of(out)["classes"] == ["field", "water"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "run"]


def test_a_parent_of_out_that_is_a_file_is_named(overfly, small_data, tmp_path, briefly):
    (tmp_path / "file").write_text("mine")
    result = overfly("train", small_data, "--out", tmp_path / "file" / "run", *briefly)
    result.assert_failed(tmp_path / "file")


def test_the_working_folder_as_out_is_no_crash(overfly, small_data, tmp_path, monkeypatch, briefly):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    result = overfly("train", small_data, "--out", ".", *briefly)
    assert result.code in {0, 1}
    if result.code:
        result.assert_failed()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs folder rights that bind this user")
def test_a_folder_that_may_not_be_written_is_named(overfly, small_data, tmp_path, briefly):
    (tmp_path / "locked").mkdir(mode=0o500)
    overfly("train", small_data, "--out", tmp_path / "locked" / "run", *briefly).assert_failed(tmp_path / "locked")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has another limit")
def test_a_name_too_long_for_the_disk_is_named(overfly, small_data, tmp_path, briefly):
    overfly("train", small_data, "--out", tmp_path / ("x" * 250), *briefly).assert_failed("x" * 250)


@pytest.mark.parametrize(
    ("weights", "remedy"),
    [("no.pth", "--weights"), ("text.pth", ".safetensors"), ("other.safetensors", "--model")],
)
def test_weights_that_can_not_be_used_are_named(overfly, trained, tmp_path, briefly, weights, remedy):
    (tmp_path / "text.pth").write_text("no weights")
    shutil.copy(trained[1] / "checkpoint.safetensors", tmp_path / "other.safetensors")
    chosen = ("--weights", tmp_path / weights, "--model", "resnet18")
    result = overfly("train", trained[0], "--out", tmp_path / "run", *briefly, *chosen)
    result.assert_failed(weights, remedy)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run.unfinished").exists()


def test_weights_from_a_file_start_the_training(overfly, trained, tmp_path, briefly):
    """With a learning rate of nearly nothing the backbone stays as it was given."""
    given = load_file(trained[1] / "checkpoint.safetensors")
    chosen = ("--weights", trained[1] / "checkpoint.safetensors", "--learning-rate", "1e-12")
    overfly("train", trained[0], "--out", tmp_path / "run", *briefly, *chosen).assert_done()
    after = load_file(tmp_path / "run" / "checkpoint.safetensors")
    assert after["conv1.0.weight"].sub(given["conv1.0.weight"]).abs().max() < 1e-6
    assert record_of(tmp_path / "run")["weights"] == f"sha256:{sha256_file(trained[1] / 'checkpoint.safetensors')}"


def test_imagenet_weights_without_a_network_are_a_sentence(overfly, small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    result = overfly("train", small_data, "--out", tmp_path / "run", "--epochs", 1, "--image-size", 32)
    cache = tmp_path / "torch" / "hub" / "checkpoints"
    fragments = ("mobilenet_v2", cache, "--weights")
    result.assert_failed(*fragments, out=result.out)
    assert not (tmp_path / "run").exists()
    assert not (tmp_path / "run.unfinished").exists()
    # Standard output is for data: with --json it must parse.
    assert result.out == ""


@pytest.mark.parametrize("device", ["cuda", "xpu"])
def test_an_absent_training_device_is_named(overfly, small_data, tmp_path, briefly, device):
    import torch

    if getattr(torch, device).is_available():
        pytest.skip(f"there is {device} here")
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly, "--device", device)
    result.assert_failed(device, "cpu")


# Runs the command line, and sends its own process a signal once the first epoch's line is written: one from outside
# could come too late where the machine is busy. On Windows, os.kill ends a process at once, whatever the number.
SIGNAL_ITSELF = """
import os, signal, sys
from overfly.cli import run

class Stream:
    def __getattr__(self, name):
        return getattr(sys.__stderr__, name)

    def write(self, text):
        sys.__stderr__.write(text)
        if "epoch 1 of 6" in text:
            number = int(sys.argv[1])
            os.kill(os.getpid(), 9) if number == 9 else signal.raise_signal(number)

sys.stderr = Stream()
sys.exit(run(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def uninterrupted(tiny_data, tmp_path_factory):
    """The run that an interrupted one must end as; not to be changed."""
    from overfly.cli import run

    out = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert run(["train", str(tiny_data), "--out", str(out), *map(str, options_of_long_training())]) == 0
    return out


@pytest.mark.slow
def test_killed_in_the_middle_it_ends_with_the_same_weights(python, overfly, tiny_data, tmp_path, uninterrupted):
    out = tmp_path / "run"
    arguments = ("train", tiny_data, "--out", out, *options_of_long_training())
    assert python(SIGNAL_ITSELF, 9, *arguments).code in {9, -9}
    assert not out.exists()
    overfly(*arguments).assert_failed(f"{out}.unfinished", "--resume", "--overwrite")
    changed = overfly(*arguments, "--resume", "--seed", 1)
    changed.assert_failed(f"{out}.unfinished", "seed", "--overwrite")
    result = overfly(*arguments, "--resume")
    result.assert_done()
    assert re.match(r"continuing .*epoch 1 of 6\n", result.err)
    assert not any(line.startswith("epoch 1 of 6") for line in result.err.splitlines())
    assert sha256_file(out / "checkpoint.safetensors") == sha256_file(uninterrupted / "checkpoint.safetensors")
    assert record_of(out)["metrics"] == record_of(uninterrupted)["metrics"]
    assert len((out / "history.csv").read_text().splitlines()) == 7
    assert not out.with_name("run.unfinished").exists()


@pytest.mark.slow
def test_interrupted_it_says_how_to_continue_and_exits_with_130(python, tiny_data, tmp_path):
    out = tmp_path / "run"
    arguments = ("train", tiny_data, "--out", out, *options_of_long_training())
    stopped = python(SIGNAL_ITSELF, int(signal.SIGINT), *arguments)
    assert (stopped.code, stopped.out) == (130, "")
    lines = [line for line in stopped.err.splitlines() if line and not line.startswith("epoch ")]
    assert lines == [
        f"interrupted: {out}.unfinished holds the saved state; continue with the same command and --resume",
        "overfly: interrupted",
    ]
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.unfinished" / "last" / "state.safetensors").exists()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_ends_with_the_same_weights(python, overfly, tiny_data, tmp_path, uninterrupted, number):
    out = tmp_path / "run"
    arguments = ("train", tiny_data, "--out", out, *options_of_long_training())
    stopped = python(SIGNAL_ITSELF, int(number), *arguments)
    assert stopped.code == 130
    assert stopped.err.splitlines()[-1] == "overfly: interrupted"
    result = overfly(*arguments, "--resume")
    result.assert_done()
    assert re.match(r"continuing .*epoch [1-5] of 6\n", result.err)
    assert sha256_file(out / "checkpoint.safetensors") == sha256_file(uninterrupted / "checkpoint.safetensors")


def test_resume_without_anything_to_resume_starts_from_the_beginning(overfly, small_data, tmp_path, briefly):
    overfly("train", small_data, "--out", tmp_path / "run", *briefly, "--resume").assert_done()
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly, "--resume")
    result.assert_failed(tmp_path / "run")


def test_a_damaged_state_is_named(overfly, small_data, tmp_path, briefly):
    state = tmp_path / "run.unfinished" / "last" / "state.safetensors"
    state.parent.mkdir(parents=True)
    state.write_bytes(b"no state")
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly, "--resume")
    result.assert_failed(state, "--overwrite")
    overfly("train", small_data, "--out", tmp_path / "run", *briefly, "--overwrite").assert_done()
    assert not state.exists()


@pytest.mark.parametrize("damage", ["missing", "one class", "too few"])
def test_data_that_cannot_be_used_are_named_and_nothing_is_written(
    overfly, content, small_data, tmp_path, briefly, damage
):
    named = small_data / "absent" if damage == "missing" else small_data
    for path in sorted((small_data / "water").iterdir())[0 if damage == "one class" else 1 :]:
        path.unlink()
    if damage == "one class":
        (small_data / "water").rmdir()
    before = content(tmp_path)
    overfly("train", named, "--out", tmp_path / "run", *briefly).assert_failed(named)
    assert content(tmp_path) == before


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are not Unicode")
def test_a_file_name_that_is_not_utf8_is_trained_on(overfly, small_data, tmp_path, briefly):
    (small_data / "field" / "field0.png").rename(small_data / "field" / "f\udcff.png")
    overfly("train", small_data, "--out", tmp_path / "run", *briefly).assert_done()


def test_an_out_that_holds_the_data_is_rejected(overfly, content, small_data, briefly):
    before = content(small_data.parent)
    for out in (small_data, small_data.parent):
        overfly("train", small_data, "--out", out, "--overwrite", *briefly).assert_failed(small_data, "another output")
    assert content(small_data.parent) == before


def test_an_unfinished_run_is_kept_if_the_command_can_not_start(overfly, tmp_path, briefly):
    unfinished = tmp_path / "run.unfinished"
    unfinished.mkdir()
    (unfinished / "last").write_text("hours of work")
    result = overfly("train", tmp_path / "no", "--out", tmp_path / "run", "--overwrite", *briefly)
    result.assert_failed(tmp_path / "no")
    assert (unfinished / "last").read_text() == "hours of work"


def test_a_seed_beyond_64_bits_is_wrong_usage(overfly, small_data, tmp_path):
    overfly("train", small_data, "--out", tmp_path / "run", "--seed", 2**63).assert_misused("--seed")
