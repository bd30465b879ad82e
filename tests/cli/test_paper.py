"""``overfly paper``: what it prints, and what it rejects before anything is trained."""

import json

import pytest
import torch

from overfly.benchmarks.paper.published import PUBLISHED_ROWS
from overfly.cli.terminal import Terminal
from overfly.training.models.torchvision_import import torchvision_models


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    """No network and no cached weights."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def weights(tmp_path, monkeypatch, three_blocks):
    """A weights file for a MobileNetV2 of three blocks; the table has no other model."""
    for module in ("reproduce", "table"):
        monkeypatch.setattr(f"overfly.benchmarks.paper.{module}.PUBLISHED_ROWS", PUBLISHED_ROWS[:2])
    with three_blocks():
        path = tmp_path / "mobilenet_v2.pth"
        torch.save(torchvision_models().mobilenet_v2(weights=None).state_dict(), path)
        yield path


def test_a_data_folder_that_is_missing_is_an_error_and_nothing_is_written(overfly, tmp_path):
    result = overfly("paper", tmp_path / "no", "--out", tmp_path / "tables", "--epochs", 1)
    result.assert_failed(tmp_path / "no")
    assert not (tmp_path / "tables").exists()


def test_an_out_that_is_a_file_is_an_error(overfly, tiny_data, tmp_path):
    (tmp_path / "tables").write_text("mine")
    overfly("paper", tiny_data, "--out", tmp_path / "tables").assert_failed(tmp_path / "tables", "another output")
    assert (tmp_path / "tables").read_text() == "mine"


@pytest.mark.parametrize("text", ["mobilenet=weights.pth", "mobilenet_v2", "mobilenet_v2="])
def test_weights_that_are_not_a_model_and_a_file_are_wrong_usage(overfly, tiny_data, tmp_path, text):
    result = overfly("paper", tiny_data, "--out", tmp_path / "tables", "--weights", text)
    result.assert_misused("--weights", repr(text.partition("=")[0] if "weights.pth" in text else text))
    assert not (tmp_path / "tables").exists()


def test_tables_are_not_written_into_the_data(overfly, small_data):
    overfly("paper", small_data, "--out", small_data / "tables").assert_failed(small_data / "tables")
    assert not (small_data / "tables").exists()


@pytest.mark.slow
def test_after_an_interruption_the_same_command_continues_and_prints_the_table(
    overfly, tiny_data, tmp_path, weights, monkeypatch
):
    out = tmp_path / "tables"
    arguments = ("paper", tiny_data, "--out", out, "--epochs", 1, "--image-size", 64)
    arguments += ("--weights", f"mobilenet_v2={weights}")

    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Terminal, "row", interrupt)
        stopped = overfly(*arguments)
    assert stopped.code == 130
    note = f"interrupted: {out} keeps what is done; run the same command again to continue"
    assert note in stopped.err.splitlines()
    result = overfly(*arguments)
    result.assert_done()
    table = json.loads((out / "paper.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in table["rows"]] == ["ok", "ok"]
    # Standard output is for data: nothing stands before the table.
    assert result.out.startswith("Recipe: paper. ")
    ours = next(line for line in result.out.splitlines() if line.startswith("mobilenet_v2 "))
    assert ours.split()[1] == f"{table['rows'][1]['accuracy']:.2f}"
    assert json.loads(overfly(*arguments, "--json").out) == table
