"""What is kept comes back whole or not at all, whoever writes at once, and takes no more room than allowed."""

import errno
import os
import subprocess
import sys
import tempfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overfly.runtime.inference import model_cache as cache
from overfly.runtime.inference.model_cache import keep_blob, model_cache_folder, read_blob, user_cache_folder

DIGEST_BYTES = 32
LARGE = 2_000_000


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder in a world without any variable that names a cache."""
    for name in ("OVERFLY_CACHE", "LOCALAPPDATA", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def folder():
    """The folder of the test's own cache, which may not exist yet."""
    return model_cache_folder()


def kept(folder):
    """Return the names of the whole blobs, whatever else lies in the folder."""
    return {path.stem for path in folder.glob("*.blob")}


def last_used(folder, key, when):
    """Make a blob one that was used at a time, in seconds."""
    os.utime(folder / f"{key}.blob", (when, when))


def start(code, *arguments):
    """Start Python code in a process of its own, which shares this test's cache."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True)


def test_the_variable_overrides_and_nothing_is_made_by_asking(tmp_path, monkeypatch):
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path / "mine" / "deep"))
    assert user_cache_folder() == tmp_path / "mine" / "deep"
    assert model_cache_folder() == tmp_path / "mine" / "deep" / "models"
    assert read_blob("key") is None
    assert not (tmp_path / "mine").exists()


CACHES = {"linux": ".cache", "win32": "AppData/Local", "darwin": "Library/Caches"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked for its folder, not the environment")
def test_the_operating_systems_folder(home):
    assert model_cache_folder() == home / CACHES[sys.platform] / "overfly" / "models"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no XDG_CACHE_HOME")
def test_the_xdg_folder(home, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(home / "elsewhere"))
    assert model_cache_folder() == home / "elsewhere" / "overfly" / "models"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no XDG_CACHE_HOME")
@pytest.mark.parametrize("value", ["", "relative", "./here"])
def test_an_empty_or_relative_variable_does_not_count(home, monkeypatch, value):
    monkeypatch.setenv("OVERFLY_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert model_cache_folder() == home / CACHES[sys.platform] / "overfly" / "models"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows is asked for its folder, not the environment")
def test_nothing_is_written_where_one_stands(tmp_path, home, monkeypatch):
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    keep_blob("key", b"content")
    assert home in model_cache_folder().parents
    assert read_blob("key") == b"content"
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"x", bytes(DIGEST_BYTES), bytes(range(256)) * 5000])
def test_what_is_kept_comes_back(folder, content):
    keep_blob("key", content)
    assert read_blob("key") == content
    assert read_blob("other") is None
    assert (folder / "key.blob").stat().st_size == DIGEST_BYTES + len(content)


def test_the_newer_content_of_a_key_counts(folder):
    keep_blob("key", b"old and longer")
    keep_blob("key", b"new")
    assert read_blob("key") == b"new"
    assert [path.name for path in folder.iterdir()] == ["key.blob"]


def test_a_byte_altered_anywhere_makes_a_blob_as_good_as_none_and_removes_it(folder):
    keep_blob("key", b"thirty bytes of compiled model")
    path = folder / "key.blob"
    whole = path.read_bytes()
    for place in range(len(whole)):
        for bit in (1, 128):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            assert read_blob("key") is None, f"byte {place}"
            assert not path.exists()


def test_a_blob_cut_anywhere_or_with_something_added_is_none(folder):
    keep_blob("key", b"compiled")
    path = folder / "key.blob"
    whole = path.read_bytes()
    for other in [whole[:n] for n in range(len(whole))] + [whole + b"\0", b"\0" + whole]:
        path.write_bytes(other)
        assert read_blob("key") is None, other
        assert not path.exists()


def test_a_process_killed_before_the_rename_leaves_no_blob(folder):
    code = "import os\nfrom overfly.runtime.inference.model_cache import keep_blob\nos.fsync = lambda _: os._exit(9)\n"
    with start(code + "keep_blob('key', bytes(1000))") as process:
        assert process.wait() == 9
    assert kept(folder) == set()
    assert read_blob("key") is None
    # What it left is never read, and goes by its age like a blob.
    (remains,) = folder.iterdir()
    os.utime(remains, (1, 1))
    keep_blob("key", bytes(10), limit_bytes=DIGEST_BYTES + 10)
    assert [path.name for path in folder.iterdir()] == ["key.blob"]


KEEP_FOREVER = f"""
from overfly.runtime.inference.model_cache import keep_blob
n = 0
while True:
    n += 1
    keep_blob("key", bytes([n % 256]) * {LARGE})
    if n == 1:
        print("kept", flush=True)
"""


def test_a_process_killed_at_any_moment_leaves_whole_blobs_only(folder):
    for after_s in (0.0, 0.003, 0.01, 0.02, 0.05):
        with start(KEEP_FOREVER) as process:
            assert process.stdout.readline() == "kept\n"
            time.sleep(after_s)
            process.kill()
        assert kept(folder) == {"key"}
        blob = read_blob("key")
        assert blob is not None
        assert blob == blob[:1] * LARGE


KEEP_SOME = f"""
import sys
from overfly.runtime.inference.model_cache import keep_blob, read_blob
print("ready", flush=True)
sys.stdin.readline()
n_whole = 0
for n in range(25):
    keep_blob("key", sys.argv[1].encode() * {LARGE})
    blob = read_blob("key")
    n_whole += blob is not None and len(blob) == {LARGE} and blob == blob[:1] * {LARGE}
print(n_whole)
"""


def test_processes_that_write_one_key_at_once_always_leave_a_whole_one(folder):
    processes = [start(KEEP_SOME, letter) for letter in "ab"]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    n_whole = [int(process.communicate()[0]) for process in processes]
    # Windows fails to replace or open what the other one has open: no blob for a moment, but never half a one.
    assert n_whole == [25, 25] or sys.platform == "win32"
    assert read_blob("key") in (b"a" * LARGE, b"b" * LARGE)
    assert [path.name for path in folder.iterdir()] == ["key.blob"]


def test_the_limit_is_kept_to_the_byte(folder):
    for when, key in enumerate("abc", start=1):
        keep_blob(key, bytes(100))
        last_used(folder, key, when)
    three = 3 * (DIGEST_BYTES + 100)
    keep_blob("a", bytes(100), limit_bytes=three)
    assert kept(folder) == {"a", "b", "c"}
    keep_blob("a", bytes(101), limit_bytes=three)
    assert kept(folder) == {"a", "c"}
    keep_blob("d", bytes(100), limit_bytes=three + 1)
    assert kept(folder) == {"a", "c", "d"}


def test_what_was_read_lately_stays_longer(folder):
    for when, key in enumerate("abc", start=1):
        keep_blob(key, bytes(100))
        last_used(folder, key, when)
    assert read_blob("a") == bytes(100)
    keep_blob("d", bytes(100), limit_bytes=3 * (DIGEST_BYTES + 100))
    assert kept(folder) == {"a", "c", "d"}


def test_a_blob_beyond_the_limit_is_not_kept(folder):
    keep_blob("key", bytes(100), limit_bytes=DIGEST_BYTES + 99)
    assert list(folder.iterdir()) == []


def test_what_can_not_be_dropped_does_not_save_the_others(folder):
    keep_blob("old", bytes(100))
    last_used(folder, "old", 2)
    # A folder with a blob's name can't be unlinked; a file that is open in another process can't on Windows.
    (folder / "foreign.blob").mkdir()
    os.utime(folder / "foreign.blob", (1, 1))
    keep_blob("new", bytes(100), limit_bytes=(folder / "foreign.blob").stat().st_size + DIGEST_BYTES + 100)
    assert kept(folder) == {"new", "foreign"}


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=8), st.integers(0, 300))
def test_after_any_writes_the_newest_that_fit_are_there(sizes, limit_bytes):
    expected = []
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as place:
        patch.setenv("OVERFLY_CACHE", place)
        for i, size in enumerate(sizes):
            keep_blob(str(i), bytes(size), limit_bytes=limit_bytes)
            expected.append((str(i), DIGEST_BYTES + size))
            while sum(n_bytes for _, n_bytes in expected) > limit_bytes:
                del expected[0]
            for when, (key, _) in enumerate(expected, start=1):
                last_used(model_cache_folder(), key, when)
        assert kept(model_cache_folder()) == {key for key, _ in expected}


def test_without_a_home_nothing_is_kept_and_nothing_fails(home, monkeypatch):
    def no_home(*_arguments, **_options):
        raise RuntimeError("could not determine the home directory")

    monkeypatch.setattr(cache, "user_cache_path", no_home)
    keep_blob("key", b"content")
    assert read_blob("key") is None
    assert not home.exists()


@pytest.mark.parametrize("depth", ["", "models", "models/key.blob"])
def test_a_file_or_folder_in_the_way_stops_nothing(tmp_path, monkeypatch, depth):
    place = tmp_path / "cache"
    monkeypatch.setenv("OVERFLY_CACHE", str(place))
    in_the_way = place / depth
    in_the_way.parent.mkdir(parents=True, exist_ok=True)
    if depth.endswith(".blob"):
        in_the_way.mkdir()
    else:
        in_the_way.write_bytes(b"a file of the user's")
    keep_blob("key", b"content")
    assert read_blob("key") is None
    assert in_the_way.is_dir() or in_the_way.read_bytes() == b"a file of the user's"


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EROFS])
def test_a_full_or_read_only_disk_stops_nothing(monkeypatch, number):
    keep_blob("key", b"content")

    def fail(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(cache, "write_atomically", fail)
    monkeypatch.setattr(os, "utime", fail)
    keep_blob("other", b"content")
    assert read_blob("other") is None
    # What others kept there can still be used.
    assert read_blob("key") == b"content"
