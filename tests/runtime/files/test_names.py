"""File names become the text that they are in UTF-8, and open the same files again, whatever the locale."""

import os
import subprocess
import sys

import pytest

from overfly.runtime.files.names import native_path, utf8_text

ROUND_TRIP = """
import os, sys
from overfly.runtime.files.names import native_path, utf8_text
name, = os.listdir(sys.argv[1])
text = utf8_text(name)
assert os.path.exists(os.path.join(sys.argv[1], native_path(text)))
sys.stdout.write(ascii(text))
"""


@pytest.mark.skipif(sys.platform in {"win32", "darwin"}, reason="file names are text on this system")
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
@pytest.mark.parametrize(
    ("name", "text"),
    [(b"harbor.jpg", "harbor.jpg"), ("гавань".encode(), "гавань"), (b"\xd0\xb6 caf\xe9", "ж caf\udce9")],
)
def test_a_name_becomes_text_and_a_path_again(tmp_path, locale, name, text):
    (tmp_path / os.fsdecode(name)).touch()
    environment = {**os.environ, "PYTHONUTF8": "0", "LC_ALL": locale}
    command = [sys.executable, "-c", ROUND_TRIP, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == (ascii(text), 0), done.stderr


@pytest.mark.parametrize("text", ["гавань", "caf\udce9", "half \ud83d", "a/b.jpg"])
def test_text_does_not_change_in_a_utf8_locale(text):
    assert utf8_text(text) == text
    if text.isprintable():
        assert str(native_path(text)) == text.replace("/", os.sep)
