"""The main job on the real scenes: train, export, bench, check, predict, as a user types it.

It is slow. Among the fast tests, tests/test_raster_trip.py trains and exports on real scenes.
"""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from overfly.benchmarks.development.strangers import flat_colors, noise
from overfly.cli import run
from overfly.export.deepness import run_deepness
from overfly.export.known_score import run_known_score
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.documents import write_document
from overfly.runtime.inference.compile import read_variant
from overfly.training.run import RUN_SCHEMA, Run, save_checkpoint
from overfly.training.run_layout import RUN_FILE, SPLIT_FILE

pytestmark = [pytest.mark.real, pytest.mark.slow]


def _trip(folder: Path, data: Path, weights: Path, *options: str) -> Path:
    """Train and export; return the folder with ``run`` and ``bundle``."""
    trained = ["train", str(data), "--weights", str(weights), "--seed", "0", "--out", str(folder / "run"), *options]
    assert run(trained) == 0
    export = ["export", str(folder / "run"), "--data", str(data), "--out", str(folder / "bundle")]
    assert run([*export, "--scene-m", "78", "--deepness"]) == 0
    return folder


@pytest.fixture(scope="module")
def trip(tmp_path_factory, real_data, real_weights):
    """A run of three epochs and its bundle: enough that INT8 hardly changes how many images are right.

    Without sharpness-aware minimization, which doubles the time of a step; tests/test_raster_trip.py has it.
    """
    options = ("--epochs", "3", "--set", "sam_rho=0")
    return _trip(tmp_path_factory.mktemp("trip"), real_data, real_weights, *options)


def test_a_few_epochs_reach_what_only_a_working_trip_can(trip):
    record = json.loads((trip / "run" / "run.json").read_text())
    assert record["metrics"]["n_images"] == 420
    assert len(record["classes"]) == 21
    assert record["metrics"]["accuracy"] >= 0.90


def test_the_two_identical_images_of_uc_merced_share_a_part(trip):
    files = json.loads((trip / "run" / "split.json").read_text())["files"]
    parts = [file["part"] for file in files if re.search(r"airplane0[12]\.", file["name"])]
    assert len(parts) == 2
    assert len(set(parts)) == 1


def test_bench_agrees_with_pytorch_on_every_test_image(trip, real_data, capsys, monkeypatch):
    bench = ["bench", str(trip / "bundle"), "--data", str(real_data), "--run", str(trip / "run"), "--device", "CPU"]
    # Wide enough for each name in one line, however long the figures are.
    monkeypatch.setenv("COLUMNS", "120")
    # Quick, but for the images: all of them are judged.
    assert run([*bench, "--quick", "--images", "420", "--out", str(trip / "report")]) == 0
    table = capsys.readouterr().out
    for name in ("PyTorch fp32", "ONNX Runtime", "OpenVINO fp32", "OpenVINO fp16", "OpenVINO int8"):
        assert name in table
    report = json.loads((trip / "report" / "report.json").read_text())
    rows = {(row["spec"]["backend"], row["spec"]["variant"]): row for row in report["rows"]}
    assert all(row["status"] == "ok" and row["quality"]["n_images"] == 420 for row in rows.values())
    assert (
        rows["openvino", "fp32"]["difference"]["agreement"]
        == rows["onnxruntime", "fp32"]["difference"]["agreement"]
        == 1.0
    )
    assert rows["openvino", "fp32"]["execution"]["execution_precision"] == "f32"
    # No fixed number of images: which ones are wrong in one of the two varies with the rounding of the training.
    int8 = rows["openvino", "int8"]["difference"]
    assert int8["mcnemar_p"] >= 0.05, int8
    assert int8["agreement"] >= 0.97, int8
    assert {path.name for path in (trip / "report").iterdir()} == {"report.json", "report.md", "report.html"}


def test_check_and_predict_answer(trip, real_data, capsys):
    assert run(["check", str(trip / "bundle"), "--device", "CPU"]) == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["VALID", "fp32"],
        ["VALID", "fp16"],
        ["VALID", "int8"],
    ]
    images = [str(real_data / name / f"{name}07.jpg") for name in ("harbor", "forest", "parkinglot")]
    assert run(["predict", str(trip / "bundle"), *images, "--device", "CPU"]) == 0
    labels = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert labels == ["harbor", "forest", "parkinglot"]


def test_deepness_gives_all_golden_images_the_class_that_pytorch_gives(trip):
    bundle = Bundle.open(trip / "bundle")
    golden = bundle.golden()
    probabilities = run_deepness(bundle.path / "deepness.onnx", golden.images, batch_size=1)
    assert (probabilities.argmax(axis=1) == golden.logits.argmax(axis=1)).sum() == len(golden.images) == 64


@pytest.mark.parametrize("variant", ["fp32", "int8"])
def test_noise_and_one_color_score_lower_than_scenes(trip, variant):
    bundle = Bundle.open(trip / "bundle")
    model = read_variant(bundle, variant)
    scenes = run_known_score(model, bundle.golden().images)
    # No share of what is rejected: the threshold is the lowest score of 84 scenes, and varies with the rounding.
    assert np.mean(scenes >= bundle.manifest.known_score.thresholds[variant]) >= 0.9
    for strangers in (noise, flat_colors):
        scores = run_known_score(model, strangers(bundle.manifest.image.reader()))
        auroc = np.mean(scenes[:, np.newaxis] > scores)
        assert auroc >= 0.9, strangers.__name__


def make_hard(easy: Path, hard: Path) -> Path:
    """Copy a run, with equal answers in fp32, but with channels of one tensor whose sizes go from 1 to 1000.

    They are those between the first two blocks of MobileNetV2, with no activation and no parallel path: what
    the batch normalization multiplies, the next convolution divides. In INT8 all channels share one scale.
    """
    source = Run.open(easy)
    deployed = source.load_model()
    blocks = deployed.model.get_submodule("features")
    norm, following = blocks.get_submodule("1.conv.2"), blocks.get_submodule("2.conv.0.0")
    scale = torch.logspace(0, 3, len(norm.weight))
    with torch.no_grad():
        norm.weight *= scale
        norm.bias *= scale
        following.weight /= scale[:, None, None]
    hard.mkdir()
    checkpoint_sha256 = save_checkpoint(hard, deployed)
    (hard / SPLIT_FILE).write_bytes((easy / SPLIT_FILE).read_bytes())
    write_document(hard / RUN_FILE, replace(source.record, checkpoint_sha256=checkpoint_sha256), schema=RUN_SCHEMA)
    return hard


@pytest.mark.full
def test_max_drop_is_kept_on_real_scenes_where_plain_int8_loses_much(trip, real_data, tmp_path):
    hard = make_hard(trip / "run", tmp_path / "hard")
    arguments = ["export", str(hard), "--data", str(real_data), "--variant", "int8"]
    assert run([*arguments, "--out", str(tmp_path / "plain")]) == 0
    plain = Bundle.open(tmp_path / "plain").variant("int8").parity
    assert plain.top1_agreement < 0.9
    assert run([*arguments, "--max-drop", "1", "--out", str(tmp_path / "limited")]) == 0
    int8 = Bundle.open(tmp_path / "limited").variant("int8")
    assert (int8.steering.part, int8.steering.n_images) == ("train", 200)
    assert int8.steering.drop_pp <= 1
    assert "features.2.conv.0.0" in int8.steering.reverted
    assert int8.parity.top1_agreement > plain.top1_agreement


@pytest.mark.full
def test_five_epochs_of_the_default_recipe_reach_94_percent(tmp_path, real_data, real_weights):
    trip = _trip(tmp_path, real_data, real_weights, "--epochs", "5")
    assert json.loads((trip / "run" / "run.json").read_text())["metrics"]["accuracy"] >= 0.94
