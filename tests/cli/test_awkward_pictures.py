"""One bad picture does not stop a folder: each kind is named, on standard error and in the output."""

import csv
import io
import json
import os
import shutil
import signal
import struct
import sys
import tempfile
import zlib
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def good(tiny_data):
    """One picture that can be read."""
    return min((tiny_data / "harbor").iterdir())


def bomb():
    """Return a PNG of some hundred bytes that claims 100,000 x 100,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


@pytest.fixture
def folder(tmp_path, good):
    """A folder of every kind of bad picture there is, and what is said of each; good ones stand between."""
    if sys.platform == "win32":
        pytest.skip("Windows has neither these names nor links and pipes for everyone")
    path = tmp_path / "pictures"
    path.mkdir()
    bad = {
        "b bomb.png": ("is too large: ", lambda p: p.write_bytes(bomb())),
        "c empty.jpg": ("is empty", lambda p: p.touch()),
        "e loop.jpg": ("symbolic links", lambda p: p.symlink_to(p.name)),
        "f dangling.jpg": ("does not exist", lambda p: p.symlink_to("nowhere")),
        "g pipe.jpg": ("is a device, pipe or socket", os.mkfifo),
        "h text.tif": ("no known image format", lambda p: p.write_text("no picture")),
        "i cut.jpg": ("can't be decoded", lambda p: p.write_bytes(good.read_bytes()[:1500])),
        "j two\nlines.jpg": ("is empty", lambda p: p.touch()),
        "k \udcff.jpg": ("is empty", lambda p: p.touch()),
    }
    for name, (_, make) in bad.items():
        make(path / name)
    for name in ("a.jpg", "d folder.jpg/inside.jpg", "h good\nname.jpg", "z.jpg"):
        (path / name).parent.mkdir(exist_ok=True)
        shutil.copy(good, path / name)
    (path / "d folder.jpg" / "up").symlink_to("..")
    return path, {name: said for name, (said, _) in bad.items()}


N_GOOD = 4


def escaped(name):
    """Return a name as a person sees it."""
    return name.replace("\n", "\\n").replace("\udcff", "\\udcff")


@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_every_kind_is_named_once_in_both_places_and_the_rest_goes_on(start, tiny_bundle, folder, style):
    path, bad = folder
    process = start("predict", tiny_bundle, path, "--device", "CPU", "--format", style)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    sentences = err.splitlines()[1:]  # after what it runs on
    assert len(sentences) == len(bad)
    for sentence, (name, said) in zip(sentences, sorted(bad.items()), strict=True):
        assert sentence.startswith("overfly: ")
        assert escaped(name) in sentence
        assert said in sentence
    if style == "json":
        lines = [json.loads(line) for line in out.splitlines()]
        errors = {Path(line["path"]).name: line["error"] for line in lines if "error" in line}
        assert errors.keys() == bad.keys()
        assert sum("label" in line for line in lines) == N_GOOD
    elif style == "csv":
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        assert len(rows) == len(bad) + N_GOOD
        assert sum(bool(row["error"]) for row in rows) == len(bad)
        assert any("j two\nlines.jpg" in row["path"] for row in rows)
    else:
        lines = out.splitlines()
        assert len(lines) == len(bad) + N_GOOD
        assert sum(line.startswith("(unreadable)") for line in lines) == len(bad)
        assert any(line.endswith("h good\\nname.jpg") for line in lines)


def test_strict_stops_at_the_first_and_keeps_what_was_answered(start, tiny_bundle, folder):
    path, _ = folder
    process = start("predict", tiny_bundle, path, "--device", "CPU", "--format", "json", "--strict")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    answers = [json.loads(line) for line in out.splitlines()]
    assert [Path(answer["path"]).name for answer in answers] == ["a.jpg", "b bomb.png"]
    assert answers[0]["label"]
    (sentence,) = err.splitlines()[1:]  # after what it runs on
    assert "b bomb.png" in sentence


def test_strict_over_good_pictures_changes_nothing(overfly, tiny_bundle, good):
    plain = overfly("predict", tiny_bundle, good, good, "--device", "CPU")
    strict = overfly("predict", tiny_bundle, good, good, "--device", "CPU", "--strict")
    strict.assert_done()
    assert strict.out == plain.out


WITHOUT_RIGHTS = """
import os, sys
from overfly.cli import run
bundle, picture, pictures = sys.argv[1:]
# Once before, as another user may not read what Python and OpenVINO load.
assert run(["predict", bundle, picture, "--device", "CPU", "--json"]) == 0
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(run(["predict", bundle, pictures, "--device", "CPU", "--json"]))
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other rights")
def test_what_may_not_be_read_is_named_and_the_rest_goes_on(python, tiny_bundle, good):
    with tempfile.TemporaryDirectory() as public:
        pictures = Path(public, "pictures")
        (pictures / "closed").mkdir(parents=True)
        shutil.copytree(tiny_bundle, Path(public, "bundle"))
        for name in ("a.jpg", "secret.jpg", "closed/inside.jpg", "z.jpg"):
            shutil.copy(good, pictures / name)
        for path in (Path(public), *Path(public).rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (pictures / "secret.jpg").chmod(0)
        (pictures / "closed").chmod(0)
        done = python(WITHOUT_RIGHTS, Path(public, "bundle"), good, pictures)
        (pictures / "closed").chmod(0o755)
    assert done.code == 1, done.err
    answers = {Path(a["path"]).name: a for a in map(json.loads, done.out.splitlines()[1:])}
    assert list(answers) == ["a.jpg", "closed", "secret.jpg", "z.jpg"]
    for name in ("closed", "secret.jpg"):
        assert "can't be opened: you have no permission to read it" in answers[name]["error"]
    assert len([line for line in done.err.splitlines() if line.startswith("overfly: ")]) == 2
    assert answers["a.jpg"]["label"] == answers["z.jpg"]["label"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends the signal that a terminal's Ctrl-C does")
@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_an_interrupt_ends_quietly_with_whole_lines(start, tiny_bundle, tiny_data, style):
    process = start(
        "predict", tiny_bundle, *[tiny_data] * 60, "--device", "CPU", "--format", style, "--variant", "fp32"
    )
    first = process.stdout.readline() + process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.splitlines()[1:] == ["overfly: interrupted"]
    lines = (first + out).splitlines()
    assert 2 <= len(lines) < 60 * 96
    assert (first + out).endswith("\n")
    if style == "json":
        assert all(json.loads(line)["label"] for line in lines)
    else:
        assert all(".jpg" in line for line in lines[1:])
