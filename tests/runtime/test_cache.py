"""The model cache is in the user's cache folder, whatever the operating system, or where one says."""

import sys
from pathlib import Path

import pytest

from overfly.runtime.cache import model_cache_folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder in a world without any variable that names a cache."""
    for name in ("OVERFLY_CACHE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    return tmp_path / "home"


def test_the_variable_overrides_and_the_folder_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path / "mine" / "deep"))
    folder = model_cache_folder()
    assert folder == tmp_path / "mine" / "deep" / "models"
    assert folder.is_dir()
    assert model_cache_folder() == folder


@pytest.mark.parametrize(
    ("platform", "variable", "default"),
    [
        ("linux", "XDG_CACHE_HOME", ".cache"),
        ("win32", "LOCALAPPDATA", "AppData/Local"),
        ("darwin", None, "Library/Caches"),
    ],
)
def test_the_operating_systems_place(home, monkeypatch, platform, variable, default):
    monkeypatch.setattr(sys, "platform", platform)
    assert model_cache_folder() == home / default / "overfly" / "models"
    if variable is not None:
        monkeypatch.setenv(variable, str(home / "elsewhere"))
        assert model_cache_folder() == home / "elsewhere" / "overfly" / "models"


def test_an_empty_variable_counts_as_none(home, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("OVERFLY_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert model_cache_folder() == home / ".cache" / "overfly" / "models"


def test_nothing_is_written_where_one_stands(tmp_path, home, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert home in model_cache_folder().parents
    assert list((tmp_path / "work").iterdir()) == []
