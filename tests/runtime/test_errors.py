"""The tree of errors is the one that the module's docstring draws."""

import builtins
import inspect
import re

import pytest

from overfly.runtime import errors
from overfly.runtime.errors import OverflyError

# Each line of the drawing: its indentation, the class, and the builtin in brackets.
DRAWN = re.findall(r"^([│ ├└─]*)(\w+Error)(?: \((\w+)\))?(?:  |$)", errors.__doc__, re.MULTILINE)
LEAVES = [(name, builtin) for _, name, builtin in DRAWN if builtin]


def test_the_drawing_shows_every_class_and_no_other():
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert {name for _, name, _ in DRAWN} == defined
    assert len(DRAWN) == 15


@pytest.mark.parametrize(("name", "builtin"), LEAVES)
def test_a_leaf_inherits_the_builtin_that_the_drawing_names(name, builtin):
    leaf = getattr(errors, name)
    assert issubclass(leaf, getattr(builtins, builtin))
    assert leaf.__bases__[0] is OverflyError


@pytest.mark.parametrize(
    ("name", "parent"), [("ImageError", "DataError"), ("RunError", "DocumentError"), ("BundleError", "DocumentError")]
)
def test_the_inner_branches(name, parent):
    assert getattr(errors, name).__bases__ == (getattr(errors, parent),)


def test_the_branches_are_separate():
    assert not issubclass(errors.DataError, errors.DocumentError)
    assert not issubclass(errors.WeightsError, errors.DataError)
