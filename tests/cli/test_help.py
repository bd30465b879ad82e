"""The command line itself: help, versions, wrong usage, and what it must not import or show."""

import importlib.metadata
import re

import pytest

from overfly.cli import COMMANDS, run
from overfly.runtime.errors import BundleError

# Runs the command line and tells on the last line of standard error which heavy packages came in.
TELL_IMPORTS = """
import sys
from overfly.cli import run
code = run(sys.argv[1:])
print(sorted({"torch", "openvino", "numpy", "rich", "PIL", "nncf", "onnx", "matplotlib"} & set(sys.modules)),
      file=sys.stderr)
sys.exit(code)
"""


def test_the_main_help_lists_every_command(overfly):
    result = overfly("--help")
    result.assert_done()
    for command in COMMANDS:
        assert re.search(rf"^  {command} +[A-Z]", result.out, re.MULTILINE), command
    assert overfly("-h") == result


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_all_its_options_explained(overfly, command):
    result = overfly(command, "--help")
    result.assert_done()
    assert result.out.startswith(f"Usage: overfly {command} [OPTIONS]")
    assert "--debug" in result.out
    assert "-h, --help" in result.out


@pytest.mark.parametrize(
    "arguments",
    [("--help",), ("--version",), ("train", "--help-recipe", "default"), *((c, "--help") for c in COMMANDS)],
)
def test_help_imports_nothing_heavy(python, arguments):
    result = python(TELL_IMPORTS, *arguments)
    assert result.code == 0
    assert result.err.splitlines() == ["[]"]


def test_the_version_is_the_installed_one(overfly):
    result = overfly("--version")
    result.assert_done()
    assert result.out == f"overfly {importlib.metadata.version('overfly')}\n"


def test_no_command_shows_the_help_as_wrong_usage(overfly):
    result = overfly()
    assert result.code == 2
    assert "Usage: overfly [OPTIONS] COMMAND" in result.err
    assert result.out == ""


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("fly",), "'fly'"),
        (("--loud",), "--loud"),
        (("train",), "DATA"),
        (("train", "data"), "--out"),
        (("train", "data", "--out", "run", "--epochs", "0"), "--epochs"),
        (("train", "data", "--out", "run", "--epochs", "few"), "--epochs"),
        (("train", "data", "--out", "run", "--batch-size", "1"), "--batch-size"),
        (("train", "data", "--out", "run", "--image-size", "31"), "--image-size"),
        (("train", "data", "--out", "run", "--learning-rate", "0"), "--learning-rate"),
        (("train", "data", "--out", "run", "--test-fraction", "1"), "--test-fraction"),
        (("train", "data", "--out", "run", "--test-fraction", "0"), "--test-fraction"),
        (("train", "data", "--out", "run", "--val-fraction", "-0.1"), "--val-fraction"),
        (("train", "data", "--out", "run", "--seed", "-1"), "--seed"),
        (("train", "data", "--out", "run", "--model", "lenet"), "--model"),
        (("train", "data", "--out", "run", "--recipe", "best"), "--recipe"),
        (("train", "data", "--out", "run", "--set", "optimizer=sgd"), "optimizer"),
        (("train", "data", "--out", "run", "--precision", "fp16"), "--precision"),
        (("train", "data", "--out", "run", "--set", "jitter=nan"), "jitter"),
        (("train", "data", "--out", "run", "--learning-rate", "inf"), "--learning-rate"),
        (("train", "--help-recipe", "best"), "--help-recipe"),
        (("train", "data", "--out", "run", "--device", "tpu"), "--device"),
        (("export", "run"), "--out"),
        (("export", "run", "--out", "bundle", "--variant", "int4"), "int4"),
        (("export", "run", "--out", "bundle", "--calibration-images", "0"), "--calibration-images"),
        (("export", "run", "--out", "bundle", "--variant", "fp16", "--max-drop", "1"), "--max-drop"),
        (("export", "run", "--out", ".", "--zip"), "--out"),
        (("export", "run", "--out", "..", "--zip"), "--out"),
        (("bench", "bundle", "--out", "report"), "--data"),
        (("bench", "bundle", "--data", "data"), "--out"),
        (("bench", "bundle", "--data", "data", "--out", "report", "--max-drop", "-1"), "--max-drop"),
        (("bench", "bundle", "--data", "data", "--out", "report", "--images", "0"), "--images"),
        (("compare",), "REPORT"),
        (("check",), "BUNDLE"),
        (("check", "bundle", "--variant", "int4"), "int4"),
        (("check", "bundle", "--execution-precision", "f8"), "f8"),
        (("predict", "bundle"), "PATH"),
        (("predict", "bundle", "a.png", "--variant", "int4"), "int4"),
        (("predict", "bundle", "a.png", "--top-k", "0"), "--top-k"),
        (("predict", "bundle", "a.png", "--format", "xml"), "--format"),
        (("devices", "CPU"), "CPU"),
        (("sample",), "OUT"),
        (("sample", "out", "--images-per-class", "1"), "--images-per-class"),
        (("demo", "out", "--epochs", "0"), "--epochs"),
        (("paper", "data", "--out", "tables", "--weights", "vgg16"), "MODEL=FILE"),
        (("paper", "data", "--out", "tables", "--weights", "vgg16="), "MODEL=FILE"),
    ],
    ids=" ".join,
)
def test_wrong_usage_is_exit_code_2_and_names_the_option(overfly, tmp_path, monkeypatch, arguments, named):
    monkeypatch.chdir(tmp_path)
    overfly(*arguments).assert_misused(named)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "option", ["--learning-rate", "--test-fraction", "--val-fraction"], ids=lambda option: option.strip("-")
)
def test_not_a_number_is_refused_like_any_wrong_number(overfly, small_data, tmp_path, briefly, option):
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly, option, "nan")
    assert result.code in {1, 2}
    assert option.strip("-").replace("-", "_") in result.err.replace("-", "_")
    assert not (tmp_path / "run").exists()


def test_run_returns_the_exit_code_of_a_command_that_found_something_wrong(tiny_bundle, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"")
    assert run(["predict", str(tiny_bundle), str(tmp_path / "bad.png"), "--device", "CPU"]) == 1
    assert "bad.png" in capsys.readouterr().out


def test_debug_raises_the_error_itself(tmp_path):
    with pytest.raises(BundleError, match="is not a bundle"):
        run(["check", str(tmp_path / "nothing"), "--debug"])


def test_debug_shows_the_traceback_and_without_it_there_is_none(start, tmp_path):
    plain = start("check", tmp_path / "nothing")
    _, err = plain.communicate()
    assert plain.returncode == 1
    assert err == (
        f"overfly: {tmp_path / 'nothing'} is not a bundle: found nothing, "
        "expected the folder or .zip written by overfly export\n"
    )
    debugged = start("check", tmp_path / "nothing", "--debug")
    _, err = debugged.communicate()
    assert debugged.returncode == 1
    assert err.startswith("Traceback (most recent call last):")
    assert "BundleError: " in err.splitlines()[-1]
