"""On a terminal, the bar and the answers keep out of each other's way."""

import csv
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

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
    # Both at once: a terminal that no one reads is soon full, and the command waits.
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_all, ours)
        out = b"" if process.stdout is None else process.communicate()[0]
        screen = reading.result()
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
    """rich would make an image of a word between colons, and click take out what looks like a color."""
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


SMALL = ("--weights", "none", "--image-size", "32", "--device", "cpu", "--model", "shufflenet_v2_x1_0")


@pytest.mark.slow
@pytest.mark.parametrize("stdout_too", [True, False])
def test_a_training_is_a_table_above_its_bars_and_ends_with_the_whole_of_it(small_data, tmp_path, stdout_too):
    arguments = ("train", small_data, "--out", tmp_path / "run", *SMALL, "--epochs", 3)
    screen, out = on_terminal(arguments, stdout_too=stdout_too)
    lines = visible_lines(re.sub(r"\x1b\[[0-9;]*m", "", screen))  # the head is bold, word by word
    heads = [i for i, line in enumerate(lines) if line.split() == ["epoch", "loss", "images/s", "time", "left"]]
    # Drawn again whenever something moves; the last one stays.
    assert len(heads) > 1
    rows = [line.split() for line in lines[heads[-1] + 1 :] if " of 3 " in line]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    with (tmp_path / "run" / "history.csv").open(encoding="utf-8") as stream:
        history = list(csv.DictReader(stream))
    assert [row[3] for row in rows] == [f"{float(epoch['loss']):.4f}" for epoch in history]
    assert rows[-1][5:] == ["0", "s"]
    assert any("all epochs" in line for line in lines)
    assert any("epoch 1 of 3" in line for line in lines)
    assert f"run: {tmp_path / 'run'}" in (screen if stdout_too else out)
    assert "epoch" not in out
