"""``overfly predict --watch``: what arrives is classified once, when it is complete."""

import functools
import json
import queue
import shutil
import signal
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from overfly.cli import predict
from overfly.runtime.images import watch as watch_module

HANG_S = 300  # ends a test that hangs; what is waited for takes seconds, on a slow machine more


@pytest.fixture
def good(tiny_data):
    return min((tiny_data / "harbor").iterdir())


@pytest.fixture
def folder(tmp_path):
    """The folder that is watched."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.mark.skipif(sys.platform == "win32", reason="ends the command with the signal of Ctrl-C")
def test_what_is_there_and_what_arrives_is_written_at_once(start, tiny_bundle, folder, good):
    shutil.copy(good, folder / "before.jpg")
    process = start("predict", tiny_bundle, folder, "--watch", "--device", "CPU", "--json")
    lines = queue.Queue()
    reader = threading.Thread(target=lambda: [lines.put(line) for line in process.stdout])
    reader.start()
    assert json.loads(lines.get(timeout=HANG_S))["path"] == str(folder / "before.jpg")
    # Whole at once: if this process had to wait in the middle of a copy, the other one might look at a half.
    Path(shutil.copy(good, folder.with_name("after.jpg"))).rename(folder / "after.jpg")
    assert json.loads(lines.get(timeout=HANG_S))["path"] == str(folder / "after.jpg")
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=HANG_S) == 130
    reader.join()
    assert list(lines.queue) == []
    process.stdout.close()
    with process.stderr as stream:
        assert stream.readlines()[1:] == ["overfly: interrupted\n"]  # after what it runs on


@pytest.fixture
def watch(overfly, tiny_bundle, folder, monkeypatch):
    """A function that runs the command with a clock of its own; returns its outcome, the answers and the time it took.

    After each look it calls the next of `steps`. After the last one it does what Ctrl-C does.
    """

    def call(*steps, options=()):
        time_s = 0.0
        remaining = iter(steps)

        def sleep(seconds):
            nonlocal time_s
            time_s += seconds
            step = next(remaining, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        clocked = functools.partial(watch_module.FolderWatch, clock=lambda: time_s)
        monkeypatch.setattr(watch_module, "FolderWatch", clocked)
        monkeypatch.setattr(predict, "time", SimpleNamespace(sleep=sleep))
        done = overfly("predict", tiny_bundle, folder, "--watch", "--device", "CPU", "--json", *options)
        return done, [json.loads(line) for line in done.out.splitlines()], time_s

    return call


def nothing():
    """Let one look pass."""


def names(answers):
    return [Path(answer["path"]).name for answer in answers]


def test_each_image_is_classified_once(watch, folder, good):
    shutil.copy(good, folder / "before.jpg")

    def add():
        (folder / "deep").mkdir()
        shutil.copy(good, folder / "deep" / "after.jpg")
        (folder / "notes.txt").write_text("not an image")

    done, answers, _ = watch(nothing, nothing, add, *[nothing] * 5)
    assert names(answers) == ["before.jpg", "after.jpg"]
    assert all(0 < answer["probability"] <= 1 for answer in answers)
    assert done.code == 130


def test_a_half_written_image_waits_and_one_that_is_renamed_into_place_does_not(watch, folder, good):
    content = good.read_bytes()
    slow = (folder / "slow.jpg").open("wb", buffering=0)
    slow.write(content[: len(content) // 2])

    def add():
        Path(shutil.copy(good, folder.with_name("whole.jpg"))).rename(folder / "whole.jpg")

    def complete():
        slow.write(content[len(content) // 2 :])
        slow.close()

    # The half looks unchanged at the second look already.
    done, answers, time_s = watch(nothing, nothing, nothing, add, nothing, nothing, complete, nothing, nothing)
    assert names(answers) == ["whole.jpg", "slow.jpg"]
    assert all("label" in answer for answer in answers)
    assert time_s <= watch_module.PATIENCE_S
    assert (done.code, done.err.splitlines()[1:]) == (130, ["overfly: interrupted"])


def test_an_image_that_stays_broken_is_named_in_the_end(watch, folder, good):
    (folder / "broken.jpg").write_bytes(good.read_bytes()[:-400])
    shutil.copy(good, folder / "good.jpg")
    done, answers, time_s = watch(*[nothing] * 60, options=["--strict"])
    assert names(answers) == ["good.jpg", "broken.jpg"]
    assert str(folder / "broken.jpg") in answers[1]["error"]
    assert watch_module.PATIENCE_S <= time_s < 60
    assert done.code == 1
    (sentence,) = done.err.splitlines()[1:]
    assert str(folder / "broken.jpg") in sentence


def test_only_folders_can_be_watched(overfly, tiny_bundle, good):
    overfly("predict", tiny_bundle, good, "--watch").assert_misused("--watch", str(good))
