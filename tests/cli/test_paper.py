"""``overfly paper``: rows that can be trained have figures, the others their reason; nothing is trained twice."""

import json

import pytest
import torch

from overfly.benchmarks.paper import PAPER_ROWS
from overfly.training.torchvision_import import torchvision_models

COUNTS = {
    "mobilenet_v2": ("2.2508M", "426.0928M"),
    "resnet18": ("11.1873M", "2.3818G"),
    "shufflenet_v2_x1_0": ("1.2751M", "198.1404M"),
    "vgg16": ("134.3466M", "20.1643G"),
    "alexnet": ("57.0899M", "923.1359M"),
}


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
    result.assert_failed(tmp_path / "no", "found nothing", "one folder for each class")
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
    assert [row["name"] for row in table["rows"]] == [row.name for row in PAPER_ROWS]
    for row, theirs in zip(table["rows"], PAPER_ROWS, strict=True):
        assert (row["params"], row["flops"]) == COUNTS[theirs.model] == (theirs.params, theirs.flops)
        if theirs.model == "mobilenet_v2":
            record = json.loads((out / row["name"] / "run.json").read_text(encoding="utf-8"))
            assert row["status"] == "ok"
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
    for row, theirs in zip(table["rows"], PAPER_ROWS, strict=True):
        line = next(line for line in lines if line.startswith(f"| {row['name']} |"))
        ours = "-" if row["accuracy"] is None else f"{row['accuracy']:.2f}"
        assert f"| {ours} / {theirs.accuracy:.2f} |" in line
    # Standard output is for data: nothing stands before it.
    assert second.out == markdown
    assert json.loads(first.out) == table


@pytest.mark.slow
@pytest.mark.usefixtures("offline")
def test_rows_of_another_recipe_are_not_passed_off_as_this_one(overfly, tiny_data, tmp_path, weights):
    """A table says how many epochs its rows were trained: rows that lie there from other choices don't count."""
    arguments = ("paper", tiny_data, "--out", tmp_path / "tables", "--image-size", 64)
    arguments += ("--weights", f"mobilenet_v2={weights}")
    assert overfly(*arguments, "--epochs", 1).code == 0
    result = overfly(*arguments, "--epochs", 2)
    if result.code == 0:
        record = json.loads((tmp_path / "tables" / "mobilenet_v2" / "run.json").read_text(encoding="utf-8"))
        table = json.loads((tmp_path / "tables" / "paper.json").read_text(encoding="utf-8"))
        assert record["recipe"]["epochs"] == table["epochs"]
    else:
        result.assert_failed("epochs")
