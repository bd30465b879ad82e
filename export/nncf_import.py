"""Import NNCF for a user without a home folder, too, and keep standard output free of its messages."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

_LOGGER = logging.getLogger(__name__)


@cache
def import_nncf() -> Any:  # noqa: ANN401 - the module, whose functions have no useful types
    """Return the module ``nncf``.

    NNCF asks for the home folder when it is imported, and fails if there is none, as for a service or an unknown user
    of a container (``nncf/definitions.py``; seen in NNCF 3.4.0). It uses the folder only to download models, which an
    export does not do, so that any path will do.
    """
    try:
        Path.home()
    except RuntimeError:
        variable = "USERPROFILE" if sys.platform == "win32" else "HOME"
        os.environ[variable] = os.sep
        try:
            import nncf
        finally:
            del os.environ[variable]
    else:
        import nncf
    return nncf


class _LogForwarder(logging.Handler):
    """Pass NNCF's messages on to our log, each on one line."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass a message on."""
        _LOGGER.info("NNCF: %s", " ".join(record.getMessage().split()))


@contextlib.contextmanager
def redirect_nncf_output() -> Iterator[None]:
    """Send NNCF's messages to our log, because NNCF would print them to standard output, which is for our data."""
    logger = logging.getLogger("nncf")
    handlers = logger.handlers[:]
    logger.handlers = [_LogForwarder()]
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.handlers = handlers
