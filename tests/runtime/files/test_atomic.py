"""Files and folders are the old one or the new one, whatever happens in between."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from overfly.runtime.errors import OutputError
from overfly.runtime.files import replacing
from overfly.runtime.files.atomic import atomic_folder, write_atomically
from overfly.runtime.files.output_guards import check_overwrite
from overfly.runtime.files.replacing import remove, remove_partials, replace_folder, restore_replaced

posix_only = pytest.mark.skipif(os.name != "posix", reason="permissions and limits of POSIX")


@pytest.fixture
def old(tmp_path):
    """A folder with an old result in it."""
    path = tmp_path / "out"
    path.mkdir()
    (path / "result.txt").write_text("old", encoding="utf-8")
    return path


@pytest.fixture
def umask():
    """A function that sets the umask until the test ends."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def kill_when_ready(script, *arguments):
    """Run a script in a process of its own and kill it when it says that it is ready."""
    command = [sys.executable, "-c", script, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "ready\n"
        child.kill()
    assert child.returncode != 0


def test_write_atomically_writes_and_replaces(tmp_path):
    path = tmp_path / "a b é.json"
    write_atomically(path, b"one")
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert names(tmp_path) == [path.name]


def test_an_interrupted_rename_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_what_a_killed_process_left_is_cleared_away(tmp_path):
    script = """
import sys
from pathlib import Path
from overfly.runtime.files import atomic
atomic.os.fsync = lambda _: (print("ready", flush=True), sys.stdin.read())
atomic.write_atomically(Path(sys.argv[1]), b"new")
"""
    (tmp_path / "below").mkdir()
    path = tmp_path / "below" / "file"
    path.write_bytes(b"old")
    kill_when_ready(script, path)
    assert len(names(path.parent)) == 2
    remove_partials(tmp_path)
    assert names(path.parent) == ["file"]
    assert path.read_bytes() == b"old"
    remove_partials(tmp_path / "absent")


@posix_only
def test_a_full_disk_leaves_the_old_file(tmp_path):
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


def test_a_folder_appears_whole(tmp_path):
    path = tmp_path / "deep" / "out"
    with atomic_folder(path) as partial:
        (partial / "result.txt").write_text("new", encoding="utf-8")
        assert not path.exists()
    assert (path / "result.txt").read_text(encoding="utf-8") == "new"
    assert names(path.parent) == ["out"]


def test_an_empty_folder_may_be_filled(tmp_path):
    (tmp_path / "out").mkdir()
    with atomic_folder(tmp_path / "out") as partial:
        (partial / "result.txt").touch()
    assert names(tmp_path / "out") == ["result.txt"]


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_a_failing_block_leaves_the_old_folder(old, error):
    with pytest.raises(type(error)), atomic_folder(old, overwrite=True) as partial:  # noqa: PT012 - both are the test
        (partial / "result.txt").write_text("new", encoding="utf-8")
        raise error
    assert (old / "result.txt").read_text(encoding="utf-8") == "old"
    assert names(old.parent) == ["out"]


def test_an_existing_folder_is_refused(old):
    with pytest.raises(OutputError) as caught, atomic_folder(old):
        pytest.fail("the block must not run")
    assert str(caught.value) == f"{old} exists already: choose another place, or add --overwrite to replace it"
    assert names(old.parent) == ["out"]


def test_overwrite_replaces_all_of_the_old_folder(old):
    with atomic_folder(old, overwrite=True) as partial:
        (partial / "other.txt").write_text("new", encoding="utf-8")
        assert (old / "result.txt").read_text(encoding="utf-8") == "old"
    assert names(old) == ["other.txt"]
    assert names(old.parent) == ["out"]


def test_overwrite_replaces_a_file(tmp_path):
    path = tmp_path / "out"
    path.write_text("a file", encoding="utf-8")
    with pytest.raises(OutputError, match="exists already"), atomic_folder(path):
        pytest.fail("the block must not run")
    with atomic_folder(path, overwrite=True) as partial:
        (partial / "result.txt").touch()
    assert names(path) == ["result.txt"]


@pytest.mark.parametrize("below", ["out", "deep/out"])
def test_a_parent_that_is_a_file_is_named(tmp_path, below):
    (tmp_path / "notes.txt").touch()
    path = tmp_path / "notes.txt" / below
    with pytest.raises(OutputError, match="can't write to") as caught, atomic_folder(path):
        pytest.fail("the block must not run")
    assert "choose another place" in str(caught.value)
    with pytest.raises(OutputError, match=r"notes\.txt is a file, not a folder"):
        check_overwrite(path, overwrite=True)


def test_a_process_killed_inside_the_block_leaves_the_old_folder(old):
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


@pytest.fixture
def killed_between_renames(old):
    """The old folder after a process was killed when it had been moved aside, the new one not yet in place."""
    kill_when_ready(
        """
import sys
from pathlib import Path
from overfly.runtime.files.atomic import atomic_folder
rename = Path.rename
def rename_once(self, target):
    if self.name.endswith(".part"):
        print("ready", flush=True)
        sys.stdin.read()
    return rename(self, target)
Path.rename = rename_once
with atomic_folder(Path(sys.argv[1]), overwrite=True) as partial:
    (partial / "result.txt").write_text("new")
""",
        old,
    )
    assert not old.exists()
    return old


def test_the_old_folder_comes_back_after_a_kill_between_the_renames(killed_between_renames):
    restore_replaced(killed_between_renames)
    assert (killed_between_renames / "result.txt").read_text(encoding="utf-8") == "old"


def test_the_next_call_protects_what_was_moved_aside(killed_between_renames):
    with pytest.raises(OutputError, match="exists already"), atomic_folder(killed_between_renames):
        pytest.fail("the block must not run")
    assert (killed_between_renames / "result.txt").read_text(encoding="utf-8") == "old"


def test_a_failing_rename_puts_the_old_folder_back(old):
    with pytest.raises(FileNotFoundError):
        replace_folder(old.with_name("never made"), old)
    assert (old / "result.txt").read_text(encoding="utf-8") == "old"
    assert names(old.parent) == ["out"]


def test_restoring_does_nothing_when_the_new_folder_is_in_place(old):
    aside = old.with_name(".out.replaced")
    aside.mkdir()
    restore_replaced(old)
    assert (old / "result.txt").exists()
    with atomic_folder(old, overwrite=True):
        pass
    assert names(old.parent) == ["out"]


def test_killed_while_it_deletes_the_old_folder_it_does_not_bring_back_the_rest(old, monkeypatch):
    def die(_path):
        raise KeyboardInterrupt

    monkeypatch.setattr(replacing, "remove", die)
    with pytest.raises(KeyboardInterrupt), atomic_folder(old, overwrite=True) as partial:
        (partial / "result.txt").write_text("new", encoding="utf-8")
    assert (old / "result.txt").read_text(encoding="utf-8") == "new"
    old.rename(old.with_name("elsewhere"))
    restore_replaced(old)
    assert not old.exists()


def test_remove_takes_files_folders_and_nothing(old):
    (old.parent / "file").touch()
    for path in (old, old.parent / "file", old.parent / "absent"):
        remove(path)
        assert not path.exists()


@posix_only
def test_remove_deletes_a_link_and_not_what_it_points_to(old):
    link = old.parent / "link"
    link.symlink_to(old, target_is_directory=True)
    remove(link)
    assert names(old.parent) == ["out"]
    assert names(old) == ["result.txt"]
