"""The SHA-256 of a file is the one that hashlib computes of its content."""

import hashlib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overfly.runtime.files import hashing
from overfly.runtime.files.hashing import sha256_file


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(content=st.binary(max_size=300))
def test_sha256_is_that_of_hashlib(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()


def test_sha256_of_a_file_longer_than_one_chunk(tmp_path):
    content = bytes(range(256)) * 4096 * 2 + b"rest"
    (tmp_path / "file").write_bytes(content)
    assert len(content) > 2 * hashing.CHUNK_BYTES
    assert sha256_file(tmp_path / "file") == hashlib.sha256(content).hexdigest()
