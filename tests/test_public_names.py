"""The front door: the names that a program may import, each from its package, without loading what it does not use."""

import importlib
import pkgutil
import subprocess
import sys

import pytest

PUBLIC = {
    "overfly.runtime": ["Bundle", "Classifier", "MapJob", "make_maps"],
    "overfly.training": ["ChipsJob", "Recipe", "TrainJob", "cut_chips", "train"],
    "overfly.export": ["ExportJob", "export"],
    "overfly.benchmarks": ["BenchJob", "bench", "read_report"],
}

USER_CODE = """
from pathlib import Path

from overfly.benchmarks import BenchJob, bench, read_report
from overfly.export import ExportJob, export
from overfly.runtime import Bundle, Classifier
from overfly.training import Recipe, TrainJob, train

run = train(TrainJob(data=Path("scenes"), out=Path("run"), recipe=Recipe(epochs=1)))
bundle: Bundle = export(ExportJob(run=run.path, out=Path("bundle")))
report = bench(BenchJob(bundles=(bundle.path,), data=Path("scenes"), out=Path("report")))
reveal_type(report.validity.valid)
reveal_type(read_report(Path("report")).rows[0].name)
with Classifier.from_bundle("bundle") as classifier:
    reveal_type(classifier.predict(["a.jpg"])[0].label)
"""


@pytest.mark.parametrize("package", PUBLIC)
def test_the_public_names_of_a_package(package):
    module = importlib.import_module(package)
    assert sorted(module.__all__) == PUBLIC[package] == dir(module)
    for name in PUBLIC[package]:
        assert getattr(module, name).__name__ == name
        assert (getattr(module, name).__doc__ or "").strip()
    with pytest.raises(AttributeError, match=r"overfly.*no_such_name"):
        module.no_such_name  # noqa: B018 - its absence is the point


@pytest.mark.parametrize("package", PUBLIC)
def test_no_module_has_the_name_of_a_public_one(package):
    modules = {module.name for module in pkgutil.iter_modules(importlib.import_module(package).__path__)}
    assert modules.isdisjoint(PUBLIC[package])


def test_importing_the_packages_loads_nothing_heavy():
    code = f"import sys, {', '.join(PUBLIC)}\nprint(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "openvino", "numpy", "PIL", "nncf", "onnx"}.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("package", "job", "needed"),
    [
        ("overfly.runtime", "MapJob", ("bundle", "rasters", "out")),
        ("overfly.training", "TrainJob", ("data", "out", "recipe")),
        ("overfly.export", "ExportJob", ("run", "out")),
        ("overfly.benchmarks", "BenchJob", ("bundles", "data", "out")),
    ],
)
def test_a_job_takes_its_values_by_name_only(package, job, needed, tmp_path):
    cls = getattr(importlib.import_module(package), job)
    values = dict.fromkeys(needed, tmp_path)
    assert getattr(cls(**values), needed[0]) == tmp_path
    with pytest.raises(TypeError, match="positional"):
        cls(*values.values())


@pytest.mark.slow
def test_a_users_program_is_type_checked(tmp_path):
    (tmp_path / "program.py").write_text(USER_CODE, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "program.py"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert result.returncode == 0, result.stdout
    revealed = [line.rpartition("type is ")[2].strip('"') for line in result.stdout.splitlines() if "note:" in line]
    assert revealed == ["bool", "str", "str"], result.stdout


@pytest.mark.parametrize(
    ("package", "name", "missing"),
    [
        ("overfly.training", "train", "torch"),
        ("overfly.training", "cut_chips", "rasterio"),
        ("overfly.export", "export", "nncf"),
        ("overfly.export", "export", "torch"),
    ],
)
def test_a_missing_package_is_one_sentence(package, name, missing):
    code = (
        f"import sys; sys.modules[{missing!r}] = None\n"
        "import importlib.util as util\n"
        "import overfly.runtime.extras as extras\n"
        f"extras.find_spec = lambda found: None if found == {missing!r} else util.find_spec(found)\n"
        "from overfly.runtime.errors import MissingExtraError\n"
        f"import {package} as package\n"
        f"try:\n    package.{name}\nexcept MissingExtraError as error:\n    print(error)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert repr(missing) in result.stdout


def test_a_recipe_needs_no_pytorch():
    code = (
        "import sys; sys.modules['torch'] = None\nfrom overfly.training import Recipe\nprint(Recipe(epochs=3).epochs)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "3"
