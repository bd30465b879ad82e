"""What the repository promises of itself: lint, types, the wheel's content, the floors."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("cli", "benchmarks", "export", "training", "runtime")
SOURCES = [path for floor in FLOORS for path in sorted((ROOT / floor).glob("*.py"))]


def _run(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def test_ruff_finds_nothing():
    result = _run("-m", "ruff", "check", "--no-cache", ".")
    assert result.returncode == 0, result.stdout
    result = _run("-m", "ruff", "format", "--no-cache", "--check", ".")
    assert result.returncode == 0, result.stdout


@pytest.mark.wheel
def test_mypy_strict_finds_nothing_in_the_installed_package(tmp_path):
    # From elsewhere, so that it is the installed package that is read.
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path / "cache")]
    packages = [part for floor in FLOORS for part in ("-p", f"overfly.{floor}")]
    result = _run("-m", "mypy", *options, *packages, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert result.stdout.startswith("Success: no issues found in "), result.stdout


@pytest.mark.wheel
def test_the_wheel_holds_only_overfly():
    files = [str(file) for file in importlib.metadata.files("overfly")]
    outside = {file.split("/")[0] for file in files} - {"overfly"}
    assert all(name.endswith(".dist-info") or name in {"..", "../.."} for name in outside), outside
    modules = {file for file in files if file.endswith(".py") and file.startswith("overfly/")}
    assert modules == {f"overfly/{path.relative_to(ROOT).as_posix()}" for path in SOURCES}
    assert {f"overfly/{floor}/py.typed" for floor in FLOORS} <= set(files)
    assert "overfly/benchmarks/report.html.j2" in files


@pytest.mark.wheel
def test_the_tests_run_against_the_installed_wheel():
    import overfly.runtime

    assert Path(overfly.runtime.__file__).parent != ROOT / "runtime"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_imports_point_down_and_carry_the_full_name(path):
    order = FLOORS.index(path.parent.name)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names = [node.module or ""]
        for name in names:
            parts = name.split(".")
            assert parts[0] not in FLOORS, f"bare import of {name} in line {node.lineno}"
            if parts[0] == "overfly":
                assert FLOORS.index(parts[1]) >= order, f"{name} points up in line {node.lineno}"
            if path.parent.name == "runtime":
                assert parts[0] not in {"torch", "torchvision"}, f"runtime imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_functions_and_modules_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 420
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            docstring = len((ast.get_docstring(node) or "").splitlines())
            assert node.end_lineno - node.lineno - docstring <= 60, f"{node.name} in line {node.lineno} is too long"


def test_the_runtime_and_every_help_import_no_torch():
    code = (
        "import sys, importlib, pkgutil, overfly.runtime as r\n"
        "for m in pkgutil.iter_modules(r.__path__): importlib.import_module('overfly.runtime.' + m.name)\n"
        "from overfly.cli import COMMANDS, run\n"
        "for c in COMMANDS: run([c, '--help'])\n"
        "heavy = {'torch', 'nncf', 'onnx', 'matplotlib', 'openvino_telemetry.main'} & set(sys.modules)\n"
        "floors = {'training', 'export', 'runtime', 'benchmarks', 'cli'} & set(sys.modules)\n"
        "print(sorted(heavy), sorted(floors), file=sys.stderr)\n"
    )
    result = _run("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip().splitlines()[-1] == "[] []"
