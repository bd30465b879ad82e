"""Only one process at a time works in a folder."""

import subprocess
import sys

import pytest

from overfly.runtime.errors import OutputError
from overfly.runtime.files.folder_lock import lock_folder

HOLD = """
import sys
from pathlib import Path
from overfly.runtime.files.folder_lock import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    sys.stdin.read()
"""


def test_another_process_is_kept_out_until_the_first_one_ends(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline().strip() == b"locked"
        with pytest.raises(OutputError, match="another process"), lock_folder(tmp_path):
            pass
        holder.kill()
    with lock_folder(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
