"""The SHA-256 of a file, and of several."""

import hashlib
from collections.abc import Sequence
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


def sha256_files(files: Sequence[Path]) -> str:
    """Return the SHA-256 of a file or, of several files, that of their SHA-256s."""
    return combine_hashes([sha256_file(file) for file in files])


def combine_hashes(hashes: Sequence[str]) -> str:
    """Return a single SHA-256 as it is and, of several, that of their hexadecimal digits one after the other."""
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()
