"""A folder is replaced by the whole new one or stays the old one, whenever the process ends."""

import contextlib
import os
import shutil
import stat
import threading
from itertools import count
from pathlib import Path

import pytest

from overfly.runtime.errors import OutputError
from overfly.runtime.files import replacing
from overfly.runtime.files.atomic import atomic_file, atomic_folder, write_atomically
from overfly.runtime.files.replacing import remove, remove_partials, replace, replace_folder, restore_replaced

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
from overfly.runtime.files import replacing
from overfly.runtime.files.atomic import atomic_folder
rename = replacing.os.replace
def rename_once(source, target):
    if source.name.endswith(".part"):
        print("ready", flush=True)
        sys.stdin.read()
    return rename(source, target)
replacing.os.replace = rename_once
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


def os_error(number):
    """The error that Windows gives: 5 access denied, 32 sharing violation."""
    error = PermissionError(13, "The file is in use by another program")
    error.winerror = number
    return error


@pytest.fixture
def clock(monkeypatch):
    """A clock that only waiting moves; the pauses so far are in its list."""
    pauses = []
    monkeypatch.setattr(replacing, "_PAUSE_S", 0.1)  # the real pause would mean ten thousand attempts
    monkeypatch.setattr(replacing.time, "sleep", pauses.append)
    monkeypatch.setattr(replacing.time, "monotonic", lambda: sum(pauses))
    return pauses


@pytest.fixture
def fail(monkeypatch):
    """A function that makes a function of `os` or `shutil` fail a number of times, as Windows does."""

    def start(module, name, number, times):
        real = getattr(module, name)
        left = iter(range(times)) if times is not None else count()

        def call(*arguments, **options):
            if not options.get("ignore_errors") and next(left, None) is not None:
                raise os_error(number)
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, call)

    return start


@pytest.mark.parametrize("number", [5, 32])
def test_a_file_that_a_scanner_has_open_is_replaced_when_it_is_free(tmp_path, names, clock, fail, number, caplog):
    caplog.set_level("INFO", "overfly")
    (tmp_path / "file").write_bytes(b"old")
    fail(os, "replace", number, 20)
    write_atomically(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert len(clock) == 20
    assert names(tmp_path) == ["file"]
    assert len(caplog.records) == 1


def test_a_finished_folder_and_file_wait_for_the_scanner(old, clock, fail):
    fail(os, "replace", 32, 5)
    with atomic_folder(old, overwrite=True) as partial:
        (partial / "result.txt").write_text("new", encoding="utf-8")
    assert (old / "result.txt").read_text(encoding="utf-8") == "new"
    fail(os, "replace", 5, 5)
    with atomic_file(old.with_name("bundle.zip")) as partial:
        partial.write_bytes(b"zip")
    assert old.with_name("bundle.zip").read_bytes() == b"zip"
    assert len(clock) == 10


def test_a_file_that_stays_open_is_an_error_after_ten_seconds_and_the_old_one_stays(tmp_path, names, clock, fail):
    (tmp_path / "file").write_bytes(b"old")
    fail(os, "replace", 32, None)
    with pytest.raises(PermissionError):
        write_atomically(tmp_path / "file", b"new")
    assert 10 <= sum(clock) < 10.15  # Python 3.12 and later round the sum of many pauses in another way
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_in_the_way_is_an_error_at_once(tmp_path, clock, fail):
    fail(os, "replace", 5, None)
    (tmp_path / "file").mkdir()
    with pytest.raises(PermissionError):
        write_atomically(tmp_path / "file", b"new")
    assert clock == []


def test_another_error_is_not_tried_again(tmp_path, clock, monkeypatch):
    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="28"):
        replace(tmp_path / "a", tmp_path / "b")
    assert clock == []


def protect(monkeypatch):
    """Let nothing that is marked read-only be replaced or deleted, as on Windows."""

    def check(path):
        for each in (path, *path.rglob("*")):
            if each.exists() and not each.stat().st_mode & stat.S_IWUSR:
                raise os_error(5)

    for module, name in ((os, "replace"), (shutil, "rmtree")):
        real = getattr(module, name)

        def call(*arguments, real=real, **options):
            check(arguments[-1])
            return real(*arguments, **options)

        monkeypatch.setattr(module, name, call)


def test_overwrite_replaces_read_only_files(old, names, monkeypatch, clock):
    (old / "result.txt").chmod(0o444)
    protect(monkeypatch)
    with atomic_folder(old, overwrite=True) as partial:
        (partial / "other.txt").touch()
    assert names(old) == ["other.txt"]
    assert names(old.parent) == ["out"]
    (old / "other.txt").chmod(0o444)
    write_atomically(old / "other.txt", b"new")
    assert (old / "other.txt").read_bytes() == b"new"
    assert len(clock) == 2


def test_read_only_files_are_deleted_also_if_a_scanner_has_one_open(old, names, monkeypatch, clock, fail):
    for name in ("result.txt", "second.txt"):
        (old / name).touch()
        (old / name).chmod(0o444)
    fail(Path, "chmod", 32, 1)
    protect(monkeypatch)
    remove(old)
    assert names(old.parent) == []
    assert len(clock) == 2


def test_an_old_folder_that_can_not_be_deleted_does_not_make_the_new_one_fail(old, clock, fail, caplog):
    fail(shutil, "rmtree", 32, None)
    with atomic_folder(old, overwrite=True) as partial:
        (partial / "result.txt").write_text("new", encoding="utf-8")
    assert (old / "result.txt").read_text(encoding="utf-8") == "new"
    assert sum(clock) >= 10
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert ".out.replaced" in warning


def test_an_old_folder_that_can_not_be_renamed_for_deletion_does_not_make_the_new_one_fail(
    old, clock, monkeypatch, caplog
):
    real = os.replace

    def replace_but_the_old(source, target):
        if source.name == ".out.replaced":
            raise os_error(32)
        real(source, target)

    monkeypatch.setattr(os, "replace", replace_but_the_old)
    with atomic_folder(old, overwrite=True) as partial:
        (partial / "result.txt").write_text("new", encoding="utf-8")
    assert (old / "result.txt").read_text(encoding="utf-8") == "new"
    assert sum(clock) >= 10
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert str(old.with_name(".out.replaced")) in warning


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_a_finished_output_that_can_not_get_its_name_is_kept(tmp_path, clock, fail, kind):
    path = tmp_path / "out"
    fail(os, "replace", 5, None)
    result = None

    def write():
        nonlocal result
        with (atomic_folder if kind == "folder" else atomic_file)(path) as partial:
            result = partial / "result.txt" if kind == "folder" else partial
            result.write_text("new", encoding="utf-8")

    with pytest.raises(OutputError) as caught:
        write()
    assert result.read_text(encoding="utf-8") == "new"
    (kept,) = tmp_path.iterdir()
    assert result.is_relative_to(kept)
    assert str(caught.value) == (
        f"can't write to {path}: The file is in use by another program; the output is complete in {kept}: close the "
        "program that has it open, then move it yourself"
    )
    assert sum(clock) >= 10


def test_a_file_that_a_scanner_has_open_is_deleted_when_it_is_free(tmp_path, names, clock, fail):
    (tmp_path / f".a.{'0' * 16}.part").touch()
    fail(Path, "unlink", 32, 20)
    # A file that is in use can't be made writable either.
    fail(Path, "chmod", 5, 1)
    remove_partials(tmp_path)
    assert names(tmp_path) == []
    assert len(clock) == 20


@pytest.mark.skipif(os.name != "nt", reason="only Windows fails to replace an open file")
def test_a_program_that_reads_a_file_again_and_again_stops_nothing(tmp_path):
    path = tmp_path / "state"
    write_atomically(path, b"0")
    stop = threading.Event()
    opened = threading.Event()

    def scan():
        while not stop.wait(0.01):
            # Windows may also refuse the other program, at the moment when the file is replaced.
            with contextlib.suppress(PermissionError), path.open("rb"):
                opened.set()
                stop.wait(0.4)

    scanner = threading.Thread(target=scan)
    scanner.start()
    try:
        assert opened.wait(60)
        for n in range(5):
            write_atomically(path, str(n).encode())
    finally:
        stop.set()
        scanner.join()
    assert path.read_bytes() == b"4"
