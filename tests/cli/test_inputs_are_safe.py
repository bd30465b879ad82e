"""No output replaces what it is made from, and nothing is given up before the new can be made."""

import json
import shutil

import pytest


def test_an_out_that_holds_the_data_is_refused(overfly, content, small_data, briefly):
    before = content(small_data.parent)
    for out in (small_data, small_data.parent):
        result = overfly("train", small_data, "--out", out, "--overwrite", *briefly)
        result.assert_failed(f"it holds the input {small_data}; choose another --out")
    assert content(small_data.parent) == before


def test_an_out_that_holds_the_run_or_the_bundle_is_refused(overfly, content, tiny_run, tiny_bundle, tiny_data):
    before = content(tiny_run)
    overfly("export", tiny_run, "--out", tiny_run, "--overwrite").assert_failed("it holds the input")
    bench = ("bench", tiny_bundle, "--data", tiny_data, "--out", tiny_bundle, "--overwrite", "--quick")
    overfly(*bench).assert_failed("it holds the input")
    assert content(tiny_run) == before
    assert (tiny_bundle / "manifest.json").exists()


def test_an_out_inside_the_data_is_refused(overfly, content, tiny_run, tiny_bundle, tiny_data):
    before = content(tiny_data)
    inside = ("--data", tiny_data, "--out", tiny_data / "result")
    overfly("export", tiny_run, *inside).assert_failed("it is inside the data folder")
    overfly("bench", tiny_bundle, *inside, "--quick").assert_failed("it is inside the data folder")
    assert content(tiny_data) == before


def test_an_unfinished_run_outlives_a_command_that_could_not_start(overfly, tmp_path, briefly):
    unfinished = tmp_path / "run.unfinished"
    unfinished.mkdir()
    (unfinished / "last").write_text("hours of work")
    overfly("train", tmp_path / "no", "--out", tmp_path / "run", "--overwrite", *briefly).assert_failed("found nothing")
    assert (unfinished / "last").read_text() == "hours of work"


@pytest.mark.parametrize(
    "option", [("--seed", 2**63), ("--learning-rate", "inf"), ("--learning-rate", "nan"), ("--test-fraction", "nan")]
)
def test_numbers_that_are_none_are_wrong_usage(overfly, small_data, tmp_path, option):
    overfly("train", small_data, "--out", tmp_path / "run", *option).assert_misused(option[0])


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "HETERO:CPU"])
def test_openvinos_own_devices_answer_and_say_what_they_ran_on(overfly, tiny_bundle, tiny_data, device):
    image = next((tiny_data / "forest").iterdir())
    answers = [
        json.loads(overfly("predict", tiny_bundle, image, "--device", name, "--variant", "fp32", "--json").out)
        for name in (device, "CPU")
    ]
    assert answers[0]["label"] == answers[1]["label"]
    told = overfly("check", tiny_bundle, "--device", device, "--variant", "fp32", "--json")
    told.assert_done()
    assert "CPU" in json.loads(told.out)["device"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"variants": {}}, "the variants are []"),
        ({"classes": []}, "the classes are missing or repeated"),
        ({"classes": ["a", "a"]}, "the classes are missing or repeated"),
        ({"classes": ["a", "b", "c"]}, "expected [?,64,64,3] to [?,3]"),
    ],
)
def test_a_manifest_that_can_not_be_true_is_a_sentence(overfly, tiny_bundle, tiny_data, seal, tmp_path, change, words):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    seal(bundle / "manifest.json", manifest | change)
    image = next((tiny_data / "forest").iterdir())
    overfly("predict", bundle, image, "--device", "CPU").assert_failed(words)
    assert overfly("check", bundle, "--device", "CPU").code == 1
