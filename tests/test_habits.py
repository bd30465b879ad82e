"""What the repository promises of itself: lint, types, the wheel's content, the direction of its imports."""

import ast
import configparser
import functools
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# From the top floor to the ground floor.
ROOMS = ("cli", "benchmarks", "export", "training", "runtime")
SOURCES = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
PACKAGES = [path.parent for path in SOURCES if path.name == "__init__.py"]

# What a folder must not import, directly or through anything of ours.
TORCH_FREE = ("runtime", "training/data")
TORCH = frozenset({"torch", "torchvision"})

each_module = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())


def _run(*arguments, cwd=ROOT):
    return subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, check=False)


def _module_name(path):
    """Return the dotted name under which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(("overfly", *(parts[:-1] if parts[-1] == "__init__" else parts)))


MODULES = {_module_name(path): path for path in SOURCES}


@functools.cache
def _imports(path):
    """Return (line, dotted name) of every import in a file, those inside of functions included.

    ``from package import name`` counts as ``package.name`` where that is a module of ours, else as ``package``.
    An import for the type checker alone never runs, so it does not count.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = []
    for node in ast.walk(tree):
        if node in for_types:
            continue
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append((node.lineno, full if full in MODULES else node.module))
    return found


def _imports_of_lazy_names(path):
    """Return the lines that import from a room itself: its public names, which are loaded when they are used."""
    rooms = {f"overfly.{room}" for room in ROOMS[1:]}
    return [line for line, name in _imports(path) if name in rooms]


def _edges(names):
    """Return, for each name in `names` (module to its unit), the units that the unit imports."""
    edges = {unit: set() for unit in names.values()}
    for module, unit in names.items():
        edges[unit] |= {names[name] for _, name in _imports(MODULES[module]) if name in names} - {unit}
    return edges


def _circle(edges):
    """Return a circle in a graph (node to the nodes that it points to) as a list of nodes; empty if there is none."""
    finished, trail = set(), []

    def visit(node):
        if node in trail:
            return [*trail[trail.index(node) :], node]
        if node in finished:
            return []
        trail.append(node)
        found = next((circle for after in sorted(edges[node]) if (circle := visit(after))), [])
        trail.pop()
        finished.add(node)
        return found

    return next((circle for node in sorted(edges) if (circle := visit(node))), [])


def _reachable(module):
    """Return every module of ours that importing `module` may load sooner or later, itself included."""
    seen, waiting = set(), [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += [found for _, found in _imports(MODULES[name]) if found in MODULES]
    return seen


def test_ruff_finds_nothing():
    result = _run("-m", "ruff", "check", "--no-cache", ".")
    assert result.returncode == 0, result.stdout
    result = _run("-m", "ruff", "format", "--no-cache", "--check", ".")
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
@pytest.mark.wheel
def test_mypy_strict_finds_nothing_in_the_installed_package(tmp_path):
    # From elsewhere, so that it is the installed package that is read. A second run checks only what has changed.
    cache = ROOT / ".pytest_cache" / "mypy"
    options = ["--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(cache)]
    packages = [part for room in ROOMS for part in ("-p", f"overfly.{room}")]
    result = _run("-m", "mypy", *options, *packages, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    assert result.stdout.startswith(f"Success: no issues found in {len(SOURCES)} source files"), result.stdout


@pytest.mark.wheel
def test_the_wheel_holds_all_of_overfly_and_nothing_else():
    files = [str(file) for file in importlib.metadata.files("overfly")]
    outside = {file.split("/")[0] for file in files} - {"overfly"}
    assert all(name.endswith(".dist-info") or name in {"..", "../.."} for name in outside), outside
    inside = {file for file in files if file.startswith("overfly/") and not file.endswith(".pyc")}
    modules = {path.relative_to(ROOT).as_posix() for path in SOURCES}
    typed = {f"{package.relative_to(ROOT).as_posix()}/py.typed" for package in PACKAGES}
    data = {f"benchmarks/rendering/report.{kind}.j2" for kind in ("html", "md")}
    assert inside == {f"overfly/{name}" for name in modules | typed | data}


@pytest.mark.wheel
def test_the_tests_run_against_the_installed_wheel():
    import overfly.runtime

    assert Path(overfly.runtime.__file__).parent != ROOT / "runtime"


def test_every_folder_with_a_module_is_a_package_that_setup_cfg_lists():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    assert {path.parent for path in SOURCES} == set(PACKAGES)
    assert config["options"]["packages"].split() == sorted(
        (_module_name(package / "__init__.py") for package in PACKAGES),
        key=lambda name: (ROOMS.index(name.split(".")[1]), name),
    )


@each_module
def test_imports_carry_the_full_name_and_point_down(path):
    floor = ROOMS.index(path.relative_to(ROOT).parts[0])
    for line, name in _imports(path):
        parts = name.split(".")
        assert parts[0] not in ROOMS, f"bare import of {name} in line {line}"
        if parts[0] == "overfly":
            assert ROOMS.index(parts[1]) >= floor, f"{name} points up in line {line}"


@each_module
def test_no_module_imports_through_the_lazy_names_of_a_room(path):
    # Behind them the other guards would not see what is imported.
    assert not _imports_of_lazy_names(path)


def test_no_circle_of_imports_between_modules():
    assert _circle(_edges({name: name for name in MODULES})) == []


@pytest.mark.parametrize("room", ROOMS)
def test_no_circle_of_imports_between_the_sub_packages_of_a_room(room):
    units = {name: name.split(".")[2] for name in MODULES if name.startswith(f"overfly.{room}.")}
    assert _circle(_edges(units)) == []


@pytest.mark.parametrize("folder", TORCH_FREE)
def test_a_folder_that_is_free_of_torch_reaches_none(folder):
    inside = [name for name, path in MODULES.items() if path.is_relative_to(ROOT / folder)]
    assert inside
    for start in inside:
        for module in _reachable(start):
            roots = {name.partition(".")[0] for _, name in _imports(MODULES[module])}
            assert roots.isdisjoint(TORCH), f"{start} reaches {module}, which imports torch"


@each_module
def test_functions_and_modules_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 420
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = len((ast.get_docstring(node) or "").splitlines())
            assert node.end_lineno - node.lineno - docstring <= 60, f"{node.name} in line {node.lineno} is too long"


def test_the_runtime_and_every_help_import_no_torch():
    code = (
        "import sys, importlib, pkgutil, overfly.runtime as r\n"
        "for m in pkgutil.walk_packages(r.__path__, 'overfly.runtime.'): importlib.import_module(m.name)\n"
        "from overfly.cli import COMMANDS, run\n"
        "for c in COMMANDS: run([c, '--help'])\n"
        "heavy = {'torch', 'nncf', 'onnx', 'matplotlib', 'openvino_telemetry.main'} & set(sys.modules)\n"
        "rooms = {'training', 'export', 'runtime', 'benchmarks', 'cli'} & set(sys.modules)\n"
        "print(sorted(heavy), sorted(rooms), file=sys.stderr)\n"
    )
    result = _run("-c", code)
    assert result.returncode == 0, result.stderr
    assert result.stderr.strip().splitlines()[-1] == "[] []"


class TestTheGuards:
    """The guards find what they are there to find."""

    def test_a_circle_is_found(self):
        assert _circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c", "b"]
        assert _circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []

    def test_imports_inside_of_functions_count_and_those_for_types_do_not(self, tmp_path):
        path = tmp_path / "module.py"
        path.write_text(
            "from typing import TYPE_CHECKING\n"
            "if TYPE_CHECKING:\n    from overfly.training.job import Job\n"
            "def work():\n    import overfly.runtime.errors\n    from overfly.runtime import versions\n"
        )
        names = [name for _, name in _imports(path)]
        assert names == ["typing", "overfly.runtime.errors", "overfly.runtime.versions"]

    def test_an_import_of_a_lazy_name_is_found(self, tmp_path):
        path = tmp_path / "module.py"
        path.write_text("import overfly.runtime.errors\ndef work():\n    from overfly.training import train\n")
        assert _imports_of_lazy_names(path) == [3]

    def test_sub_packages_are_looked_into(self):
        assert {"benchmarks/results", "runtime/inference", "training/data"} <= {
            package.relative_to(ROOT).as_posix() for package in PACKAGES
        }
