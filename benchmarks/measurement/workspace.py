"""The temporary folder of a bench."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from overfly.runtime.files.output_guards import check_temporary_folder

_PREFIX = "overfly-bench-"
_INDUCTOR_CACHE = "TORCHINDUCTOR_CACHE_DIR"
# No bench takes this long.
_LEFTOVER_AGE_S = 24 * 3600


@contextmanager
def make_workspace() -> Iterator[Path]:
    """Make a temporary folder and delete it after the block.

    torch.compile keeps its files there, not in the user's cache. On Windows it leaves DLLs there, which stay loaded to
    the end of the process and can't be deleted before: the next bench does that.
    """
    check_temporary_folder()
    if sys.platform == "win32":
        remove_old_workspaces()
    before = os.environ.get(_INDUCTOR_CACHE)
    with TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as folder:
        os.environ[_INDUCTOR_CACHE] = str(Path(folder) / "inductor")
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ[_INDUCTOR_CACHE]
            else:
                os.environ[_INDUCTOR_CACHE] = before


def remove_old_workspaces() -> None:
    """Delete the folders of benches that ended at least a day ago."""
    for folder in Path(gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFTOVER_AGE_S:
                shutil.rmtree(folder, ignore_errors=True)
