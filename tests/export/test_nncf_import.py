"""NNCF is imported without a home folder, and what it prints goes to the log, never to standard output."""

import logging
import subprocess
import sys

import pytest

from overfly.export.nncf_import import import_nncf, redirect_nncf_output

# As a user that the system does not know: without HOME, and without an entry in the password database.
WITHOUT_HOME = """
import os, pwd

def unknown(uid):
    raise KeyError(uid)

pwd.getpwuid = unknown
os.environ.pop("HOME", None)
from overfly.export.nncf_import import import_nncf

print(import_nncf().__name__, "HOME" in os.environ)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no password database")
def test_nncf_is_imported_without_a_home_folder():
    done = subprocess.run([sys.executable, "-c", WITHOUT_HOME], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "nncf False\n"), done.stderr


def test_nncf_output_is_logged_on_one_line(capsys, caplog):
    import_nncf()
    logger = logging.getLogger("nncf")
    before = logger.handlers[:]
    with caplog.at_level(logging.INFO, "overfly.export"), redirect_nncf_output():
        logger.info("two\n  lines")
        sys.stdout.write("a progress bar")
    assert caplog.record_tuples == [("overfly.export.nncf_import", logging.INFO, "NNCF: two lines")]
    assert capsys.readouterr() == ("", "")
    assert logger.handlers == before
