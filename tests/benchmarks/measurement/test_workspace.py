"""A bench works in a folder of its own, and what Windows could not delete then is deleted a day later."""

import os
import sys
import tempfile
import time

import pytest

from overfly.benchmarks.measurement.workspace import make_workspace

CACHE = "TORCHINDUCTOR_CACHE_DIR"


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The system's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("before", [None, "mine"])
def test_torch_compile_keeps_its_files_there_and_the_folder_goes(temporary, monkeypatch, before):
    monkeypatch.delenv(CACHE, raising=False) if before is None else monkeypatch.setenv(CACHE, before)
    with make_workspace() as folder:
        assert folder.parent == temporary
        assert os.environ[CACHE] == str(folder / "inductor")
        (folder / "model.onnx").touch()
    assert list(temporary.iterdir()) == []
    assert os.environ.get(CACHE) == before


@pytest.mark.parametrize(("platform", "left"), [("win32", {"overfly-bench-new", "other"}), ("linux", None)])
def test_on_windows_the_next_bench_deletes_what_is_a_day_old(temporary, monkeypatch, platform, left):
    names = {"overfly-bench-old", "overfly-bench-new", "other"}
    for name in names:
        (temporary / name / "inductor").mkdir(parents=True)
    for name in ("overfly-bench-old", "other"):
        os.utime(temporary / name, (time.time() - 90_000,) * 2)
    monkeypatch.setattr(sys, "platform", platform)
    with make_workspace():
        pass
    assert {path.name for path in temporary.iterdir()} == (left or names)
