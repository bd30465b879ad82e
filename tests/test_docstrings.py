"""The examples in the docstrings of the packages run as they stand, in a folder with the names that they use."""

import doctest
import importlib
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("cli", "benchmarks", "export", "training", "runtime")
EXAMPLES = sorted(
    ".".join(("overfly", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
    for room in ROOMS
    for path in (ROOT / room).rglob("*.py")
    if ">>> " in path.read_text(encoding="utf-8")
)
# Their examples train, export or measure.
SLOW = {"overfly.training.job", "overfly.export.exporter", "overfly.benchmarks.job"}


@pytest.fixture
def folder(tmp_path, monkeypatch, tiny_data, tiny_run, tiny_bundle):
    """The working folder of a user who has done the whole trip."""
    for name, source in (("scenes", tiny_data), ("run", tiny_run), ("bundle", tiny_bundle)):
        shutil.copytree(source, tmp_path / name)
    (tmp_path / "report").mkdir()
    shutil.copy(ROOT / "tests" / "benchmarks" / "golden" / "report.json", tmp_path / "report")
    shutil.copy(min((tiny_data / "harbor").iterdir()), tmp_path / "harbor.png")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in EXAMPLES]
)
def test_the_examples_of_a_module_run(name):
    result = doctest.testmod(importlib.import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0


def test_the_public_names_have_examples():
    assert set(EXAMPLES) >= {
        *SLOW,
        "overfly.runtime.classifier",
        "overfly.runtime.bundle.bundle",
        "overfly.training.recipe",
        "overfly.benchmarks.results.store",
    }
