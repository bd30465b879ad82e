"""``overfly fetch``; tests/training/data/test_download.py has the servers that misbehave."""

import functools
import hashlib
import http.server
import threading
import zipfile

import pytest

from overfly.cli.fetch import command
from overfly.training.data.archives import ARCHIVES, Archive


@pytest.fixture
def served(tmp_path):
    """A folder that a server on this machine serves, and the server's address."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_it_prints_the_folder_to_train_on(overfly, served, tmp_path, monkeypatch):
    folder, address = served
    with zipfile.ZipFile(folder / "set.zip", "w") as opened:
        opened.writestr("Set/Images/beach/a.tif", b"an image")
    content = (folder / "set.zip").read_bytes()
    known = Archive(
        url="http://127.0.0.1:1/",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        images="Set/Images",
        summary="a test",
    )
    monkeypatch.setitem(ARCHIVES, "ucmerced", known)
    result = overfly("fetch", "ucmerced", tmp_path / "data", "--url", f"{address}/set.zip")
    result.assert_done()
    assert result.out == f"data: {tmp_path / 'data' / 'Set' / 'Images'}\n"
    assert (tmp_path / "data" / "Set" / "Images" / "beach" / "a.tif").read_bytes() == b"an image"


def test_another_file_is_one_sentence_and_leaves_nothing(overfly, served, tmp_path):
    folder, address = served
    (folder / "set.zip").write_bytes(b"moved, see elsewhere")
    result = overfly("fetch", "ucmerced", tmp_path / "data", "--url", f"{address}/set.zip")
    result.assert_failed(f"{address}/set.zip", "found 20 bytes", "332,468,434", "--url")
    assert not list(tmp_path.glob("data*"))


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/set.zip", "set.zip"])
def test_only_urls_of_the_web_are_accepted(overfly, tmp_path, url):
    overfly("fetch", "ucmerced", tmp_path / "data", "--url", url).assert_misused("--url", "http")


def test_an_unknown_name_is_wrong_usage(overfly, tmp_path):
    overfly("fetch", "imagenet", tmp_path / "data").assert_misused("'imagenet'", "ucmerced")


def test_every_known_data_set_is_offered_and_described():
    assert list(command.params[0].type.choices) == list(ARCHIVES)
    for name, archive in ARCHIVES.items():
        assert f"{name}: {archive.summary}." in command.help
        assert len(bytes.fromhex(archive.sha256)) == 32
