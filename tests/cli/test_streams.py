"""Text into a file or a pipe is UTF-8, and a reader that goes away is no error."""

import csv
import errno
import io
import json
import shutil
import sys
from pathlib import Path

import pytest

from overfly.cli.streams import is_reader_gone


def einval(*names):
    """Return the error that Windows gives for a pipe that nobody reads; with a file name it is another one."""
    return OSError(errno.EINVAL, "Invalid argument", *names)


class Gone(io.TextIOWrapper):
    """A stream that nobody reads on Windows."""

    def __init__(self, file):
        super().__init__(file, encoding="utf-8", write_through=True)

    def write(self, _):
        raise einval()

    def flush(self):
        pass


@pytest.mark.parametrize("encoding", ["cp1252", "cp437", "ascii", "utf-8"])
def test_names_in_a_pipe_can_be_read_back_whatever_the_code_page(start, tiny_bundle, tiny_data, tmp_path, encoding):
    path = tmp_path / "поле 日本" / "harbor.jpg"
    path.parent.mkdir()
    shutil.copy(min((tiny_data / "harbor").iterdir()), path)
    command = ("predict", tiny_bundle, path, tmp_path / "нет.jpg", "--device", "CPU", "--format", "csv")
    (tmp_path / "нет.jpg").write_bytes(b"")
    process = start(*command, PYTHONIOENCODING=encoding)
    out, err = process.communicate(timeout=300)
    rows = list(csv.DictReader(io.StringIO(out, newline="")))
    assert [row["path"] for row in rows] == [str(path), str(tmp_path / "нет.jpg")]
    assert str(tmp_path / "нет.jpg") in err.splitlines()[-1]


def test_only_windows_reports_a_gone_reader_as_einval(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    assert is_reader_gone(BrokenPipeError())
    assert not is_reader_gone(einval())
    monkeypatch.setattr(sys, "platform", "win32")
    assert is_reader_gone(BrokenPipeError())
    assert is_reader_gone(einval())
    assert not is_reader_gone(einval("a<b.jpg"))
    assert not is_reader_gone(OSError(errno.ENOSPC, "No space left on device"))


def test_a_gone_reader_of_the_answers_is_no_error(on_windows, fp32_bundle, tiny_data, tmp_path, monkeypatch):
    with (tmp_path / "pipe").open("wb") as file:
        monkeypatch.setattr(sys, "stdout", Gone(file))
        result = on_windows("predict", fp32_bundle[0], min((tiny_data / "harbor").iterdir()), "--device", "CPU", "-q")
        monkeypatch.undo()
    assert (result.code, result.err) == (0, "")


def test_a_gone_reader_of_the_notes_stops_nothing(on_windows, fp32_bundle, tiny_data, tmp_path, monkeypatch):
    good, bad = min((tiny_data / "harbor").iterdir()), tmp_path / "bad.jpg"
    bad.write_bytes(b"")
    with (tmp_path / "pipe").open("wb") as file:
        monkeypatch.setattr(sys, "stderr", Gone(file))
        answered = on_windows("predict", fp32_bundle[0], bad, good, "--device", "CPU", "--json", "-v")
        failed, misused = on_windows("predict", fp32_bundle[0], Path("no.jpg")), on_windows("predict")
        monkeypatch.undo()
    assert [json.loads(line)["path"] for line in answered.out.splitlines()] == [str(bad), str(good)]
    assert (answered.code, failed.code, misused.code) == (1, 1, 2)
