"""Arrays as text: bit by bit the same, and read by anybody."""

import base64
import struct

import numpy as np
import pytest

from overfly.benchmarks.results.packed import pack, unpack, unpack_rows


def test_an_array_comes_back_bit_by_bit_and_is_little_endian():
    values = np.array([1.5, -0.0, 3e-40, np.float32(0.1)], np.float32)
    text = pack(values)
    assert base64.b64decode(text) == struct.pack("<4f", *values)
    assert unpack(text).tobytes() == values.tobytes()
    assert pack(values.astype(">f4")) == text
    assert unpack_rows((text, pack(values * 2))).tolist() == [values.tolist(), (values * 2).tolist()]


@pytest.mark.parametrize("text", ["!", "AAA", "AAAA"])
def test_another_text_is_an_error(text):
    with pytest.raises(ValueError, match=r"base64|multiple"):
        unpack(text)
