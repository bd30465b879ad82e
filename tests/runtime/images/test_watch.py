"""Each image that arrives is given once, when it is complete."""

import errno
import os
from pathlib import Path

import pytest

from overfly.runtime.images.watch import FolderWatch


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watch(tmp_path, clock):
    return FolderWatch([tmp_path], patience_s=10, clock=clock)


def test_an_image_is_given_at_the_second_look_and_then_no_more(tmp_path, watch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"there before the start")
    assert watch.take_ready() == []
    assert watch.take_ready() == [path]
    assert watch.take_ready() == []


def test_one_that_grows_waits_until_it_has_stopped(tmp_path, watch):
    path = tmp_path / "a.jpg"
    for size in range(1, 5):
        path.write_bytes(b"x" * size)
        assert watch.take_ready() == []
    assert watch.take_ready() == [path]


def test_a_change_that_keeps_the_size_counts(tmp_path, watch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    os.utime(path, (1000, 1000))
    assert watch.take_ready() == []
    os.utime(path, (2000, 2000))
    assert watch.take_ready() == []
    assert watch.take_ready() == [path]


def test_what_was_given_and_changes_later_is_not_given_again(tmp_path, watch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    watch.take_ready()
    assert watch.take_ready() == [path]
    path.write_bytes(b"changed")
    assert [watch.take_ready() for _ in range(3)] == [[], [], []]


def test_one_that_is_gone_and_comes_back_is_a_new_one(tmp_path, watch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    watch.take_ready()
    assert watch.take_ready() == [path]
    path.unlink()
    assert watch.take_ready() == []
    path.write_bytes(b"x")
    assert watch.take_ready() == []
    assert watch.take_ready() == [path]


def test_one_that_a_listing_leaves_out_is_not_given_again(tmp_path, watch, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"x")
    watch.take_ready()
    assert watch.take_ready() == [path]
    with monkeypatch.context() as patch:
        patch.setattr("overfly.runtime.images.watch.images_below", lambda _: [])
        assert watch.take_ready() == []
    assert [watch.take_ready(), watch.take_ready()] == [[], []]


def test_one_that_is_retried_comes_again_until_its_time_is_over(tmp_path, watch, clock):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"half")
    watch.take_ready()
    for now in (1, 5, 9.9):
        clock.now = now
        assert watch.take_ready() == [path]
        assert watch.retry_later(path)
    clock.now = 10
    assert watch.take_ready() == [path]
    assert not watch.retry_later(path)
    assert watch.take_ready() == []


def test_one_that_its_writer_keeps_open_is_given_again_when_it_can_be_opened(tmp_path, watch, clock, monkeypatch):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"complete, but held")

    def deny(path, _mode):
        raise PermissionError(errno.EACCES, "held", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", deny)
        watch.take_ready()
        clock.now = 10
        assert watch.take_ready() == [path]
        assert not watch.retry_later(path)
        assert [watch.take_ready() for _ in range(3)] == [[], [], []]
    assert watch.take_ready() == []
    assert watch.take_ready() == [path]
    assert watch.take_ready() == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_given_and_not_waited_for(tmp_path, watch):
    path = tmp_path / "a.jpg"
    os.mkfifo(path)
    watch.take_ready()
    assert watch.take_ready() == [path]


def test_the_time_of_one_that_goes_on_growing_starts_again(tmp_path, watch, clock):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"half")
    watch.take_ready()
    clock.now = 9
    assert watch.take_ready() == [path]
    assert watch.retry_later(path)
    path.write_bytes(b"half and more")
    assert watch.take_ready() == []
    clock.now = 18
    assert watch.take_ready() == [path]
    assert watch.retry_later(path)


def test_folders_below_and_several_folders_are_watched_and_other_files_are_not(tmp_path, clock):
    folders = [tmp_path / "one", tmp_path / "two"]
    paths = [tmp_path / "one" / "deep" / "er" / "b.png", tmp_path / "two" / "a.tif"]
    for path in [*paths, tmp_path / "two" / "notes.txt", tmp_path / "two" / ".hidden.jpg"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    watch = FolderWatch(folders, clock=clock)
    watch.take_ready()
    assert watch.take_ready() == paths


def test_an_image_in_two_watched_folders_is_given_once(tmp_path, clock):
    path = tmp_path / "deep" / "a.jpg"
    path.parent.mkdir()
    path.write_bytes(b"x")
    watch = FolderWatch([tmp_path, tmp_path / "deep"], clock=clock)
    looks = [watch.take_ready() for _ in range(4)]
    path.write_bytes(b"changed")
    looks += [watch.take_ready() for _ in range(2)]
    assert looks == [[], [path], [], [], [], []]


def test_each_image_has_a_time_of_its_own(tmp_path, watch, clock):
    early, late = tmp_path / "a.jpg", tmp_path / "b.jpg"
    early.write_bytes(b"half")
    watch.take_ready()
    clock.now = 6
    late.write_bytes(b"half")
    assert watch.take_ready() == [early]
    assert watch.retry_later(early)
    clock.now = 12
    assert watch.take_ready() == [early, late]
    assert (watch.retry_later(early), watch.retry_later(late)) == (False, True)
    assert watch.take_ready() == [late]


def test_a_bad_image_whose_time_is_over_is_a_new_one_when_it_changes(tmp_path, watch, clock):
    path = tmp_path / "a.jpg"
    path.write_bytes(b"half")
    watch.take_ready()
    clock.now = 10
    assert watch.take_ready() == [path]
    assert not watch.retry_later(path)
    assert [watch.take_ready() for _ in range(2)] == [[], []]
    clock.now = 30
    path.write_bytes(b"more, and then for long nothing")
    assert [watch.take_ready() for _ in range(3)] == [[], [path], []]
    assert watch.retry_later(path)
    path.write_bytes(b"whole at last, after all this time")
    assert [watch.take_ready() for _ in range(3)] == [[], [path], []]


def test_one_whose_space_was_taken_first_waits_for_its_end(tmp_path, watch):
    path = tmp_path / "a.bmp"
    path.write_bytes(b"half" + bytes(1000))
    os.utime(path, (1000, 1000))
    looks = [watch.take_ready() for _ in range(3)]
    path.write_bytes(b"half" * 251)
    os.utime(path, (2000, 2000))
    looks += [watch.take_ready() for _ in range(3)]
    assert looks == [[], [], [], [], [path], []]


def test_one_that_really_ends_in_zeros_is_given_when_its_time_is_over(tmp_path, watch, clock):
    path = tmp_path / "black.bmp"
    path.write_bytes(b"BM" + bytes(1000))
    watch.take_ready()
    clock.now = 9.9
    assert watch.take_ready() == []
    clock.now = 10
    assert [watch.take_ready() for _ in range(2)] == [[path], []]


def test_a_folder_that_is_away_for_a_while_comes_back_with_its_images_known(tmp_path, clock):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    paths = [tmp_path / "in" / "a.jpg", tmp_path / "in" / "deep" / "b.jpg"]
    for path in paths:
        path.write_bytes(b"x")
    watch = FolderWatch([tmp_path / "in"], clock=clock)
    assert [watch.take_ready() for _ in range(2)] == [[], paths]
    (tmp_path / "in").rename(tmp_path / "away")
    assert [watch.take_ready() for _ in range(3)] == [[], [tmp_path / "in"], []]
    (tmp_path / "away" / "new.jpg").write_bytes(b"x")
    (tmp_path / "away").rename(tmp_path / "in")
    assert [watch.take_ready() for _ in range(3)] == [[], [tmp_path / "in" / "new.jpg"], []]


def test_a_linked_folder_whose_disk_is_away_for_a_while_comes_back_with_its_images_known(tmp_path, clock, link):
    (tmp_path / "watched").mkdir()
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.jpg").write_bytes(b"x")
    link(tmp_path / "watched" / "site", tmp_path / "disk")
    watch = FolderWatch([tmp_path / "watched"], patience_s=10, clock=clock)
    assert [watch.take_ready() for _ in range(2)] == [[], [tmp_path / "watched" / "site" / "a.jpg"]]
    (tmp_path / "disk").rename(tmp_path / "unmounted")
    assert [watch.take_ready() for _ in range(2)] == [[], [tmp_path / "watched" / "site"]]
    (tmp_path / "unmounted").rename(tmp_path / "disk")
    assert [watch.take_ready() for _ in range(3)] == [[], [], []]


def test_a_link_that_leads_nowhere_is_given_like_a_bad_image(tmp_path, watch, link):
    path = tmp_path / "a.jpg"
    link(path, tmp_path / "nowhere.jpg")
    assert watch.take_ready() == []
    assert watch.take_ready() == [path]
    assert watch.retry_later(path)
    (tmp_path / "nowhere.jpg").write_bytes(b"there at last")
    assert watch.take_ready() == []
    assert watch.take_ready() == [path, tmp_path / "nowhere.jpg"]


def test_a_folder_that_vanishes_is_named_as_one_that_can_not_be_listed_and_the_rest_goes_on(tmp_path, clock):
    (tmp_path / "here").mkdir()
    watch = FolderWatch([tmp_path / "gone", tmp_path / "here"], clock=clock)
    watch.take_ready()
    (tmp_path / "here" / "a.jpg").write_bytes(b"x")
    assert watch.take_ready() == [tmp_path / "gone"]
    assert watch.take_ready() == [tmp_path / "here" / "a.jpg"]
