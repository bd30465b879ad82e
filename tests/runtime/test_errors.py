"""The tree of errors is the one that the module's docstring draws."""

import builtins
import inspect
import re

import pytest

from overfly.runtime import errors
from overfly.runtime.errors import MissingExtraError, OverflyError, needs_extra

# Each line of the drawing: its indentation, the class, and the builtin in brackets.
DRAWN = re.findall(r"^([│ ├└─]*)(\w+Error)(?: \((\w+)\))?(?:  |$)", errors.__doc__, re.MULTILINE)
LEAVES = [(name, builtin) for _, name, builtin in DRAWN if builtin]


def test_the_drawing_shows_every_class_and_no_other():
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert {name for _, name, _ in DRAWN} == defined
    assert len(DRAWN) == 14


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


def test_a_missing_package_becomes_the_pip_command():
    with pytest.raises(MissingExtraError) as caught, needs_extra("bench"):
        import no_such_package_anywhere  # noqa: F401 - its absence is the point
    assert str(caught.value) == (
        "this needs the package 'no_such_package_anywhere', which is not installed: "
        'run  python -m pip install "overfly[bench]"'
    )
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_module_of_ours_that_is_missing_is_a_bug_and_stays_one():
    with pytest.raises(ModuleNotFoundError, match=r"overfly\.runtime\.no_such_module"), needs_extra("train"):
        import overfly.runtime.no_such_module  # noqa: F401 - its absence is the point


def test_other_errors_pass_through():
    with pytest.raises(ZeroDivisionError), needs_extra("train"):
        _ = 1 / 0


def test_nothing_happens_when_the_package_is_there():
    with needs_extra("train"):
        import json
    assert json.dumps(1) == "1"
