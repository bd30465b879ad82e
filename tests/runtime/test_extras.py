"""Extras are read from the installed metadata, whatever they hold."""

import ast
import importlib.metadata
import re
import sys
from pathlib import Path

import pytest

from overfly.runtime.errors import MissingExtraError
from overfly.runtime.extras import extra_packages, require_extra

ROOT = Path(__file__).parents[2]
CORE = {"numpy", "openvino", "PIL", "click", "rich", "platformdirs", "msvc-runtime"}
# What may be imported in a room, apart from the core and Python's own.
ROOMS = {
    "runtime": ("geo", "cluster"),
    "cli": (),
    "training": ("train", "geo"),
    "export": ("train", "export", "geo"),
    "benchmarks": ("bench", "train", "export", "geo", "cluster"),
}


@pytest.fixture
def declare(monkeypatch):
    """A function that puts other requirements into the place of the installed ones."""

    def replace(*requirements):
        monkeypatch.setattr(importlib.metadata, "requires", lambda _: list(requirements))

    return replace


@pytest.mark.parametrize("extra", ["train", "export", "bench", "geo", "cluster", "all"])
def test_each_package_of_an_extra_is_found_by_the_name_it_is_given(extra):
    require_extra(extra)


def test_all_holds_the_packages_of_the_other_extras():
    parts = {package for extra in ("train", "export", "bench", "geo", "cluster") for package in extra_packages(extra)}
    assert parts <= set(extra_packages("all"))


def test_a_missing_package_becomes_the_pip_command(declare):
    declare('json>=1; extra == "bench"', 'No-Such-Package>=2,<3; extra == "bench"')
    with pytest.raises(MissingExtraError) as caught:
        require_extra("bench")
    assert str(caught.value) == (
        "this needs the package 'no_such_package', which is not installed: "
        'run  python -m pip install "overfly[bench]"'
    )


def test_only_the_packages_that_are_named_are_checked(declare):
    declare('json>=1; extra == "bench"', 'no-such-package; extra == "bench"')
    require_extra("bench", "json")
    with pytest.raises(MissingExtraError, match="no_such_package"):
        require_extra("bench", "json", "no_such_package")


def test_extras_within_extras_and_other_conditions_are_resolved(declare):
    declare(
        "numpy>=1.26",
        f"core; sys_platform == '{sys.platform}' and platform_machine == 'AMD64'",
        "one>=1; extra == 'a'",
        "two; python_version >= '3.10' and extra == 'a'",
        "three>=1 ; (python_version < '3.10') and extra == 'a'",
        f"four; sys_platform != '{sys.platform}' and extra == 'b'",
        "five[more]==5; extra == 'b'",
        "one>=1; extra == 'b'",
        "overfly[a, b]; extra == 'all'",
    )
    assert extra_packages("a") == ("one", "two")
    assert extra_packages("b") == ("five", "one")
    assert extra_packages("all") == ("one", "two", "five")


def test_an_unknown_extra_is_a_mistake_of_the_program():
    with pytest.raises(ValueError, match="'no-such-extra'"):
        extra_packages("no-such-extra")


def test_a_condition_of_another_form_is_not_passed_over(declare):
    declare("one; implementation_name == 'cpython' and extra == 'a'")
    with pytest.raises(ValueError, match="implementation_name"):
        extra_packages("a")


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_what_its_extras_bring_and_no_more(room):
    allowed = {*CORE, *sys.stdlib_module_names, "overfly"}.union(*map(extra_packages, ROOMS[room]))
    found = {}
    for path in (ROOT / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            found.update({name.partition(".")[0]: path.name for name in names})
    assert found
    assert {name: file for name, file in found.items() if name not in allowed} == {}


def test_the_core_is_what_is_installed_without_an_extra():
    required = importlib.metadata.requires("overfly")
    names = {re.match(r"[\w-]+", line)[0] for line in required if "extra ==" not in line}
    assert {name.replace("pillow", "PIL") for name in names} == CORE
