"""Text into a file or a pipe is UTF-8, and a reader that goes away is no error."""

import csv
import errno
import io
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from overfly.cli import streams
from overfly.cli.streams import ReaderGoneError, prepare_streams


class Gone(io.TextIOWrapper):
    """A stream that nobody reads."""

    def __init__(self, file):
        super().__init__(file, encoding="utf-8", write_through=True)

    def write(self, _):
        raise ReaderGoneError

    def flush(self):
        pass


@pytest.mark.parametrize(
    "encoding", ["cp437", *(pytest.param(e, marks=pytest.mark.slow) for e in ("ascii", "cp1252", "utf-8"))]
)
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


@pytest.fixture
def in_locale_c():
    """A function that runs a command as a service in the locale C does, and returns both streams as bytes."""
    if sys.platform in {"win32", "darwin"}:
        pytest.skip("file names are text on this system")

    def call(*arguments):
        environment = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": "C"}
        environment.pop("PYTHONIOENCODING", None)
        command = [sys.executable, "-m", "overfly.cli", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, env=environment, check=False)

    return call


@pytest.fixture
def named_images(tiny_data, tmp_path):
    """A folder with two images, whose path is UTF-8, and whose second image has a name that is not."""
    folder = tmp_path / "поле"
    folder.mkdir()
    for name, image in zip(["a ключ.jpg", "b caf\udce9.jpg"], sorted((tiny_data / "harbor").iterdir()), strict=False):
        shutil.copy(image, folder / name)
    return folder


def test_the_locale_c_writes_the_true_bytes_of_names(in_locale_c, fp32_bundle, named_images, tmp_path):
    (named_images / "нет.jpg").touch()
    done = in_locale_c("predict", fp32_bundle[0], named_images, "--device", "CPU", "--format", "csv")
    (tmp_path / "out.csv").write_bytes(done.stdout)
    with (tmp_path / "out.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as stream:
        paths = [Path(row["path"]) for row in csv.DictReader(stream)]
    assert paths == sorted(named_images.iterdir())
    assert all(path.exists() for path in paths)
    assert str(named_images / "нет.jpg").encode() in done.stderr
    table = in_locale_c("predict", fp32_bundle[0], named_images, "--device", "CPU").stdout
    assert str(named_images / "a ключ.jpg").encode() in table
    assert f"{named_images}/b caf".encode() in table


def test_json_in_the_locale_c_has_names_as_text(in_locale_c, fp32_bundle, named_images):
    done = in_locale_c("predict", fp32_bundle[0], named_images, "--device", "CPU", "--json")
    assert [json.loads(line)["path"] for line in done.stdout.splitlines()] == [
        str(path) for path in sorted(named_images.iterdir())
    ]


@pytest.mark.slow
def test_classes_and_files_have_their_names_in_the_locale_c(in_locale_c, small_data, tmp_path, briefly):
    data = small_data.rename(tmp_path / "данные")
    (data / "water").rename(data / "вода")
    (data / "вода" / "water0.png").rename(data / "вода" / "caf\udce9.png")
    (data / "вода" / "water1.png").rename(data / "вода" / "ключ.png")
    done = in_locale_c("train", data, "--out", tmp_path / "run", *briefly)
    assert done.returncode == 0, done.stderr
    run = tmp_path / "run"
    record, split = (json.loads((run / name).read_text(encoding="utf-8")) for name in ("run.json", "split.json"))
    assert record["classes"] == ["field", "вода"]
    assert record["data"] == str(data)
    assert {file["name"] for file in split["files"]} >= {"вода/caf\udce9.png", "вода/ключ.png"}
    # The next command may run in another locale.
    assert all((data / file["name"]).exists() for file in split["files"])
    same = in_locale_c("train", data, "--out", tmp_path / "again", *briefly, "--split", run / "split.json")
    assert same.returncode == 0, same.stderr


@contextmanager
def standard_output(stream):
    """Make a stream the standard output of this process, prepared as at the start of the program."""
    with pytest.MonkeyPatch.context() as patch, stream:
        patch.setattr(sys, "stdout", stream)
        prepare_streams()
        yield
        # What is left to write must go somewhere when the stream is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@pytest.fixture
def interrupt_signal():
    """A signal that does in this process what Ctrl-C does."""
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    yield signal.SIGALRM
    signal.signal(signal.SIGALRM, previous)


def test_a_stream_says_that_its_reader_is_gone():
    reader, writer = os.pipe()
    with standard_output(os.fdopen(writer, "w", encoding="utf-8")):
        sys.stdout.write("read")
        sys.stdout.flush()
        assert os.read(reader, 9) == b"read"
        os.close(reader)
        sys.stdout.write("unread")
        with pytest.raises(ReaderGoneError):
            sys.stdout.flush()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux makes a pipe as small as needed")
def test_an_interrupt_in_the_middle_of_a_write_repeats_nothing(interrupt_signal):
    import fcntl

    reader, writer = os.pipe()
    capacity = fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, select.PIPE_BUF)
    # The pipe takes a part of it, the stream's buffer the whole.
    text = "".join(f"{number:08}" for number in range((capacity + io.DEFAULT_BUFFER_SIZE) // 2 // 8))
    if capacity >= io.DEFAULT_BUFFER_SIZE:
        pytest.skip("the smallest pipe of this kernel holds a whole buffer")
    main = threading.get_ident()

    def interrupt_and_read():
        select.select([reader], [], [])
        signal.pthread_kill(main, interrupt_signal)
        with os.fdopen(reader, encoding="utf-8") as stream:
            return stream.read()

    with ThreadPoolExecutor() as threads:
        received = threads.submit(interrupt_and_read)
        with standard_output(os.fdopen(writer, "w", encoding="utf-8")):
            sys.stdout.write(text)
            with pytest.raises(KeyboardInterrupt):
                sys.stdout.flush()
            sys.stdout.flush()
        assert received.result() == text


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_no_gone_reader():
    with standard_output(Path("/dev/full").open("w", encoding="utf-8")):
        sys.stdout.write("lost")
        with pytest.raises(OSError, match="No space left") as caught:
            sys.stdout.flush()
    assert caught.type is OSError


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("stream", "arguments", "code", "said"),
    [
        ("stdout", ["--version"], 1, "overfly: No space left on device; "),
        ("stderr", ["--version", "-v"], 0, "overfly 0"),
        ("stderr", ["check", "no bundle"], 1, ""),
        ("stderr", ["check", "--no-option"], 2, ""),
    ],
)
def test_a_full_disk_is_one_sentence_and_an_exit_code(stream, arguments, code, said, unbuffered):
    with Path("/dev/full").open("w", encoding="utf-8") as full:
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, stream: full}
        command = [sys.executable, "-m", "overfly.cli", *arguments]
        environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
        done = subprocess.run(command, **streams, env=environment, encoding="utf-8", check=False)
    written = done.stdout or done.stderr or ""
    assert (done.returncode, len(written.splitlines())) == (code, int(said != ""))
    assert written.startswith(said)


def test_only_windows_reports_a_gone_reader_as_einval(monkeypatch):
    invalid = OSError(errno.EINVAL, "Invalid argument")
    monkeypatch.setattr(sys, "platform", "linux")
    assert streams._means_reader_gone(BrokenPipeError())
    assert not streams._means_reader_gone(invalid)
    monkeypatch.setattr(sys, "platform", "win32")
    assert streams._means_reader_gone(invalid)


@pytest.mark.parametrize("error", [OSError(errno.EINVAL, "Invalid argument"), BrokenPipeError(errno.EPIPE, "gone")])
def test_an_error_that_looks_like_a_gone_reader_but_comes_from_elsewhere_is_told(
    on_windows, tiny_data, tmp_path, monkeypatch, error
):
    """Windows gives EINVAL for a file on a network drive, or of OneDrive, that can't be reached any more."""

    def fail(_path):
        raise error

    monkeypatch.setattr("overfly.training.data.dataset.sha256_file", fail)
    result = on_windows("train", tiny_data, "--out", tmp_path / "run")
    assert result.code == 1
    assert error.strerror in result.err


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
