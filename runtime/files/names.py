"""File names as text, whatever the locale.

On Linux a file name is bytes, in UTF-8 nearly everywhere. Where the locale is not UTF-8, such as the locale ``C`` of a
service, Python stands in for each byte that it can't decode (PEP 383), so a name is not the text that it should be. On
other systems, and in UTF-8 locales, the functions here change nothing.
"""

import os
from pathlib import Path


def utf8_text(text: object) -> str:
    """Return a path, or a message with paths, with its names decoded as UTF-8.

    What is not UTF-8 keeps its stand-ins, so that ``encode("utf-8", "surrogateescape")`` returns the true bytes.
    """
    try:
        return str(text).encode("utf-8", "surrogateescape").decode("utf-8", "surrogateescape")
    except UnicodeEncodeError:  # a name of Windows may have halves of a UTF-16 character, which are no stand-ins
        return str(text)


def native_path(text: str) -> Path:
    """Return the path that `utf8_text` has turned into text, as the system's functions need it."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:  # the locale lacks a character
        return Path(os.fsdecode(text.encode("utf-8", "surrogateescape")))
    return Path(text)
