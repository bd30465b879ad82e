"""A data set comes through cut connections; a wrong file or a hostile archive leaves nothing behind."""

import errno
import hashlib
import http.client
import http.server
import io
import os
import re
import signal
import stat
import sys
import threading
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from overfly.cli.fetch import NAMES
from overfly.runtime.errors import DownloadError, OutputError
from overfly.runtime.reporter import Reporter
from overfly.training.data.dataset import scan
from overfly.training.data.download import ARCHIVES, Archive, fetch


def zipped(contents):
    """Return the bytes of a zip file; `contents` maps names, or ZipInfos, to bytes."""
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
    """What is served, how, and what was asked for."""

    url: str = ""
    content: bytes = CONTENT
    # After how many bytes each answer is cut; at its end, and when it is over, nothing is cut.
    cuts: list[int] = field(default_factory=list)
    takes_ranges: bool = True
    tells_length: bool = True
    # What it says instead of the length.
    length: str | None = None
    status: int | None = None
    # How many bytes before the part that was asked for the part begins that is sent.
    too_early: int = 0
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def server():
    """A server on this machine that does as told."""
    told = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            told.asked.append(self.headers["Range"])
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-")) if told.takes_ranges else 0
            start -= told.too_early if start else 0
            body = told.content[start:]
            self.send_response(told.status or (206 if told.takes_ranges else 200))
            if told.takes_ranges:
                self.send_header("Content-Range", f"bytes {start}-{len(told.content) - 1}/{len(told.content)}")
            if told.tells_length:
                self.send_header("Content-Length", told.length or str(len(body)))
            self.end_headers()
            self.wfile.write(body[: told.cuts.pop(0)] if told.cuts else body)

        def log_message(self, *_arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        told.url = f"http://127.0.0.1:{running.server_port}/set.zip"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield told
        running.shutdown()
        thread.join()


@pytest.fixture
def archive(server):
    """The archive that the server is expected to have."""
    return archive_of(server, CONTENT)


def archive_of(server, content):
    server.content = content
    return Archive(server.url, hashlib.sha256(content).hexdigest(), len(content), "Set/Images")


def assert_whole(folder, tmp_path):
    """All files are there with their content, and nothing else is left in the test's folder."""
    found = {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert found == {"Set/readme.txt": b"of the set", **FILES}
    assert list(tmp_path.iterdir()) == [folder]


def test_what_is_served_is_unpacked_and_can_be_trained_on(server, archive, tmp_path):
    images = fetch(archive, tmp_path / "data")
    assert images == tmp_path / "data" / "Set" / "Images"
    assert scan(images).classes == ("beach", "harbor")
    assert_whole(tmp_path / "data", tmp_path)
    assert server.asked == ["bytes=0-"]


class Told(Reporter):
    """Keeps the last that was told of each stage, and is interrupted when a stage comes to a certain part."""

    def __init__(self, interrupt=None):
        self.stages = {}
        self.interrupt = interrupt

    def progress(self, stage, done, total):
        self.stages[stage] = (done, total)
        if (stage, done) == self.interrupt:
            raise KeyboardInterrupt


def test_progress_is_told_to_the_end(archive, tmp_path):
    told = Told()
    fetch(archive, tmp_path / "data", reporter=told)
    assert told.stages == {"downloading (MiB)": (0, 0), "unpacking": (7, 7)}


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_connection_that_is_cut_goes_on_where_it_was(server, archive, tmp_path, tells_length):
    server.tells_length = tells_length
    server.cuts = [50_000, 1, 30_000]
    fetch(archive, tmp_path / "data")
    assert server.asked == ["bytes=0-", "bytes=50000-", "bytes=50001-", "bytes=80001-"]
    assert_whole(tmp_path / "data", tmp_path)


def test_a_server_that_can_not_go_on_is_asked_for_all_of_it(server, archive, tmp_path):
    server.cuts = [50_000, 60_000]
    server.takes_ranges = False
    fetch(archive, tmp_path / "data")
    assert server.asked == ["bytes=0-", "bytes=50000-", "bytes=60000-"]
    assert_whole(tmp_path / "data", tmp_path)


def test_another_part_than_was_asked_for_is_not_appended(server, archive, tmp_path):
    server.cuts = [50_000]
    server.too_early = 10_000
    server.tells_length = False
    with pytest.raises(DownloadError, match=r"another part than it was asked for\), at 50,000 of .* to go on"):
        fetch(archive, tmp_path / "data")
    assert (tmp_path / "data.zip.part").read_bytes() == CONTENT[:50_000]
    server.too_early = 0
    fetch(archive, tmp_path / "data")
    assert_whole(tmp_path / "data", tmp_path)


def test_where_nothing_more_comes_it_stops_and_the_next_call_goes_on(server, archive, tmp_path):
    server.cuts = [50_000, 0]
    with pytest.raises(DownloadError) as caught:
        fetch(archive, tmp_path / "data")
    assert str(caught.value).startswith(f"{server.url} can't be downloaded (")
    assert f"at 50,000 of {len(CONTENT):,} bytes: run the same command again to go on" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.part"]
    fetch(archive, tmp_path / "data")
    assert server.asked[-1] == "bytes=50000-"
    assert_whole(tmp_path / "data", tmp_path)


def test_an_interrupted_download_goes_on(archive, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fetch(archive, tmp_path / "data", reporter=Told(interrupt=("downloading (MiB)", 0)))
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.part"]
    held = (tmp_path / "data.zip.part").stat().st_size
    assert held > 0
    fetch(archive, tmp_path / "data")
    assert_whole(tmp_path / "data", tmp_path)


def test_an_interrupted_unpacking_leaves_no_folder_and_is_not_downloaded_again(server, archive, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        fetch(archive, tmp_path / "data", reporter=Told(interrupt=("unpacking", 3)))
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.part"]
    fetch(archive, tmp_path / "data")
    assert server.asked == ["bytes=0-"]
    assert_whole(tmp_path / "data", tmp_path)


@pytest.mark.parametrize("status", [404, 403, 500])
def test_a_server_without_the_file_is_named_with_what_it_said(server, archive, tmp_path, status):
    server.status = status
    said = http.HTTPStatus(status).phrase
    with pytest.raises(DownloadError, match=rf"can't be downloaded \({said}\), at 0 of .* with --url"):
        fetch(archive, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_no_server_at_all(archive, tmp_path):
    with pytest.raises(DownloadError, match=r"http://127.0.0.1:1/set.zip can't be downloaded \(.*refused"):
        fetch(replace(archive, url="http://127.0.0.1:1/set.zip"), tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_wrong_file_of_the_same_size_is_deleted_and_both_hashes_told(server, archive, tmp_path, tells_length):
    server.tells_length = tells_length
    server.content = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError, match="is another file") as caught:
        fetch(archive, tmp_path / "data")
    for digest in (archive.sha256, hashlib.sha256(server.content).hexdigest()):
        assert digest in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extra", [-10, 10])
def test_a_file_of_another_size_is_refused_before_it_is_downloaded(server, archive, tmp_path, extra):
    server.content = CONTENT[:extra] if extra < 0 else CONTENT + bytes(extra)
    with pytest.raises(DownloadError, match=f"found {len(CONTENT) + extra:,} bytes, expected {len(CONTENT):,}"):
        fetch(archive, tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_never_ends_fills_no_disk(server, archive, tmp_path):
    server.tells_length = False
    server.content = CONTENT + bytes(10_000_000)
    fetch(archive, tmp_path / "data")
    assert_whole(tmp_path / "data", tmp_path)


def link_entry():
    entry = zipfile.ZipInfo("Set/Images/beach/link")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


@pytest.mark.parametrize(
    "entry",
    ["../evil.txt", "Set/../../evil.txt", "/tmp/evil.txt", "..\\evil.txt", "C:/evil.txt", "C:evil.txt", link_entry()],  # noqa: S108
    ids=lambda entry: getattr(entry, "filename", entry),
)
def test_an_archive_that_leads_out_is_refused_whole(server, tmp_path, entry):
    archive = archive_of(server, zipped({**FILES, entry: b"/etc"}))
    (tmp_path / "place").mkdir()
    with pytest.raises(DownloadError, match="may lead out of the folder: nothing was unpacked"):
        fetch(archive, tmp_path / "place" / "data")
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "data.zip.part"]


@pytest.mark.parametrize("content", [b"no zip at all", CONTENT[:-500], zipped({"Other/readme.txt": b""})])
def test_an_archive_that_is_none_or_another_one(server, tmp_path, content):
    with pytest.raises(DownloadError, match=r"set\.zip (can't be unpacked|holds no folder Set/Images)"):
        fetch(archive_of(server, content), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_what_is_there_is_refused_before_anything_is_asked_for(server, archive, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists already"):
        fetch(archive, tmp_path / "data")
    assert server.asked == []
    fetch(archive, tmp_path / "data", overwrite=True)
    assert_whole(tmp_path / "data", tmp_path)


def refuse(*_arguments, **_options):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_leaves_what_can_be_gone_on_with(server, archive, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "extract", refuse)
        with pytest.raises(OutputError, match="data: No space left on device; what was downloaded") as caught:
            fetch(archive, tmp_path / "data")
    assert str(tmp_path / "data.zip.part") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["data.zip.part"]
    fetch(archive, tmp_path / "data")
    assert server.asked == ["bytes=0-"]


def test_a_place_that_can_not_be_made_is_named_and_nothing_is_said_of_a_download(archive, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(OutputError, match=r"can't write .*data: No space left on device; check the path, the rights"):
        fetch(archive, tmp_path / "data")


@pytest.mark.parametrize("error", [OSError(errno.ENETUNREACH, "Network is unreachable"), TimeoutError("timed out")])
def test_a_network_that_goes_away_while_reading_is_no_matter_of_the_disk(archive, tmp_path, monkeypatch, error):
    def fail(*_arguments):
        raise error

    monkeypatch.setattr(http.client.HTTPResponse, "read", fail)
    with pytest.raises(DownloadError, match=rf"can't be downloaded \({re.escape(str(error))}\), at 0 of"):
        fetch(archive, tmp_path / "data")


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of a file's size is POSIX's")
def test_a_disk_that_fills_up_during_the_download_keeps_what_came(server, archive, tmp_path):
    import resource

    # Of a process, its files can't be larger: writing fails as it does on a full disk.
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match="data: File too large; what was downloaded is kept"):
            fetch(archive, tmp_path / "data")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (tmp_path / "data.zip.part").read_bytes() == CONTENT[:50_000]
    fetch(archive, tmp_path / "data")
    assert server.asked == ["bytes=0-", "bytes=50000-"]
    assert_whole(tmp_path / "data", tmp_path)


def test_what_the_command_offers_is_what_is_known():
    assert tuple(ARCHIVES) == NAMES
    for archive in ARCHIVES.values():
        assert len(bytes.fromhex(archive.sha256)) == 32


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/é.zip", "http://[::1/set.zip"])
def test_an_address_that_is_none_is_a_sentence(archive, tmp_path, url):
    with pytest.raises(DownloadError, match=rf"^{re.escape(url)} can't be downloaded"):
        fetch(replace(archive, url=url), tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", ["much", f"{len(CONTENT)}, {len(CONTENT)}", "-1"])
def test_a_length_that_is_no_number_tells_nothing(server, archive, tmp_path, length):
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


def test_the_topmost_folder_is_refused(archive):
    with pytest.raises(OutputError, match="it is the topmost folder; choose another place"):
        fetch(archive, Path("/"), overwrite=True)
