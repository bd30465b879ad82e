"""Files and folders are the old one or the new one, whatever happens in between."""

import os
import stat
import subprocess
import sys

import pytest

from overfly.runtime.errors import OutputError
from overfly.runtime.files.atomic import atomic_folder, write_atomically

posix_only = pytest.mark.skipif(os.name != "posix", reason="permissions and limits of POSIX")


@pytest.fixture
def umask():
    """A function that sets the umask until the test ends."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def test_write_atomically_writes_and_replaces(tmp_path, names):
    path = tmp_path / "a b é.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == [path.name]


def test_an_interrupted_rename_leaves_the_old_file(tmp_path, monkeypatch, names):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@posix_only
def test_a_full_disk_leaves_the_old_file(tmp_path, names):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    script = """
import resource, signal, sys
from pathlib import Path
from overfly.runtime.files.atomic import write_atomically
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path(sys.argv[1]), b"x" * 5000)
except OSError as error:
    print(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "OSError\n"
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@posix_only
@pytest.mark.parametrize(("mask", "file_mode", "folder_mode"), [(0o022, 0o644, 0o755), (0o027, 0o640, 0o750)])
def test_permissions_follow_the_umask(tmp_path, umask, mask, file_mode, folder_mode):
    umask(mask)
    write_atomically(tmp_path / "file", b"")
    with atomic_folder(tmp_path / "folder"):
        pass
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == file_mode
    assert stat.S_IMODE((tmp_path / "folder").stat().st_mode) == folder_mode
    assert os.umask(mask) == mask


def test_a_folder_appears_whole(tmp_path, names):
    path = tmp_path / "deep" / "out"
    with atomic_folder(path) as partial:
        (partial / "result.txt").write_text("new", encoding="utf-8")
        assert not path.exists()
    assert (path / "result.txt").read_text(encoding="utf-8") == "new"
    assert names(path.parent) == ["out"]


def test_an_empty_folder_may_be_filled(tmp_path, names):
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as partial:
        (partial / "result.txt").touch()
    assert names(tmp_path / "out") == ["result.txt"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_failing_block_leaves_the_old_folder(old, error, names):
    with pytest.raises(type(error)), atomic_folder(old, overwrite=True) as partial:  # noqa: PT012 - both are the test
        (partial / "result.txt").write_text("new", encoding="utf-8")
        raise error
    assert (old / "result.txt").read_text(encoding="utf-8") == "old"
    assert names(old.parent) == ["out"]


def test_overwrite_replaces_all_of_the_old_folder(old, names):
    with atomic_folder(old, overwrite=True) as partial:
        (partial / "other.txt").write_text("new", encoding="utf-8")
        assert (old / "result.txt").read_text(encoding="utf-8") == "old"
    assert names(old) == ["other.txt"]
    assert names(old.parent) == ["out"]


def test_overwrite_replaces_a_file(tmp_path, names):
    path = tmp_path / "out"
    path.write_text("a file", encoding="utf-8")
    with pytest.raises(OutputError, match="out"), atomic_folder(path):
        pytest.fail("the block must not run")
    with atomic_folder(path, overwrite=True) as partial:
        (partial / "result.txt").touch()
    assert names(path) == ["result.txt"]


def test_a_process_killed_inside_the_block_leaves_the_old_folder(old, kill_when_ready):
    kill_when_ready(
        """
import sys
from pathlib import Path
from overfly.runtime.files.atomic import atomic_folder
with atomic_folder(Path(sys.argv[1]), overwrite=True) as partial:
    (partial / "result.txt").write_text("new")
    print("ready", flush=True)
    sys.stdin.read()
""",
        old,
    )
    assert (old / "result.txt").read_text(encoding="utf-8") == "old"
    with atomic_folder(old, overwrite=True) as partial:
        (partial / "result.txt").write_text("newer", encoding="utf-8")
    assert (old / "result.txt").read_text(encoding="utf-8") == "newer"
