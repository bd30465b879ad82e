"""A package that is not installed: one sentence with the exact pip command, before any work."""

import json
import shutil

import pytest

from overfly.cli import run
from overfly.runtime.extras import extra_packages

# What each command needs of the extras, and its arguments; the folders that they name need not exist.
NEEDS = {
    "chips": (("geo",), ("a.tif", "--grid", "--scene-m", "60", "--out", "out")),
    "train": (("train",), ("data", "--out", "out")),
    "export": (("train", "export"), ("run", "--out", "out")),
    "bench": (("bench",), ("bundle", "--data", "data", "--out", "out")),
    "worker": (("geo", "cluster"), ("127.0.0.1:9", "--root", ".")),
    "assess": (("geo",), ("map", "--sample", "10", "--out", "out")),
    "demo": (("all",), ("out",)),
    "paper": (("train",), ("data", "--out", "out")),
}
CASES = {
    (command, extra, package): (command, *arguments)
    for command, (extras, arguments) in NEEDS.items()
    for extra in extras
    for package in extra_packages(extra)
    # The demo draws its own images, which need no package of geo, and does all by itself.
    if command != "demo" or package not in {*extra_packages("geo"), *extra_packages("cluster")}
}
EVERYTHING = [*extra_packages("all"), "sklearn", "scipy"]

# Runs command lines, each as if some packages were not installed; prints the exit code and the output of each as JSON.
# Its argument is a JSON list of pairs: the packages to hide, and the command line's arguments.
WITHOUT = """
import contextlib, io, json, sys
hidden = set()

class Hiding:
    def __init__(self, finder):
        self._finder = finder

    def __getattr__(self, name):
        return getattr(self._finder, name)

    def find_spec(self, fullname, path=None, target=None):
        return None if fullname.partition(".")[0] in hidden else self._finder.find_spec(fullname, path, target)

sys.meta_path[:] = [Hiding(finder) for finder in sys.meta_path]
from overfly.cli import run

outcomes = []
for packages, arguments in json.loads(sys.argv[1]):
    hidden = set(packages)
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = run(arguments)
        except SystemExit as stop:
            code = stop.code
    outcomes.append((code, out.getvalue(), err.getvalue()))
print(json.dumps(outcomes))
"""


@pytest.fixture(scope="module")
def run_without(python):
    """A function that runs command lines in one process, each without some packages, and returns their outcomes."""

    def call(cases):
        result = python(WITHOUT, json.dumps([(packages, [str(a) for a in line]) for packages, line in cases]))
        result.assert_done()
        return [type(result)(*outcome) for outcome in json.loads(result.out)]

    return call


@pytest.fixture(scope="module")
def outcomes(run_without, tmp_path_factory):
    """What became of each case, and the folder that all of them were to write into."""
    folder = tmp_path_factory.mktemp("outputs")
    lines = [[folder / part if part == "out" else part for part in line] for line in CASES.values()]
    results = run_without([([package], line) for (_, _, package), line in zip(CASES, lines, strict=True)])
    return dict(zip(CASES, results, strict=True)), folder


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_command_names_the_package_it_lacks_and_the_pip_command(outcomes, case):
    results, _ = outcomes
    _, extra, package = case
    # Of a package that two extras of the command bring, the one that is checked first is named.
    extras = [e for command, e, p in CASES if (command, p) == (case[0], package)]
    results[case].assert_failed(repr(package), f'"overfly[{extras[0]}]"')
    assert extra in extras


def test_nothing_was_written_before_a_package_was_missed(outcomes):
    _, folder = outcomes
    assert list(folder.iterdir()) == []


# What an option of the bench needs; the paths need not exist, because this is checked first.
NEEDS_OF_BENCH = {
    ("--run", "run"): ("train", ("torch", "torchvision", "safetensors")),
    ("--alternatives",): ("export", ("onnx",)),
}


def test_an_option_of_the_bench_names_the_package_it_lacks_before_the_data_are_read(run_without, tmp_path):
    bench = ("bench", "bundle", "--data", "data", "--out", tmp_path / "report")
    cases = [
        (package, (*bench, *option), extra)
        for option, (extra, packages) in NEEDS_OF_BENCH.items()
        for package in packages
    ]
    results = run_without([([package], line) for package, line, _ in cases])
    for (package, _, extra), result in zip(cases, results, strict=True):
        result.assert_failed(repr(package), f'"overfly[{extra}]"')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_export_names_the_package_that_reads_the_footprints_of_chips(run_without, tiny_run, tiny_data, tmp_path):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    (data / "chips.gpkg").write_bytes(b"")
    line = ("export", tiny_run, "--data", data, "--stac", "--out", tmp_path / "bundle")
    (result,) = run_without([(["pyogrio"], line)])
    result.assert_failed("'pyogrio'", '"overfly[geo]"')
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_a_bench_needs_no_package_that_it_does_not_use(run_without, fp32_bundle, tiny_data, tiny_run, tmp_path):
    arguments = ("bench", fp32_bundle[0], "--data", tiny_data, "--out", tmp_path / "report", "--quick", "--json")
    unused = {*extra_packages("all")} - {"torch", "torchvision", "safetensors", "jinja2", "onnxruntime"}
    (result,) = run_without([(sorted(unused), (*arguments, "--run", tiny_run))])
    assert result.code == 0, result.err
    assert [row["status"] for row in json.loads(result.out)["rows"]] == ["ok", "ok", "ok"]


def test_an_edge_box_needs_none_of_them(run_without, tiny_bundle, tiny_data, tmp_path):
    image = next(tiny_data.rglob("*.jpg"))
    lines = [
        ("devices",),
        ("check", tiny_bundle, "--device", "CPU"),
        ("predict", tiny_bundle, image, "--device", "CPU"),
        ("sample", tmp_path / "sample", "--images-per-class", 2),
        ("train", "--help"),
    ]
    for line, result in zip(lines, run_without([(EVERYTHING, line) for line in lines]), strict=True):
        assert result.code == 0, (line, result.err)
        assert result.out


@pytest.mark.parametrize(("has_cpp_runtime", "remedy"), [(False, "msvc-runtime"), (True, "install the package again")])
def test_a_missing_dll_is_one_sentence(monkeypatch, capsys, has_cpp_runtime, remedy):
    def fail(name):
        raise ImportError(f"DLL load failed while importing {name}: The specified module could not be found.")

    monkeypatch.setattr("overfly.runtime.cpp_runtime._is_loadable", lambda _: has_cpp_runtime)
    monkeypatch.setattr("overfly.cli.importlib.import_module", fail)
    assert run(["devices"]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    assert written.err.startswith("overfly: ")
    assert remedy in written.err
    with pytest.raises(ImportError, match="devices"):
        run(["devices", "--debug"])
