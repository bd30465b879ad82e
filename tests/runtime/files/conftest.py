"""Fixtures for the tests of files: an old result, and a process that is killed."""

import subprocess
import sys

import pytest


@pytest.fixture
def old(tmp_path):
    """A folder with an old result in it."""
    path = tmp_path / "out"
    path.mkdir()
    (path / "result.txt").write_text("old", encoding="utf-8")
    return path


@pytest.fixture
def kill_when_ready():
    """A function that runs a script in another process and kills that when it prints ``ready``."""

    def call(script, *arguments):
        command = [sys.executable, "-c", script, *map(str, arguments)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout.readline() == "ready\n"
            child.kill()
        assert child.returncode != 0

    return call


@pytest.fixture
def names():
    """A function that returns the names in a folder, sorted."""
    return lambda folder: sorted(path.name for path in folder.iterdir())
