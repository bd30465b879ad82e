"""The tree of errors is the one that the module's docstring draws, and no error is defined outside of it."""

import ast
import builtins
import inspect
import re
from pathlib import Path

import pytest

from overfly.runtime import errors

# Each line of the drawing: its indentation, the class, and the second base class in brackets.
DRAWN = re.findall(r"^([│ ├└─]*)(\w+Error)(?: \((\w+)\))?(?:  |$)", errors.__doc__, re.MULTILINE)
PACKAGE = Path(errors.__file__).parent.parent
ROOMS = ("cli", "benchmarks", "export", "training", "runtime")


def _drawn_bases():
    """Yield each class of the drawing with the names of its base classes."""
    above = []
    for indentation, name, second in DRAWN:
        depth = len(indentation) // 4
        above[depth:] = [name]
        yield name, [above[depth - 1] if depth else "Exception", *([second] if second else [])]


def _classes():
    """Yield the file, the name and the base classes of every class in the package, without importing any module."""
    for room in ROOMS:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            aliases = {
                alias.asname: alias.name
                for node in nodes
                if isinstance(node, ast.Import | ast.ImportFrom)
                for alias in node.names
                if alias.asname
            }
            for node in nodes:
                if isinstance(node, ast.ClassDef):
                    bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
                    yield path, node.name, {aliases.get(base, base) for base in bases}


def test_the_drawing_shows_every_class_and_no_other():
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert {name for _, name, _ in DRAWN} == defined
    assert len(DRAWN) == 21


@pytest.mark.parametrize(("name", "bases"), list(_drawn_bases()))
def test_a_class_has_the_base_classes_that_are_drawn(name, bases):
    expected = [getattr(errors, base, None) or getattr(builtins, base) for base in bases]
    assert list(getattr(errors, name).__bases__) == expected


def test_no_error_of_ours_is_defined_elsewhere():
    classes = list(_classes())
    ours = {"OverflyError"}
    while more := {name for _, name, bases in classes if bases & ours} - ours:
        ours |= more
    assert {name for _, name, _ in DRAWN} <= ours
    assert {path for path, name, _ in classes if name in ours} == {Path(errors.__file__)}
