"""A download resumes after a lost connection, and a wrong file leaves nothing behind."""

import errno
import hashlib
import http.client
import http.server
import io
import os
import re
import signal
import sys
import threading
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from overfly.runtime.errors import DownloadError, OutputError
from overfly.runtime.reporter import Reporter
from overfly.training.data.archives import Archive
from overfly.training.data.dataset import scan
from overfly.training.data.download import fetch


def zipped(contents):
    """Return the bytes of a zip file; `contents` maps names to bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as opened:
        for name, content in contents.items():
            opened.writestr(name, content)
    return stream.getvalue()


RNG = np.random.default_rng(0)
FILES = {f"Set/Images/{kind}/{kind}{i}.tif": RNG.bytes(20_000) for kind in ("beach", "harbor") for i in range(3)}
CONTENT = zipped({"Set/readme.txt": b"of the set", **FILES})


@dataclass
class Server:
    """What a test server sends, and the ranges that were requested of it."""

    url: str = ""
    content: bytes = CONTENT
    # After how many bytes each response is cut; once the list is empty, none is.
    cuts: list[int] = field(default_factory=list)
    takes_ranges: bool = True
    sends_length: bool = True
    # Sent instead of the true length.
    length: str | None = None
    status: int | None = None
    # How many bytes before the requested byte a resumed response begins.
    too_early: int = 0
    requested: list[str] = field(default_factory=list)


@pytest.fixture
def server():
    """A server on this machine that behaves as its attributes say."""
    behavior = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            behavior.requested.append(self.headers["Range"])
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if behavior.takes_ranges else 0
            start -= behavior.too_early if start else 0
            body = behavior.content[start:]
            self.send_response(behavior.status or (206 if behavior.takes_ranges else 200))
            if behavior.takes_ranges:
                self.send_header("Content-Range", f"bytes {start}-{len(behavior.content) - 1}/{len(behavior.content)}")
            if behavior.sends_length:
                self.send_header("Content-Length", behavior.length or str(len(body)))
            self.end_headers()
            self.wfile.write(body[: behavior.cuts.pop(0)] if behavior.cuts else body)

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        behavior.url = f"http://127.0.0.1:{running.server_port}/set.zip"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield behavior
        running.shutdown()
        thread.join()


@pytest.fixture
def archive(server):
    """The archive that the server is expected to have."""
    return Archive(
        url=server.url,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size_bytes=len(CONTENT),
        images="Set/Images",
        summary="a test",
    )


def assert_whole(folder, tmp_path):
    """All files are there with their content, and nothing else is left in the test's folder."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {"Set/readme.txt": b"of the set", **FILES}
    assert list(tmp_path.iterdir()) == [folder]


def test_the_archive_is_unpacked_into_a_folder_to_train_on(server, archive, tmp_path):
    images = fetch(archive, tmp_path / "data")
    assert images == tmp_path / "data" / "Set" / "Images"
    assert scan(images).classes == ("beach", "harbor")
    assert_whole(tmp_path / "data", tmp_path)
    assert server.requested == ["bytes=0-"]


class LastProgress(Reporter):
    """Keeps the last progress of each stage, and raises KeyboardInterrupt at one step of one stage."""

    def __init__(self, interrupt=None):
        self.stages = {}
        self.interrupt = interrupt

    def progress(self, stage, done, total):
        self.stages[stage] = (done, total)
        if (stage, done) == self.interrupt:
            raise KeyboardInterrupt


def test_progress_is_reported_to_the_end(archive, tmp_path):
    reporter = LastProgress()
    fetch(archive, tmp_path / "data", reporter=reporter)
    assert reporter.stages == {"downloading (MiB)": (0, 0), "unpacking": (7, 7)}


@pytest.mark.parametrize("sends_length", [True, False])
def test_a_lost_connection_is_resumed(server, archive, tmp_path, sends_length):
    server.sends_length = sends_length
    server.cuts = [50_000, 1, 30_000]
    fetch(archive, tmp_path / "data")
    assert server.requested == ["bytes=0-", "bytes=50000-", "bytes=50001-", "bytes=80001-"]
    assert_whole(tmp_path / "data", tmp_path)


def test_a_server_that_cannot_resume_sends_all_of_it_again(server, archive, tmp_path):
    server.cuts = [50_000, 60_000]
    server.takes_ranges = False
    fetch(archive, tmp_path / "data")
    assert server.requested == ["bytes=0-", "bytes=50000-", "bytes=60000-"]
    assert_whole(tmp_path / "data", tmp_path)


def test_another_part_than_requested_is_not_appended(server, archive, tmp_path):
    server.cuts = [50_000]
    server.too_early = 10_000
    server.sends_length = False
    with pytest.raises(DownloadError, match="another part than requested"):
        fetch(archive, tmp_path / "data")
    assert (tmp_path / "data.zip.part").read_bytes() == CONTENT[:50_000]
    server.too_early = 0
    fetch(archive, tmp_path / "data")
    assert_whole(tmp_path / "data", tmp_path)


def test_when_nothing_more_arrives_it_stops_and_the_next_call_resumes(server, archive, tmp_path):
    server.cuts = [50_000, 0]
    with pytest.raises(DownloadError) as caught:
        fetch(archive, tmp_path / "data")
    assert re.sub(r"\(.*\)", "(reason)", str(caught.value)) == (
        f"{server.url} can't be downloaded (reason), stopped at 50,000 of {len(CONTENT):,} bytes: run the same command "
        "again to resume, or give another URL of the same file with --url"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.part"]
    fetch(archive, tmp_path / "data")
    assert server.requested[-1] == "bytes=50000-"
    assert_whole(tmp_path / "data", tmp_path)


def test_an_interrupted_download_resumes(archive, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fetch(archive, tmp_path / "data", reporter=LastProgress(interrupt=("downloading (MiB)", 0)))
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.part"]
    held = (tmp_path / "data.zip.part").stat().st_size
    assert held > 0
    fetch(archive, tmp_path / "data")
    assert_whole(tmp_path / "data", tmp_path)


def test_an_interrupted_unpacking_leaves_no_folder_and_is_not_downloaded_again(server, archive, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fetch(archive, tmp_path / "data", reporter=LastProgress(interrupt=("unpacking", 3)))
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.part"]
    fetch(archive, tmp_path / "data")
    assert server.requested == ["bytes=0-"]
    assert_whole(tmp_path / "data", tmp_path)


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_server_without_the_file_is_named_with_its_reason(server, archive, tmp_path, status):
    server.status = status
    with pytest.raises(DownloadError) as caught:
        fetch(archive, tmp_path / "data")
    assert server.url in str(caught.value)
    assert http.HTTPStatus(status).phrase in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_no_server_at_all(archive, tmp_path):
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:1/set.zip"):
        fetch(replace(archive, url="http://127.0.0.1:1/set.zip"), tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sends_length", [True, False])
def test_a_wrong_file_of_the_same_size_is_deleted(server, archive, tmp_path, sends_length):
    server.sends_length = sends_length
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError) as caught:
        fetch(archive, tmp_path / "data")
    assert str(caught.value) == (
        f"{server.url} is another file: found SHA-256 {hashlib.sha256(server.content).hexdigest()}, expected "
        f"{archive.sha256}; the download was deleted: try again, or give a URL of the original file with --url"
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extra", [-10, 10])
def test_a_file_of_another_size_is_rejected_before_it_is_downloaded(server, archive, tmp_path, extra):
    server.content = CONTENT[:extra] if extra < 0 else CONTENT + bytes(extra)
    with pytest.raises(DownloadError) as caught:
        fetch(archive, tmp_path / "data")
    assert str(caught.value) == (
        f"{server.url} is another file: found {len(CONTENT) + extra:,} bytes, expected {len(CONTENT):,}; "
        "give a URL of the original file with --url"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_never_ends_does_not_fill_the_disk(server, archive, tmp_path):
    server.sends_length = False
    server.content = CONTENT + bytes(10_000_000)
    fetch(archive, tmp_path / "data")
    assert_whole(tmp_path / "data", tmp_path)


def test_an_existing_folder_is_rejected_before_anything_is_requested(server, archive, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="data"):
        fetch(archive, tmp_path / "data")
    assert server.requested == []
    fetch(archive, tmp_path / "data", overwrite=True)
    assert_whole(tmp_path / "data", tmp_path)


def fail(*_arguments, **_options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_a_download_that_can_be_resumed(server, archive, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", fail)
        with pytest.raises(OutputError) as caught:
            fetch(archive, tmp_path / "data")
    assert str(caught.value) == (
        f"can't write {tmp_path / 'data'}: No space left on device; the download so far is kept in "
        f"{tmp_path / 'data.zip.part'}: check the path, the permissions and the free disk space, then run the same "
        "command again to resume"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.part"]
    fetch(archive, tmp_path / "data")
    assert server.requested == ["bytes=0-"]


def test_a_folder_that_cannot_be_made_is_named_without_a_download(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", fail)
    with pytest.raises(OutputError) as caught:
        fetch(archive, tmp_path / "data")
    assert f"{tmp_path / 'data'}: No space left on device" in str(caught.value)
    assert "data.zip.part" not in str(caught.value)


@pytest.mark.parametrize("error", [OSError(errno.ENETUNREACH, "Network is unreachable"), TimeoutError("timed out")])
def test_a_network_that_fails_while_reading_is_not_an_error_of_the_disk(archive, tmp_path, monkeypatch, error):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(http.client.HTTPResponse, "read", fail)
    with pytest.raises(DownloadError, match=re.escape(str(error))):
        fetch(archive, tmp_path / "data")


@pytest.mark.skipif(sys.platform == "win32", reason="only POSIX can limit the size of files")
def test_a_disk_that_fills_up_during_the_download_keeps_what_arrived(server, archive, tmp_path):
    import resource

    # Files of this process can't grow larger: writing fails as on a full disk.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match=r"data\.zip\.part"):
            fetch(archive, tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "data.zip.part").read_bytes() == CONTENT[:50_000]
    fetch(archive, tmp_path / "data")
    assert server.requested == ["bytes=0-", "bytes=50000-"]
    assert_whole(tmp_path / "data", tmp_path)


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/é.zip", "http://[::1/set.zip"])
def test_an_invalid_url_is_named(archive, tmp_path, url):
    with pytest.raises(DownloadError, match=rf"^{re.escape(url)} "):
        fetch(replace(archive, url=url), tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", ["much", f"{len(CONTENT)}, {len(CONTENT)}", "-1"])
def test_a_length_that_is_not_a_number_is_ignored(server, archive, tmp_path, length):
    server.length = length
    fetch(archive, tmp_path / "data")
    assert_whole(tmp_path / "data", tmp_path)


def test_what_a_killed_unpacking_left_is_deleted(archive, tmp_path):
    (tmp_path / ".data.0123456789abcdef.part" / "Set").mkdir(parents=True)
    others = {".other.0123456789abcdef.part", ".data.v2.0123456789abcdef.part", ".data.notes.part"}
    for name in others:
        (tmp_path / name).mkdir()
    fetch(archive, tmp_path / "data")
    assert {path.name for path in tmp_path.iterdir()} == others | {"data"}


def test_the_topmost_folder_is_rejected(archive):
    with pytest.raises(OutputError, match=re.escape(str(Path("/")))):
        fetch(archive, Path("/"), overwrite=True)


def test_the_machine_stays_awake_during_a_download(tmp_path, monkeypatch, kept_awake):
    awake = kept_awake("overfly.training.data.download")

    def interrupt(*_):
        assert awake
        raise KeyboardInterrupt

    monkeypatch.setattr("overfly.training.data.download._download", interrupt)
    archive = Archive(url="http://localhost", sha256="", size_bytes=1, images="Set/Images", summary="")
    with pytest.raises(KeyboardInterrupt):
        fetch(archive, tmp_path / "set")
    assert not awake
