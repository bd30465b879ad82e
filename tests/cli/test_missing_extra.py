"""An extra that is not installed: one sentence with the exact pip command, before any work, and no command vanishes."""

import importlib.metadata
import json
import re

import pytest

# Runs the command line as if the packages named first, separated by commas, were not installed.
WITHOUT = """
import sys
names, *arguments = sys.argv[1:]

class Hiding:
    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, fullname, path=None, target=None):
        hidden = fullname.partition(".")[0] in names.split(",")
        return None if hidden else self._finder.find_spec(fullname, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
from overfly.cli import run
sys.exit(run(arguments))
"""

TRAIN = "torch,torchvision,safetensors,matplotlib,psutil"
EXPORT = "onnx,onnxscript,nncf"
BENCH = "jinja2,onnxruntime"


@pytest.fixture
def without(python, content, tmp_path):
    """A function that runs a command without some packages and holds that it names one and its extra."""

    def call(packages, *arguments, extra):
        before = content(tmp_path)
        result = python(WITHOUT, packages, *arguments)
        result.assert_failed("is not installed", f'run  python -m pip install "overfly[{extra}]"')
        assert any(f"{name!r}" in result.sentence for name in packages.split(",")), result.sentence
        assert content(tmp_path) == before

    return call


@pytest.mark.parametrize("package", TRAIN.split(","))
def test_train_asks_for_train(without, small_data, tmp_path, briefly, package):
    without(package, "train", small_data, "--out", tmp_path / "run", *briefly, extra="train")


@pytest.mark.parametrize(
    ("package", "extra"),
    [("torch", "train"), ("torchvision", "train"), *((name, "export") for name in EXPORT.split(","))],
)
def test_export_asks_for_train_and_export(without, tiny_run, tmp_path, package, extra):
    without(package, "export", tiny_run, "--out", tmp_path / "bundle", extra=extra)


def test_export_names_the_extra_that_brings_onnx_runtime(without, tiny_run, tmp_path):
    brought_by = [
        re.findall(r"extra == ['\"](\w+)['\"]", requirement)[0]
        for requirement in importlib.metadata.requires("overfly")
        if requirement.startswith("onnxruntime")
    ]
    extra = "export" if "export" in brought_by else brought_by[0]
    without("onnxruntime", "export", tiny_run, "--out", tmp_path / "bundle", "--variant", "fp32", extra=extra)


def test_bench_asks_for_bench(without, tiny_bundle, tiny_data, tmp_path):
    without("jinja2", "bench", tiny_bundle, "--data", tiny_data, "--out", tmp_path / "report", extra="bench")


@pytest.mark.slow
def test_a_baseline_without_torch_is_a_row_that_failed(python, fp32_bundle, tiny_data, tiny_run, tmp_path):
    arguments = ("bench", fp32_bundle[0], "--data", tiny_data, "--out", tmp_path / "report", "--quick", "--json")
    result = python(WITHOUT, TRAIN, *arguments, "--run", tiny_run)
    assert result.code == 0, result.err
    reason = "this needs the package 'torch', which is not installed: run  python -m pip install \"overfly[train]\""
    assert result.err == f"PyTorch fp32 failed: {reason}\n"
    assert [row["status"] for row in json.loads(result.out)["rows"]] == [reason, "ok", "ok"]


@pytest.mark.slow
@pytest.mark.parametrize("package", ["torch", "nncf", "onnxruntime", "jinja2"])
def test_demo_asks_for_all(without, tmp_path, package):
    without(package, "demo", tmp_path / "demo", extra="all")


def test_paper_asks_for_train(without, small_data, tmp_path):
    without("torch", "paper", small_data, "--out", tmp_path / "tables", extra="train")


def test_an_edge_box_needs_none_of_them(python, tiny_bundle, tiny_data, tmp_path):
    picture = next(tiny_data.rglob("*.jpg"))
    everything = f"{TRAIN},{EXPORT},{BENCH},sklearn,scipy"
    for arguments in (
        ("devices",),
        ("check", tiny_bundle, "--device", "CPU"),
        ("predict", tiny_bundle, picture, "--device", "CPU"),
        ("sample", tmp_path / "sample", "--images-per-class", 2),
        ("train", "--help"),
    ):
        result = python(WITHOUT, everything, *arguments)
        assert result.code == 0, (arguments, result.err)
        assert result.out
