"""On Windows the DLLs of msvc-runtime are loaded by path, and a missing one is a sentence."""

import ctypes
from importlib import metadata
from pathlib import Path

import pytest

from overfly.runtime.cpp_runtime import explain_missing_dll, load_cpp_runtime


@pytest.fixture
def loaded(monkeypatch):
    """The paths that were loaded; nothing really is."""
    paths = []
    monkeypatch.setattr(ctypes, "CDLL", paths.append)
    return paths


class Installed(metadata.PackagePath):
    """A file of a package in an environment."""

    def locate(self):
        return Path("env", self)


def test_each_dll_is_loaded_once_and_the_one_that_the_others_need_first(loaded, monkeypatch):
    names = [
        "msvcp140_1.dll",
        "MSVCP140.dll",
        "Scripts/msvcp140_1.dll",
        "Scripts/msvcp140.dll",
        "vcomp140.dll",
        "x.pyd",
    ]
    monkeypatch.setattr(metadata, "files", lambda _: [Installed(name) for name in names])
    load_cpp_runtime()
    assert [Path(path) for path in loaded] == [Path("env/MSVCP140.dll"), Path("env/msvcp140_1.dll")]


def test_without_the_package_nothing_is_loaded(loaded, monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    load_cpp_runtime()
    assert loaded == []


def test_a_copy_that_can_not_be_loaded_is_passed_over(monkeypatch):
    tried = []

    def load_second(path):
        tried.append(path)
        if len(tried) == 1:
            raise OSError(path)

    monkeypatch.setattr(ctypes, "CDLL", load_second)
    monkeypatch.setattr(metadata, "files", lambda _: [Installed(f"{n}/msvcp140.dll") for n in "123"])
    load_cpp_runtime()
    assert [Path(path) for path in tried] == [Path("env/1/msvcp140.dll"), Path("env/2/msvcp140.dll")]


@pytest.mark.parametrize(
    "error",
    [
        ImportError("DLL load failed while importing _pyopenvino: The specified module could not be found."),
        OSError('[WinError 126] Error loading "c10.dll" or one of its dependencies.'),
    ],
)
def test_a_missing_dll_is_a_sentence_with_the_remedy(error, monkeypatch):
    def absent(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert explain_missing_dll(error) == (
        f"a package needs Microsoft's C++ runtime, which Windows did not find ({error}): "
        "run  python -m pip install msvc-runtime  or install the Visual C++ Redistributable"
    )


def test_the_runtime_is_not_blamed_if_it_is_there(loaded):
    error = ImportError("DLL load failed while importing _C: An Application Control policy has blocked this file.")
    assert explain_missing_dll(error) == (
        f"Windows did not load a DLL of a package ({error}): allow it in Windows' security settings if they blocked "
        "it, or install the package again"
    )
    assert loaded == ["msvcp140.dll"]


@pytest.mark.parametrize("error", [ImportError("No module named 'numpy'"), OSError(13, "Permission denied")])
def test_another_error_is_not_explained(error):
    assert explain_missing_dll(error) is None
