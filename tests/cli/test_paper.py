"""``overfly paper``: rows that were trained have figures, the others a reason; nothing is trained twice."""

import json
import shutil

import pytest
import torch

from overfly.benchmarks.paper.published import PUBLISHED_ROWS
from overfly.benchmarks.paper.table import NOT_TRAINED, TRAINED, PaperTable, ReproducedRow, paper_markdown, paper_text
from overfly.cli.terminal import Terminal
from overfly.training.models.torchvision_import import torchvision_models


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """No network and no cached weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def weights(tmp_path):
    """A weights file for mobilenet_v2 in torchvision's format."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        torch.save(torchvision_models().mobilenet_v2(weights=None).state_dict(), tmp_path / "mobilenet_v2.pth")
    return tmp_path / "mobilenet_v2.pth"


@pytest.mark.usefixtures("offline")
def test_a_data_folder_that_is_missing_is_a_sentence_and_leaves_nothing(overfly, tmp_path):
    result = overfly("paper", tmp_path / "no", "--out", tmp_path / "tables", "--epochs", 1)
    result.assert_failed(tmp_path / "no")
    assert not (tmp_path / "tables").exists()


@pytest.mark.usefixtures("offline")
def test_an_out_that_is_a_file_is_a_sentence(overfly, tiny_data, tmp_path):
    (tmp_path / "tables").write_text("mine")
    overfly("paper", tiny_data, "--out", tmp_path / "tables").assert_failed(tmp_path / "tables", "--out")
    assert (tmp_path / "tables").read_text() == "mine"


@pytest.mark.usefixtures("offline")
def test_weights_for_a_model_that_is_in_no_row_are_refused(overfly, tiny_data, tmp_path):
    options = ("--out", tmp_path / "tables", "--epochs", 1, "--image-size", 64)
    result = overfly("paper", tiny_data, *options, "--weights", "mobilenet=weights.pth")
    assert result.code in {1, 2}, result.out
    assert "mobilenet" in result.err.splitlines()[-1]
    assert "mobilenet_v2" in result.err
    assert not (tmp_path / "tables").exists()


@pytest.mark.usefixtures("offline")
def test_tables_are_not_written_into_the_data(overfly, small_data):
    overfly("paper", small_data, "--out", small_data / "tables").assert_failed(small_data / "tables")
    assert not (small_data / "tables").exists()


@pytest.fixture
def table():
    """A table of which the first two rows were trained, on the same machine."""
    place = {"machine": "Xeon, 4 cores", "versions": {"python": "3.11.2", "torch": "2.6", "overfly": "1"}}
    absent = {"accuracy": None, "f1_macro": None, "kappa": None, "seconds": None, "machine": None, "versions": None}
    rows = []
    for row, seconds in zip(PUBLISHED_ROWS, (5025.4, 754.0, None, None, None, None), strict=True):
        counts = {"name": row.name, "params": row.params, "flops": row.flops}
        figures = {"accuracy": 90.476, "f1_macro": 90.0, "kappa": 9.5, "seconds": seconds, **place}
        rows.append(
            ReproducedRow(**counts, status=TRAINED, **figures)
            if seconds
            else ReproducedRow(**counts, status="no file", **absent)
        )
    return PaperTable(60, 256, 3, tuple(rows))


def test_the_text_has_our_figures_above_the_papers_and_fits_80_columns(table):
    lines = paper_text(table).splitlines()
    assert lines[0] == "Recipe: paper. Epochs: 60. Image size: 256. Seed: 3."
    assert lines[2:5] == [
        "                     accuracy     F1  kappa    params     FLOPs  time",
        "mobilenet_v2-scratch    90.48  90.00   9.50   2.2508M 426.0928M  1 h 23 min",
        "  the paper             25.71  23.24  22.00   2.2508M 426.0928M",
    ]
    assert lines[5].endswith("12 min 34 s")
    assert lines[11] == "vgg16                       -      -      - 134.3466M  20.1643G  -"
    assert lines[-5:] == [
        *(f"{row.name}: no file" for row in PUBLISHED_ROWS[2:]),
        "Trained on Xeon, 4 cores; python 3.11.2, torch 2.6, overfly 1.",
    ]
    assert max(map(len, lines)) < 80


def test_the_markdown_has_a_line_for_each_row(table):
    lines = paper_markdown(table).splitlines()
    assert lines[0] == "Recipe: paper. Epochs: 60. Image size: 256. Seed: 3. Each cell has our figure / the paper's."
    assert lines[5] == (
        "| mobilenet_v2 | 90.48 / 91.43 | 90.00 / 91.50 | 9.50 / 91.00 | 2.2508M / 2.2508M | 426.0928M / 426.0928M "
        "| 12 min 34 s | ok |"
    )
    assert lines[9].endswith("| 57.0899M / 57.0899M | 923.1359M / 923.1359M | - | no file |")
    assert {line.count("|") for line in lines[2:10]} == {9}


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_an_interrupted_row_goes_on_and_finished_ones_stay(overfly, tiny_data, tmp_path, weights, monkeypatch):
    """Stopped in the second row, the same command says what the uninterrupted one says."""
    options = ("--epochs", 2, "--image-size", 64, "--weights", f"mobilenet_v2={weights}")
    whole = overfly("paper", tiny_data, "--out", tmp_path / "whole", *options, "--json")
    heard = []
    row = Terminal.row

    def stop_at_third(self, cells):
        row(self, cells)
        heard.append(cells)
        if len(heard) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Terminal, "row", stop_at_third)
    stopped = overfly("paper", tiny_data, "--out", tmp_path / "tables", *options)
    assert stopped.code == 130
    note = f"interrupted: {tmp_path / 'tables'} keeps what is done; run the same command again to continue"
    assert note in stopped.err.splitlines()
    assert [path.name for path in sorted((tmp_path / "tables").iterdir())] == [
        "mobilenet_v2-scratch",
        "mobilenet_v2.unfinished",
        "paper.json",
        "paper.md",
    ]
    so_far = json.loads((tmp_path / "tables" / "paper.json").read_text(encoding="utf-8"))["rows"]
    assert [row["status"] for row in so_far] == [TRAINED, *[NOT_TRAINED] * 5]
    assert (so_far[0]["accuracy"], so_far[1]["accuracy"]) == (json.loads(whole.out)["rows"][0]["accuracy"], None)
    monkeypatch.setattr(Terminal, "row", row)
    rest = overfly("paper", tiny_data, "--out", tmp_path / "tables", *options, "--json")
    assert [line.split("  ")[0] for line in rest.err.splitlines() if "loss" in line] == ["epoch 2 of 2"]
    figures = ("name", "status", "accuracy", "f1_macro", "kappa")
    for mine, theirs in zip(json.loads(rest.out)["rows"], json.loads(whole.out)["rows"], strict=True):
        assert [mine[key] for key in figures] == [theirs[key] for key in figures]


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_rows_without_weights_are_named_and_nothing_is_trained_twice(overfly, content, tiny_data, tmp_path, weights):
    out = tmp_path / "tables"
    arguments = ("paper", tiny_data, "--out", out, "--epochs", 1, "--image-size", 64)
    arguments += ("--weights", f"mobilenet_v2={weights}")
    first = overfly(*arguments, "--json")
    assert first.code == 0, first.err
    table = json.loads((out / "paper.json").read_text(encoding="utf-8"))
    assert (table["epochs"], table["image_size"], table["seed"]) == (1, 64, 0)
    assert [row["name"] for row in table["rows"]] == [row.name for row in PUBLISHED_ROWS]
    for row, theirs in zip(table["rows"], PUBLISHED_ROWS, strict=True):
        assert (row["params"], row["flops"]) == (theirs.params, theirs.flops)
        if theirs.model == "mobilenet_v2":
            record = json.loads((out / row["name"] / "run.json").read_text(encoding="utf-8"))
            assert row["status"] == "ok"
            assert (row["machine"], row["versions"]) == (record["machine"], record["versions"])
            assert row["seconds"] == record["seconds"] > 0
            assert row["accuracy"] == pytest.approx(100 * record["metrics"]["accuracy"])
            assert record["recipe"]["learning_rate"] == 1e-5
            assert record["weights"] == "none" if row["name"].endswith("scratch") else "sha256:" in record["weights"]
        else:
            assert (row["accuracy"], row["f1_macro"], row["kappa"]) == (None, None, None)
            assert f"weights of {theirs.model} can't be downloaded" in row["status"]
            assert "--weights" in row["status"]
            assert row["status"] in first.err
    runs = {name: data for name, data in content(out).items() if name.startswith("mobilenet_v2")}
    second = overfly(*arguments)
    assert second.code == 0
    assert "epoch 1 of 1" not in second.err
    assert {name: data for name, data in content(out).items() if name.startswith("mobilenet_v2")} == runs
    assert json.loads((out / "paper.json").read_text(encoding="utf-8")) == table
    markdown = (out / "paper.md").read_text(encoding="utf-8")
    lines = markdown.splitlines()
    for row, theirs in zip(table["rows"], PUBLISHED_ROWS, strict=True):
        line = next(line for line in lines if line.startswith(f"| {row['name']} |"))
        ours = "-" if row["accuracy"] is None else f"{row['accuracy']:.2f}"
        assert f"| {ours} / {theirs.accuracy:.2f} |" in line
    made = [row for row in table["rows"] if row["status"] == "ok"]
    assert lines[-1].rstrip() == (
        f"Trained on {made[0]['machine']}; python {made[0]['versions']['python']}, "
        f"torch {made[0]['versions']['torch']}, torchvision {made[0]['versions']['torchvision']}, "
        f"overfly {made[0]['versions']['overfly']}."
    )
    assert json.loads(first.out) == table
    # Standard output is for data: nothing stands before it.
    assert second.out.startswith("Recipe: paper. Epochs: 1. Image size: 64. Seed: 0.\n")
    assert second.out.splitlines()[-1] == lines[-1].rstrip()


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_a_row_of_another_recipe_is_an_error_before_anything_is_trained(overfly, tiny_data, tmp_path, weights):
    """A table says how many epochs its rows were trained: rows that lie there from other choices don't count."""
    out = tmp_path / "tables"
    arguments = ("paper", tiny_data, "--out", out, "--image-size", 64, "--weights", f"mobilenet_v2={weights}")
    assert overfly(*arguments, "--epochs", 1).code == 0
    table = (out / "paper.md").read_bytes()
    shutil.rmtree(out / "mobilenet_v2-scratch")
    result = overfly(*arguments, "--epochs", 2)
    result.assert_failed(out / "mobilenet_v2", "epochs = 1", "2", "--out")
    assert "epoch 1 of 2" not in result.err
    result = overfly(*arguments, "--epochs", 1, "--seed", 1)
    result.assert_failed("seed = 0", "1", "--out")
    other = torch.load(weights, weights_only=True)
    torch.save({name: value + 1 for name, value in other.items()}, tmp_path / "other.pth")
    result = overfly(*arguments, "--epochs", 1, "--weights", f"mobilenet_v2={tmp_path / 'other.pth'}")
    result.assert_failed("weights = sha256:", "--out")
    shutil.copytree(tiny_data, tmp_path / "fewer")
    next((tmp_path / "fewer" / "forest").iterdir()).unlink()
    result = overfly("paper", tmp_path / "fewer", *arguments[2:], "--epochs", 1)
    result.assert_failed(tiny_data, tmp_path / "fewer", "--out")
    assert (out / "paper.md").read_bytes() == table
