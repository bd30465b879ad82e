"""A public name is imported at its first use, needs only its own extras, and then stands in the package."""

import sys
from types import ModuleType

import pytest

from overfly.runtime import extras as extras_module
from overfly.runtime.errors import MissingExtraError
from overfly.runtime.lazy import LazyName, lazy_names


@pytest.fixture
def package(monkeypatch):
    """A package with a name that needs no extra and one that needs the extra 'train', of which a package is missing."""
    made = ModuleType("lazy_package")
    names = {
        "Fraction": LazyName("fractions"),
        "Decimal": LazyName("decimal", ("train",)),
        "absent": LazyName("fractions"),
    }
    made.__getattr__, made.__dir__ = lazy_names("lazy_package", names)
    monkeypatch.setitem(sys.modules, "lazy_package", made)
    monkeypatch.setattr(extras_module, "extra_packages", lambda extra: (f"no_such_package_of_{extra}",))
    return made


def test_a_name_is_looked_up_once(package):
    assert "Fraction" not in vars(package)
    first = package.Fraction
    assert first is sys.modules["fractions"].Fraction
    assert vars(package)["Fraction"] is first


def test_only_the_name_that_needs_an_extra_asks_for_it(package):
    assert package.Fraction(1, 2) == 0.5
    with pytest.raises(MissingExtraError, match="no_such_package_of_train"):
        package.Decimal  # noqa: B018 - its use raises
    assert "Decimal" not in vars(package)


@pytest.mark.parametrize("name", ["absent", "unknown"])
def test_a_name_that_is_not_there_is_an_attribute_error(package, name):
    with pytest.raises(AttributeError, match=name):
        getattr(package, name)


def test_dir_lists_the_names(package):
    assert dir(package) == ["Decimal", "Fraction", "absent"]
