"""``overfly export``: a bundle that agrees with its run, nothing half-written, and a sentence for every damaged run."""

import hashlib
import json
import re
import shutil
from dataclasses import asdict, replace

import pytest

import overfly.cli.export as export_command
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import AccuracyControl, FloatLayer
from overfly.runtime.bundle.storage import write_zip
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.files.hashing import sha256_file


@pytest.fixture
def run_folder(tiny_run, tmp_path):
    """A copy of the small run, the test's own to damage."""
    return shutil.copytree(tiny_run, tmp_path / "run")


@pytest.fixture
def check_rejected(overfly, content, tmp_path):
    """A function that exports and checks that it is rejected, with nothing written or changed."""

    def call(run, *options, fragments):
        before = content(tmp_path)
        result = overfly("export", run, "--out", tmp_path / "bundle", *options)
        result.assert_failed(*fragments)
        assert content(tmp_path) == before

    return call


def test_only_the_variants_asked_for_are_written(fp32_bundle):
    bundle, result = fp32_bundle
    result.assert_done()
    names = {"manifest.json", "model.onnx", "fp32.xml", "fp32.bin", "golden.npz", "labels.txt"}
    assert {path.name for path in bundle.iterdir()} == names
    opened = Bundle.open(bundle)
    opened.verify()
    assert list(opened.manifest.variants) == ["fp32"]


def test_json_holds_the_parity_of_each_step(fp32_bundle):
    bundle, result = fp32_bundle
    printed = json.loads(result.out)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    assert printed == {
        "bundle": str(bundle),
        "golden_part": "test",
        "parity": {"onnx": manifest["onnx"]["parity"], "fp32": manifest["variants"]["fp32"]["parity"]},
        "quantized": {},
    }
    for parity in printed["parity"].values():
        assert (parity["n_images"], parity["top1_agreement"]) == (24, 1.0)
        assert parity["max_abs_diff"] < 1e-3


def test_the_table_marks_int8_that_lost_everything(tiny_bundle):
    manifest = Bundle.open(tiny_bundle).manifest
    int8 = manifest.variants["int8"]
    lost = replace(int8, parity=replace(int8.parity, top1_agreement=0.0))
    table = export_command._table(tiny_bundle, replace(manifest, variants={**manifest.variants, "int8": lost}))
    assert re.search(r"^int8 .* 0 of 24 images$", table, re.MULTILINE)
    (invalid,) = (line for line in table.splitlines() if line.startswith("int8: INVALID: "))
    assert " 0.0%" in invalid
    assert " 80.0%" in invalid
    assert "INVALID" not in export_command._table(tiny_bundle, manifest)


def test_json_says_of_each_quantized_variant_what_is_in_floating_point(tiny_bundle, monkeypatch):
    manifest = Bundle.open(tiny_bundle).manifest
    int8 = manifest.variants["int8"]
    control = AccuracyControl("val", 200, 1.0, 0.5, ("features.0",))
    mixed = replace(int8, float_layers=(FloatLayer("features.0", "why"),), steering=control)
    monkeypatch.setitem(VARIANTS, "int8-mixed", VARIANTS["int8"])
    variants = {**manifest.variants, "int8-mixed": mixed}
    facts = json.loads(export_command._json(tiny_bundle, replace(manifest, variants=variants)))
    assert facts["quantized"] == {
        "int8": {"float_layers": [], "accuracy_control": None},
        "int8-mixed": {
            "float_layers": [{"name": "features.0", "why": "why"}],
            "accuracy_control": {**asdict(control), "reverted": ["features.0"]},
        },
    }
    assert facts["parity"]["int8-mixed"] == facts["parity"]["int8"]


def test_the_bundle_names_the_run_it_comes_from(fp32_bundle, tiny_run):
    manifest = json.loads((fp32_bundle[0] / "manifest.json").read_text(encoding="utf-8"))
    record = json.loads((tiny_run / "run.json").read_text(encoding="utf-8"))
    assert manifest["provenance"]["run_sha256"] == hashlib.sha256((tiny_run / "run.json").read_bytes()).hexdigest()
    assert manifest["provenance"]["split_sha256"] == record["split_sha256"]
    assert manifest["classes"] == record["classes"]
    assert manifest["image"] == record["image"]
    assert (fp32_bundle[0] / "labels.txt").read_text(encoding="utf-8").splitlines() == record["classes"]


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "split.json", "run.json"])
@pytest.mark.parametrize("change", ["missing", "altered", "cut"])
def test_a_file_of_the_run_that_is_missing_or_altered_is_named(check_rejected, run_folder, name, change):
    path = run_folder / name
    damaged = bytearray(path.read_bytes())
    if change == "missing":
        path.unlink()
    elif change == "cut":
        path.write_bytes(damaged[: len(damaged) // 2])
    else:
        damaged[len(damaged) // 2] ^= 0x80
        path.write_bytes(damaged)
    check_rejected(run_folder, fragments=(path,))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": "overfly.run/2"}, "overfly.run/2"),
        ({"color": "blue"}, "color"),
        ({"seed": "nought"}, "seed"),
        ({"model": "lenet"}, "lenet"),
    ],
)
def test_a_record_that_is_not_ours_is_rejected_with_the_key(check_rejected, run_folder, change, named):
    record = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
    (run_folder / "run.json").write_text(json.dumps({**record, **change}), encoding="utf-8")
    check_rejected(run_folder, fragments=(named,))


def test_a_path_that_is_no_run_is_named(check_rejected, tiny_bundle, tiny_data, tmp_path):
    check_rejected(tmp_path / "no", fragments=(tmp_path / "no",))
    check_rejected(tiny_bundle, fragments=(tiny_bundle / "run.json",))
    check_rejected(tiny_data, fragments=(tiny_data / "run.json",))


def test_data_that_moved_changed_or_lost_an_image_is_named(check_rejected, tiny_run, tiny_data, tmp_path):
    check_rejected(tiny_run, "--data", tmp_path / "no", fragments=(tmp_path / "no", "--data"))
    data = shutil.copytree(tiny_data, tmp_path / "data")
    split = json.loads((tiny_run / "split.json").read_text(encoding="utf-8"))
    name = next(file["name"] for file in split["files"] if file["part"] == "test")
    (data / name).write_bytes((data / name).read_bytes() + b"\0")
    check_rejected(tiny_run, "--data", data, fragments=(data / name,))
    (data / name).unlink()
    check_rejected(tiny_run, "--data", data, fragments=(data / name, "--data"))


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_existing_out_is_rejected_and_left_alone(check_rejected, tiny_run, tmp_path, kind):
    out = tmp_path / "bundle"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    check_rejected(tiny_run, fragments=(out, "--overwrite"))


def test_a_failed_overwrite_keeps_the_old_bundle(check_rejected, run_folder, tmp_path):
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "notes.txt").write_text("old")
    (run_folder / "checkpoint.safetensors").write_bytes(b"")
    check_rejected(run_folder, "--overwrite", fragments=(run_folder / "checkpoint.safetensors",))


# Runs the command line, which dies when it opens or renames a file once what the pattern names is there.
DIE = """
import os, sys
from pathlib import Path
from overfly.cli import run

folder, pattern, *arguments = sys.argv[1:]

def die(event, _):
    if event in {"open", "os.rename"} and any(Path(folder).glob(pattern)):
        os._exit(9)

sys.addaudithook(die)
run(arguments)
"""


@pytest.mark.slow
def test_killed_in_the_middle_it_leaves_nothing_at_out(python, tiny_run, tmp_path):
    arguments = ("export", tiny_run, "--out", tmp_path / "bundle", "--variant", "fp32")
    assert python(DIE, tmp_path, ".bundle.*.part/model.onnx", *arguments).code == 9
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_killed_in_the_middle_of_a_zip_it_leaves_nothing_at_out(python, tiny_run, tmp_path):
    arguments = ("export", tiny_run, "--out", tmp_path / "bundle", "--zip", "--variant", "fp32")
    assert python(DIE, tmp_path, ".bundle.zip.*.part/bundle.zip.files/model.onnx", *arguments).code == 9
    assert not (tmp_path / "bundle.zip").exists()


@pytest.mark.slow
def test_killed_while_overwriting_it_leaves_the_old_bundle(python, content, tiny_run, tiny_bundle, tmp_path):
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    arguments = ("export", tiny_run, "--out", tmp_path / "bundle", "--variant", "fp32", "--overwrite")
    assert python(DIE, tmp_path, ".bundle.*.part", *arguments).code == 9
    assert content(tmp_path / "bundle") == content(tiny_bundle)


def test_a_zip_is_checked_and_used_like_the_folder(overfly, fp32_bundle, tiny_data, tmp_path):
    packed = tmp_path / "bundle.zip"
    write_zip(packed, fp32_bundle[0])
    images = sorted((tiny_data / "forest").iterdir())[:2]
    answers = []
    for bundle in (fp32_bundle[0], packed):
        checked = overfly("check", bundle, "--device", "CPU")
        checked.assert_done()
        predicted = overfly("predict", bundle, *images, "--device", "CPU", "--json")
        predicted.assert_done()
        answers.append((checked.out, predicted.out))
    assert answers[0] == answers[1]
    packed.write_bytes(packed.read_bytes()[:-1])
    overfly("check", packed).assert_failed(packed)


@pytest.mark.slow
def test_an_export_makes_one_zip_and_replaces_it_as_a_whole(overfly, tiny_run, fp32_bundle, tmp_path):
    packed = tmp_path / "bundle.zip"
    packed.write_bytes(b"old")
    overfly("export", tiny_run, "--out", tmp_path / "bundle", "--zip").assert_failed(packed)
    assert packed.read_bytes() == b"old"
    result = overfly("export", tiny_run, "--out", packed, "--zip", "--variant", "fp32", "--overwrite")
    result.assert_done()
    assert result.out.splitlines()[-1] == f"bundle: {packed}"
    assert [path.name for path in tmp_path.iterdir()] == ["bundle.zip"]
    assert Bundle.open(packed).manifest == Bundle.open(fp32_bundle[0]).manifest


@pytest.mark.slow
def test_a_bench_measures_a_zip(overfly, tiny_run, tiny_data, fp32_bundle, tmp_path):
    write_zip(tmp_path / "bundle.zip", fp32_bundle[0])
    options = ["--data", tiny_data, "--run", tiny_run, "--out", tmp_path / "report", "--quick", "--json"]
    report = json.loads(overfly("bench", tmp_path / "bundle.zip", *options).out)
    assert [(row["spec"]["backend"], row["status"]) for row in report["rows"]] == [
        ("pytorch", "ok"),
        ("onnxruntime", "ok"),
        ("openvino", "ok"),
    ]
    assert report["bundles"][0]["manifest_sha256"] == sha256_file(fp32_bundle[0] / "manifest.json")


@pytest.mark.slow
def test_the_table_has_a_line_for_each_variant_and_overwrite_replaces_all(overfly, tiny_run, tmp_path):
    out = tmp_path / "bundle"
    out.mkdir()
    (out / "notes.txt").write_text("old")
    result = overfly("export", tiny_run, "--out", out, "--variant", "fp16", "--overwrite")
    result.assert_done()
    header, *rows, place = result.out.splitlines()
    assert header.split()[:2] == ["variant", "megabytes"]
    assert [row.split()[0] for row in rows] == ["onnx", "fp16"]
    assert all(row.endswith("24 of 24 images") for row in rows)
    assert float(rows[1].split()[1]) == pytest.approx((out / "fp16.bin").stat().st_size / 1e6, abs=0.01)
    assert place == f"bundle: {out}"
    assert not (out / "notes.txt").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]


def test_an_out_that_is_the_run_is_rejected(overfly, content, tiny_run):
    before = content(tiny_run)
    overfly("export", tiny_run, "--out", tiny_run, "--overwrite").assert_failed(tiny_run, "another output")
    assert content(tiny_run) == before


def test_an_out_inside_the_data_is_rejected(overfly, content, tiny_run, tiny_data):
    before = content(tiny_data)
    inside = ("--data", tiny_data, "--out", tiny_data / "result")
    overfly("export", tiny_run, *inside).assert_failed(tiny_data / "result")
    assert content(tiny_data) == before


def test_deepness_needs_the_side_of_an_image_on_the_ground(check_rejected, tiny_run):
    check_rejected(tiny_run, "--deepness", fragments=(tiny_run, "--scene-m"))


@pytest.mark.parametrize("side", ["0", "-78", "nan", "inf"])
def test_a_side_that_is_no_length_is_wrong_usage(overfly, tiny_run, side, tmp_path):
    overfly("export", tiny_run, "--out", tmp_path / "bundle", "--scene-m", side).assert_misused("--scene-m")


@pytest.mark.slow
def test_the_files_for_other_programs_are_part_of_the_bundle(overfly, tiny_run, tmp_path):
    packed = tmp_path / "bundle.zip"
    options = ("--variant", "fp32", "--scene-m", "78", "--deepness", "--stac", "--zip")
    overfly("export", tiny_run, "--out", packed, *options).assert_done()
    bundle = Bundle.open(packed)
    bundle.verify()
    assert {"deepness.onnx", "stac.json"} <= set(bundle.manifest.files)
    assert json.loads(bundle.read("stac.json"))["geometry"] is None
    assert (bundle.manifest.scene.scene_m, bundle.manifest.scene.bands) == (78.0, (1, 2, 3))
    overfly("check", packed, "--device", "CPU").assert_done()
