"""``overfly demo``: the whole trip with one command, over nothing that exists."""

import json
import shutil

import pytest

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.mapping.record import read_map_record
from overfly.training.synthetic.landscape import SCENE_M


@pytest.mark.parametrize("part", ["data", "run"])
def test_an_existing_part_of_out_is_rejected_and_left_alone(overfly, content, tiny_data, tmp_path, part):
    (tmp_path / "demo" / part).mkdir(parents=True)
    (tmp_path / "demo" / part / "notes.txt").write_text("mine")
    before = content(tmp_path)
    options = () if part == "data" else ("--data", tiny_data, "--weights", "none")
    result = overfly("demo", tmp_path / "demo", "--epochs", 1, *options)
    result.assert_failed(tmp_path / "demo" / part, "--overwrite")
    assert content(tmp_path) == before


@pytest.mark.parametrize("part", ["bundle", "report"])
def test_an_existing_later_part_is_rejected_before_minutes_of_training(overfly, content, tiny_data, tmp_path, part):
    (tmp_path / "demo" / part).mkdir(parents=True)
    (tmp_path / "demo" / part / "notes.txt").write_text("mine")
    before = content(tmp_path)
    # Weights that are not there stop it after the rejection that should have come.
    options = ("--data", tiny_data, "--weights", tmp_path / "no.pth")
    result = overfly("demo", tmp_path / "demo", "--epochs", 1, *options)
    result.assert_failed(tmp_path / "demo" / part)
    assert content(tmp_path) == before


def test_an_out_that_is_a_file_is_rejected(overfly, tiny_data, tmp_path):
    (tmp_path / "demo").write_text("mine")
    options = ("--data", tiny_data, "--weights", "none")
    overfly("demo", tmp_path / "demo", *options).assert_failed(tmp_path / "demo")
    assert (tmp_path / "demo").read_text() == "mine"


def test_bad_data_is_a_sentence_and_leaves_nothing(overfly, tmp_path):
    result = overfly("demo", tmp_path / "demo", "--data", tmp_path / "no", "--weights", "none")
    result.assert_failed(tmp_path / "no")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.full
def test_it_takes_ones_own_data_to_a_bundle_and_a_report(overfly, content, tiny_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    (tmp_path / "overfly-demo").mkdir()
    before = content(tiny_data)
    result = overfly("demo", "--data", tiny_data, "--weights", "none", "--epochs", 1)
    result.assert_done()
    base = tmp_path / "overfly-demo-2"
    assert {path.name for path in base.iterdir()} == {"run", "bundle", "report"}
    assert list((tmp_path / "overfly-demo").iterdir()) == []
    assert content(tiny_data) == before
    Bundle.open(base / "bundle").verify()
    report = json.loads((base / "report" / "report.json").read_text(encoding="utf-8"))
    names = ["PyTorch fp32", "ONNX Runtime", "OpenVINO fp32", "OpenVINO fp16", "OpenVINO int8"]
    assert [(row["spec"]["backend"], row["spec"]["variant"]) for row in report["rows"]] == [
        ("pytorch", "fp32"),
        ("onnxruntime", "fp32"),
        *(("openvino", variant) for variant in ("fp32", "fp16", "int8")),
    ]
    assert all(row["status"] == "ok" for row in report["rows"])
    assert [row["difference"]["agreement"] for row in report["rows"][1:3]] == [1.0, 1.0]
    lines = [line.strip() for line in result.out.splitlines()]
    assert all(any(line.startswith(name) for line in lines) for name in names)
    assert [line.split()[0] for line in lines[-3:]] == ["run:", "bundle:", "report:"]
    shown = [base.parent / line.split()[1] for line in lines[-3:]]
    assert shown == [base / "run", base / "bundle", base / "report" / "report.html"]
    assert [line for line in result.err.splitlines() if line in {"exporting", "measuring"}] == [
        "exporting",
        "measuring",
    ]


@pytest.mark.slow
def test_it_draws_its_own_data_and_overwrite_makes_the_trip_again(overfly, tmp_path):
    out = tmp_path / "demo"
    (out / "data").mkdir(parents=True)
    (out / "data" / "notes.txt").write_text("old")
    result = overfly("demo", out, "--epochs", 1, "--overwrite", "--json")
    result.assert_done()
    report = json.loads(result.out)
    assert report == json.loads((out / "report" / "report.json").read_text(encoding="utf-8"))
    assert len(list((out / "data").rglob("*.jpg"))) == 8 * 40
    assert not (out / "data" / "notes.txt").exists()
    assert [row["quality"]["n_images"] for row in report["rows"]] == [40] * 5  # of 64: 5 of each class with --quick
    shutil.rmtree(out)


@pytest.mark.slow
def test_it_makes_a_map_of_a_drawn_orthophoto(overfly, tmp_path):
    result = overfly("demo", tmp_path, "--map", "--epochs", "1")
    result.assert_done()
    assert f"map:     {tmp_path / 'map' / 'preview.png'}" in result.out
    record = read_map_record(tmp_path / "map")
    assert (record.n_columns, record.n_rows) == (28, 20)
    assert record.options.scene_m == SCENE_M
    assert overfly("demo", tmp_path, "--map").code == 1


@pytest.mark.parametrize("other", [("--data", "scenes"), ("--weights", "none"), ("--json",)])
def test_a_map_is_of_drawn_data_only(overfly, tmp_path, other):
    overfly("demo", tmp_path / "demo", "--map", *other).assert_misused("--map")
