"""The tree of errors is the one that the module's docstring draws, and no error is defined outside of it."""

import builtins
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

from overfly.runtime import errors

# Each line of the drawing: its indentation, the class, and the second base class in brackets.
DRAWN = re.findall(r"^([│ ├└─]*)(\w+Error)(?: \((\w+)\))?(?:  |$)", errors.__doc__, re.MULTILINE)
ROOMS = ("cli", "benchmarks", "export", "training", "runtime")


def _drawn_bases():
    """Yield each class of the drawing with the names of its base classes."""
    above = []
    for indentation, name, second in DRAWN:
        depth = len(indentation) // 4
        above[depth:] = [name]
        yield name, [above[depth - 1] if depth else "Exception", *([second] if second else [])]


def _modules():
    """Yield every module of the package."""
    for room in ROOMS:
        package = importlib.import_module(f"overfly.{room}")
        yield package
        for module in pkgutil.walk_packages([str(Path(package.__file__).parent)], f"overfly.{room}."):
            if not module.name.endswith("__main__"):
                yield importlib.import_module(module.name)


def test_the_drawing_shows_every_class_and_no_other():
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert {name for _, name, _ in DRAWN} == defined
    assert len(DRAWN) == 16


@pytest.mark.parametrize(("name", "bases"), list(_drawn_bases()))
def test_a_class_has_the_base_classes_that_are_drawn(name, bases):
    expected = [getattr(errors, base, None) or getattr(builtins, base) for base in bases]
    assert list(getattr(errors, name).__bases__) == expected


def test_no_error_of_ours_is_defined_elsewhere():
    found = {
        f"{value.__module__}.{name}"
        for module in _modules()
        for name, value in vars(module).items()
        if inspect.isclass(value) and issubclass(value, errors.OverflyError) and value.__module__ != errors.__name__
    }
    assert found == set()
