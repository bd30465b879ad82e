"""``overfly predict --watch``: what arrives is classified once, when it is complete."""

import json
import queue
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ends the command with the signal of Ctrl-C")

WAIT_S = 30


@pytest.fixture
def good(tiny_data):
    return min((tiny_data / "harbor").iterdir())


class Watched:
    """A running command whose lines can be waited for."""

    def __init__(self, process):
        self.process = process
        self._lines = queue.Queue()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._lines.put(json.loads(line))

    def next(self):
        """Return the next answer as (name, what was said of it)."""
        answer = self._lines.get(timeout=WAIT_S)
        return Path(answer["path"]).name, answer

    def interrupt(self):
        """Do what Ctrl-C does; return what `end` does."""
        self.process.send_signal(signal.SIGINT)
        return self.end()

    def end(self):
        """Wait for the end; return the exit code, the names that were not asked for, and what stood on stderr."""
        code = self.process.wait(timeout=WAIT_S)
        self._reader.join()
        names = [self.next()[0] for _ in range(self._lines.qsize())]
        self.process.stdout.close()
        with self.process.stderr as stream:
            # The first line says what it runs on.
            return code, names, "".join(stream.readlines()[1:])


@pytest.fixture
def watch(start, tiny_bundle, tmp_path):
    """A function that starts to watch the test's own folder."""
    (tmp_path / "in").mkdir()

    def call(*arguments):
        return Watched(
            start("predict", tiny_bundle, tmp_path / "in", "--watch", "--device", "CPU", "--json", *arguments)
        )

    return call


def test_what_is_there_and_what_arrives_is_classified_once(watch, tmp_path, good):
    folder = tmp_path / "in"
    shutil.copy(good, folder / "before.jpg")
    watched = watch()
    assert watched.next()[0] == "before.jpg"
    (folder / "deep").mkdir()
    shutil.copy(good, folder / "deep" / "after.jpg")
    (folder / "notes.txt").write_text("no picture")
    name, answer = watched.next()
    assert name == "after.jpg"
    assert 0 < answer["probability"] <= 1
    time.sleep(2.5)
    assert watched.interrupt() == (130, [], "overfly: interrupted\n")


def test_a_half_written_picture_waits_and_one_that_is_renamed_into_place_does_not(watch, tmp_path, good):
    folder, content = tmp_path / "in", good.read_bytes()
    watched = watch()
    with (folder / "slow.jpg").open("wb") as stream:
        stream.write(content[: len(content) // 2])
        stream.flush()
        time.sleep(3.5)  # longer than it takes to look unchanged
        shutil.copy(good, tmp_path / "whole.jpg")
        (tmp_path / "whole.jpg").rename(folder / "whole.jpg")
        assert watched.next()[0] == "whole.jpg"
        stream.write(content[len(content) // 2 :])
    name, answer = watched.next()
    assert name == "slow.jpg"
    assert "label" in answer
    assert watched.interrupt() == (130, [], "overfly: interrupted\n")


@pytest.mark.slow
def test_a_picture_that_stays_broken_is_named_in_the_end(watch, tmp_path, good):
    folder = tmp_path / "in"
    (folder / "broken.jpg").write_bytes(good.read_bytes()[:1500])
    watched = watch("--strict")
    begin = time.monotonic()
    shutil.copy(good, folder / "good.jpg")
    assert watched.next()[0] == "good.jpg"
    name, answer = watched.next()
    assert name == "broken.jpg"
    assert "can't be decoded" in answer["error"]
    assert time.monotonic() - begin > 8
    code, names, err = watched.end()
    assert (code, names) == (1, [])
    assert len(err.splitlines()) == 1
    assert "can't be decoded" in err


def test_only_folders_can_be_watched(overfly, tiny_bundle, good):
    overfly("predict", tiny_bundle, good, "--watch").assert_misused("--watch needs folders", str(good))
