"""A folder is replaced by the whole new one or stays the old one, whenever the process ends."""

import os

import pytest

from overfly.runtime.errors import OutputError
from overfly.runtime.files import replacing
from overfly.runtime.files.atomic import atomic_folder
from overfly.runtime.files.replacing import remove, remove_partials, replace_folder, restore_replaced

posix_only = pytest.mark.skipif(os.name != "posix", reason="permissions and limits of POSIX")


def test_what_a_killed_process_left_is_cleared_away(tmp_path, names, kill_when_ready):
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


@pytest.fixture
def killed_between_renames(old, kill_when_ready):
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
    with pytest.raises(OutputError, match="out"), atomic_folder(killed_between_renames):
        pytest.fail("the block must not run")
    assert (killed_between_renames / "result.txt").read_text(encoding="utf-8") == "old"


def test_a_failing_rename_puts_the_old_folder_back(old, names):
    with pytest.raises(FileNotFoundError):
        replace_folder(old.with_name("never made"), old)
    assert (old / "result.txt").read_text(encoding="utf-8") == "old"
    assert names(old.parent) == ["out"]


def test_restoring_does_nothing_when_the_new_folder_is_in_place(old, names):
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
def test_remove_deletes_a_link_and_not_what_it_points_to(old, names):
    link = old.parent / "link"
    link.symlink_to(old, target_is_directory=True)
    remove(link)
    assert names(old.parent) == ["out"]
    assert names(old) == ["result.txt"]
