"""The command line itself: help, versions, wrong usage, and what it must not import or show."""

import functools
import hashlib
import http.server
import importlib.metadata
import logging
import re
import shlex
import shutil
import threading
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click import Context, Option

from overfly.cli import COMMANDS, cli, run
from overfly.runtime.errors import BundleError
from overfly.training.data.archives import ARCHIVES

GOLDEN_REPORT = Path(__file__).parent.parent / "benchmarks" / "golden" / "report.json"

# What a test adds to an example, so that it takes seconds and needs no network.
CHEAPER = {
    "demo": ("--epochs", "1"),
    "train": ("--weights", "none", "--epochs", "1", "--image-size", "32", "--model", "shufflenet_v2_x1_0"),
    "bench": ("--quick",),
    "paper": ("--epochs", "1", "--image-size", "64"),
    "sample": ("--images-per-class", "2"),
}

# Examples that take more than five seconds even so. tests/cli/test_demo.py has that of demo.
MARKS = {"bench": pytest.mark.slow, "export": pytest.mark.slow, "paper": pytest.mark.slow, "demo": pytest.mark.full}

# Those that need another process; their own tests run the examples.
WAITS = {"worker"}

# Runs command lines one after the other, and writes to standard error which heavy packages each has imported.
TELL_IMPORTS = """
import sys
from overfly.cli import run
for line in sys.argv[1:]:
    code = run(line.split())
    heavy = {"torch", "openvino", "numpy", "rich", "PIL", "nncf", "onnx", "matplotlib"} & set(sys.modules)
    print(line, code, sorted(heavy), file=sys.stderr)
"""


def example_of(overfly, *command):
    """Return the command line that a help ends with, as words."""
    lines = overfly(*command, "--help").out.splitlines()
    assert lines[-2].strip() == "Example:"
    return shlex.split(lines[-1])


@pytest.fixture
def folders(tmp_path, tiny_data, tiny_run, write_class_map, request):
    """A function that lays out, in a new folder, what the words of an example name as input."""

    def lay_out(words):
        outputs = {words[words.index("--out") + 1]} if "--out" in words else set()
        for word in set(words) - outputs:
            if word == "scenes" and words[1] != "sample":
                shutil.copytree(tiny_data, tmp_path / word)
            elif word == "run":
                shutil.copytree(tiny_run, tmp_path / word)
            elif word == "bundle":
                shutil.copytree(request.getfixturevalue("tiny_bundle"), tmp_path / word)
            elif word == "map" and words[1] != "map":
                write_class_map(tmp_path / word, np.arange(400, dtype=np.uint8).reshape(20, 20) % 3)
            elif word == "raster.tif":
                request.getfixturevalue("raster_and_labels")
            elif word.endswith("-report"):
                (tmp_path / word).mkdir()
                shutil.copy(GOLDEN_REPORT, tmp_path / word)
        return tmp_path

    return lay_out


@pytest.fixture
def published(tmp_path_factory, monkeypatch):
    """A data set of one file, which a server on this machine publishes in place of UC Merced."""
    folder = tmp_path_factory.mktemp("published")
    with zipfile.ZipFile(folder / "set.zip", "w") as opened:
        opened.writestr("Set/Images/beach/a.tif", b"an image")
    content = (folder / "set.zip").read_bytes()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        url = f"http://127.0.0.1:{server.server_port}/set.zip"
        digest = hashlib.sha256(content).hexdigest()
        archive = replace(ARCHIVES["ucmerced"], url=url, sha256=digest, size_bytes=len(content), images="Set/Images")
        monkeypatch.setitem(ARCHIVES, "ucmerced", archive)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield
        server.shutdown()
        thread.join()


def test_the_main_help_lists_every_command_in_the_order_of_use(overfly):
    result = overfly("--help")
    result.assert_done()
    assert re.findall(r"^  ([a-z]+) +[A-Z].*\.$", result.out, re.MULTILINE) == list(COMMANDS)
    assert overfly("-h") == result
    assert example_of(overfly)[1] in COMMANDS


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    "command",
    [pytest.param(name, marks=MARKS.get(name, ())) for name in COMMANDS if name not in WAITS],
)
def test_the_example_of_every_help_runs(overfly, folders, monkeypatch, command):
    words = example_of(overfly, command)
    assert words[:2] == ["overfly", command]
    monkeypatch.chdir(folders(words))
    # No ImageNet weights can be downloaded.
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    overfly(*words[1:], *CHEAPER.get(command, ())).assert_done()


def test_verbose_shows_the_log_and_quiet_hides_all_but_the_result(overfly, fp32_bundle, tiny_data):
    predict = ("predict", fp32_bundle[0], tiny_data / "harbor", "--device", "CPU")
    usual, verbose, quiet = overfly(*predict), overfly(*predict, "-v"), overfly(*predict, "-q")
    assert "overfly.runtime.classifier: " in overfly("-v", *predict).err
    assert usual.out == verbose.out == quiet.out != ""
    assert "overfly." not in usual.err
    assert "overfly.runtime.classifier: " in verbose.err
    assert f"overfly {importlib.metadata.version('overfly')}, Python" in verbose.err.splitlines()[-1]
    assert quiet.err == ""


def test_quiet_does_not_hide_an_error(overfly, fp32_bundle, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"")
    result = overfly("predict", fp32_bundle[0], tmp_path / "bad.png", "--device", "CPU", "--quiet")
    assert result.code == 1
    assert str(tmp_path / "bad.png") in result.sentence


def test_the_command_line_leaves_the_applications_logging_alone(overfly, tmp_path):
    logger = logging.getLogger("overfly")
    before = (logger.handlers[:], logger.level)
    overfly("check", tmp_path / "nothing", "-q").assert_failed(tmp_path / "nothing")
    assert (logger.handlers, logger.level) == before


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_help_with_all_its_options_explained(overfly, command):
    result = overfly(command, "--help")
    result.assert_done()
    assert result.out.startswith(f"Usage: overfly {command} [OPTIONS]")
    for option in ("-v, --verbose", "-q, --quiet", "--debug", "-h, --help"):
        assert option in result.out
    options = [p for p in cli.get_command(Context(cli), command).params if isinstance(p, Option)]
    assert [option.name for option in options if not (option.hidden or option.help)] == []


def test_help_imports_nothing_heavy(python):
    lines = ["--help", "--version", "train --help-recipe default", *(f"{command} --help" for command in COMMANDS)]
    result = python(TELL_IMPORTS, *lines)
    assert result.err.splitlines() == [f"{line} 0 []" for line in lines]


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
        (("chips", "--grid", "--scene-m", "60", "--out", "out"), "RASTER"),
        (("chips", "a.tif", "--grid", "--out", "out"), "--scene-m"),
        (("chips", "a.tif", "--grid", "--scene-m", "0", "--out", "out"), "--scene-m"),
        (("chips", "a.tif", "--grid", "--scene-m", "60"), "--out"),
        (("chips", "a.tif", "--scene-m", "60", "--out", "out"), "--labels and --grid"),
        (("chips", "a.tif", "--grid", "--labels", "l", "--scene-m", "60", "--out", "out"), "--labels and --grid"),
        (("chips", "a.tif", "--labels", "l", "--gsd", "1", "--scene-m", "60", "--out", "out"), "--gsd"),
        (("chips", "a.tif", "--grid", "--scene-m", "60", "--out", "out", "--bands", "1,2"), "--bands"),
        (("chips", "a.tif", "--grid", "--scene-m", "60", "--out", "out", "--bands", "0,1,2"), "--bands"),
        (("chips", "a.tif", "--grid", "--scene-m", "60", "--out", "out", "--nodata", "black"), "--nodata"),
        (("chips", "a.tif", "--grid", "--scene-m", "60", "--out", "out", "--range", "9,1"), "--range"),
        (("chips", "a.tif", "--grid", "--scene-m", "60", "--out", "out", "--min-cover", "2"), "--min-cover"),
        (("predict", "bundle", "a.png", "--format", "xml"), "--format"),
        (("assess", "map"), "--sample"),
        (("assess", "map", "--sample", "0"), "--sample"),
        (("assess", "map", "--sample", "9", "--reference", "labels.csv"), "--reference"),
        (("assess", "map", "--reference", "labels.csv", "--out", "sample"), "--out"),
        (("assess", "map", "--reference", "labels.csv", "--overwrite"), "--overwrite"),
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
def test_not_a_number_is_rejected_like_any_wrong_number(overfly, small_data, tmp_path, briefly, option):
    result = overfly("train", small_data, "--out", tmp_path / "run", *briefly, option, "nan")
    assert result.code in {1, 2}
    assert option.strip("-").replace("-", "_") in result.err.replace("-", "_")
    assert not (tmp_path / "run").exists()


def test_run_returns_the_exit_code_of_a_command_that_found_something_wrong(tiny_bundle, tmp_path, capsys):
    (tmp_path / "bad.png").write_bytes(b"")
    assert run(["predict", str(tiny_bundle), str(tmp_path / "bad.png"), "--device", "CPU"]) == 1
    assert "bad.png" in capsys.readouterr().out


def test_debug_raises_the_error_itself(tmp_path):
    with pytest.raises(BundleError):
        run(["check", str(tmp_path / "nothing"), "--debug"])


def test_debug_shows_the_traceback_and_without_it_there_is_none(start, tmp_path):
    plain = start("check", tmp_path / "nothing")
    _, err = plain.communicate()
    assert plain.returncode == 1
    assert err.startswith(f"overfly: {tmp_path / 'nothing'} ")
    assert err.count("\n") == 1
    debugged = start("check", tmp_path / "nothing", "--debug")
    _, err = debugged.communicate()
    assert debugged.returncode == 1
    assert err.startswith("Traceback (most recent call last):")
    assert "BundleError: " in err.splitlines()[-1]
