"""The versions written into results are those of the packages installed."""

import platform
from importlib import metadata

import numpy as np

from overfly.runtime import versions
from overfly.runtime.versions import installed_versions


def test_the_versions_are_the_real_ones():
    found = installed_versions()
    assert found["python"] == platform.python_version()
    assert found["numpy"] == np.__version__
    assert found["overfly"] == metadata.version("overfly")
    assert next(iter(found)) == "python"


def test_a_package_that_is_not_installed_is_left_out(monkeypatch):
    monkeypatch.setattr(versions, "_PACKAGES", ("numpy", "no-such-package-anywhere"))
    assert list(installed_versions()) == ["python", "numpy"]
