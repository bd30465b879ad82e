"""On a terminal, the bar and the answers keep out of each other's way."""

import os
import re
import shutil
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals of this kind")


def read_all(descriptor):
    """Return what was written to a pseudo-terminal until its last writer left."""
    chunks = []
    while True:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # Linux's way to say that no one is left
            chunk = b""
        if not chunk:
            os.close(descriptor)
            return b"".join(chunks).decode()
        chunks.append(chunk)


def on_terminal(arguments, *, stdout_too):
    """Run a command with standard error, and if asked standard output, on a terminal; return (screen, stdout)."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "overfly.cli", *map(str, arguments)],
        stdout=theirs if stdout_too else subprocess.PIPE,
        stderr=theirs,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"},
    )
    os.close(theirs)
    out = b""
    if process.stdout is not None:
        with process.stdout as stream:
            out = stream.read()
    screen = read_all(ours)
    assert process.wait() == 0, screen
    return screen, out.decode()


def visible_lines(screen):
    """Return what stood on a line at some moment, without the terminal's control sequences."""
    return [line.strip() for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "\r", screen))]


def test_every_answer_stands_on_a_line_of_its_own_with_the_bar_below(tiny_bundle, tiny_data):
    arguments = ("predict", tiny_bundle, *[tiny_data] * 3, "--device", "CPU", "--json")
    plain = subprocess.run(
        [sys.executable, "-m", "overfly.cli", *map(str, arguments)], capture_output=True, text=True, check=True
    )
    screen, _ = on_terminal(arguments, stdout_too=True)
    lines = visible_lines(screen)
    assert any("classifying" in line for line in lines)
    answers = [line for line in lines if line.startswith("{")]
    assert answers == plain.stdout.splitlines()


def test_answers_in_a_file_are_free_of_the_bar_that_the_terminal_shows(tiny_bundle, tiny_data):
    arguments = ("predict", tiny_bundle, *[tiny_data] * 3, "--device", "CPU", "--format", "csv")
    screen, out = on_terminal(arguments, stdout_too=False)
    assert "classifying" in screen
    assert "/288" in screen
    assert "\x1b" not in out
    assert len(out.splitlines()) == 1 + 3 * 96


@pytest.mark.parametrize("stdout_too", [True, False])
@pytest.mark.parametrize("style", ["json", "csv", "table"])
def test_names_are_written_as_they_are(tiny_bundle, tiny_data, tmp_path, style, stdout_too):
    """rich would make a picture of a word between colons, and click take out what looks like a colour."""
    names = ["a:smile:.jpg", "b\ttab.jpg", "c[bold]d.jpg", "e\x1b[31mred.jpg"]
    for name in names:
        shutil.copy(min((tiny_data / "harbor").iterdir()), tmp_path / name)
    # The last stands after the bar has come.
    arguments = ("predict", tiny_bundle, tmp_path, "--device", "CPU", "--format", style)
    screen, out = on_terminal(arguments, stdout_too=stdout_too)
    written = screen.replace("\r\n", "\n") if stdout_too else out
    escaped = {"json": ("\\t", "\\u001b"), "csv": ("\t", "\x1b"), "table": ("\\t", "\\x1b")}[style]
    for name in names:
        assert name.replace("\t", escaped[0]).replace("\x1b", escaped[1]) in written
