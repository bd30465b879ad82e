"""The SHA-256 of a file."""

import hashlib
from pathlib import Path

# A file is read in parts of this size.
CHUNK_BYTES = 1 << 20


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's content as 64 hexadecimal digits.

    Raises
    ------
    OSError
        If the file can't be read; the error names it.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        error.filename = str(path)  # that of a read, for example from a lost network drive, has no name
        raise
    return digest.hexdigest()
