"""Arrays of float32 as text in ``report.json``: base64 of their little-endian bytes, shorter than their digits."""

import base64
import binascii
from collections.abc import Sequence

import numpy as np

from overfly.runtime.bundle.bundle import Logits

_DTYPE = np.dtype("<f4")


def pack(values: Logits) -> str:
    """Return the text of an array of any shape; its shape is not kept."""
    return base64.b64encode(values.astype(_DTYPE).tobytes()).decode()


def unpack(text: str) -> Logits:
    """Return the values of a text from `pack`, float32 of shape ``[n]``.

    Raises
    ------
    ValueError
        If it is not the text of such an array.
    """
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), _DTYPE).astype(np.float32)
    except binascii.Error as error:
        raise ValueError(f"{text[:20]!r} is not base64: {error}") from error


def unpack_rows(texts: Sequence[str]) -> Logits:
    """Return the values of texts of equally long arrays, float32 of shape ``[len(texts), n]``."""
    return np.stack([unpack(text) for text in texts])
