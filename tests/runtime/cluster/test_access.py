"""Another machine is reached with certificates, or if the user says that it may be reached without."""

import shutil
import subprocess

import pytest

from overfly.runtime.cluster.access import ClusterAccess, is_loopback, listening_host
from overfly.runtime.errors import ClusterError


@pytest.fixture
def tls(tmp_path):
    """Access with the three files of TLS."""
    paths = {name: tmp_path / f"{name}.pem" for name in ("tls_ca", "tls_cert", "tls_key")}
    for path in paths.values():
        path.write_text("")
    return ClusterAccess(**paths)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("127.0.0.1", "tcp://127.0.0.1:8786"),
        ("localhost:99", "tcp://localhost:99"),
        ("tcp://127.0.0.1:99", "tcp://127.0.0.1:99"),
        ("[::1]:99", "tcp://[::1]:99"),
    ],
)
def test_this_machine_needs_no_certificate(text, expected):
    assert ClusterAccess().address(text) == expected


def test_another_machine_needs_certificates_or_the_word_of_the_user(tls):
    with pytest.raises(ClusterError, match=r"192\.0\.2\.1 .*--insecure"):
        ClusterAccess().address("192.0.2.1:99")
    assert ClusterAccess(insecure=True).address("192.0.2.1:99") == "tcp://192.0.2.1:99"
    assert tls.address("192.0.2.1:99") == "tls://192.0.2.1:99"
    assert tls.address("tls://192.0.2.1:99") == "tls://192.0.2.1:99"


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":99",
        "127.0.0.1:x",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "::1",
        "::1:99",
        "tls://127.0.0.1",
        "http://127.0.0.1",
    ],
)
def test_what_is_no_address_is_named(text):
    with pytest.raises(ClusterError, match=repr(text)):
        ClusterAccess().address(text)


def test_certificates_are_not_dropped_for_tcp(tls):
    with pytest.raises(ClusterError, match="write tls://"):
        tls.address("tcp://127.0.0.1:99")


def test_a_missing_file_of_tls_is_named(tls, tmp_path):
    with pytest.raises(ClusterError, match="--tls-cert and --tls-key"):
        ClusterAccess(tls_ca=tls.tls_ca)
    with pytest.raises(ClusterError, match=r"none\.pem"):
        ClusterAccess(tls_ca=tls.tls_ca, tls_cert=tls.tls_cert, tls_key=tmp_path / "none.pem")


@pytest.fixture
def certificate(tmp_path):
    """A certificate, and its key."""
    if (program := shutil.which("openssl")) is None:
        pytest.skip("there is no openssl")
    new = ("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=overfly")
    command = (program, *new, "-keyout", "key.pem", "-out", "cert.pem")
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path / "cert.pem", tmp_path / "key.pem"


def test_dask_requires_encryption_with_certificates(certificate):
    cert, key = certificate
    security = ClusterAccess(tls_ca=cert, tls_cert=cert, tls_key=key).dask_security()
    assert security.require_encryption
    assert {security.tls_client_cert, security.tls_worker_cert} == {str(cert)}
    assert not ClusterAccess().dask_security().require_encryption


def test_files_that_tls_cannot_use_are_named(certificate, tls):
    cert, key = certificate
    with pytest.raises(ClusterError, match=r"tls_ca\.pem"):
        tls.dask_security()
    with pytest.raises(ClusterError, match=r"key\.pem with .*cert\.pem"):
        ClusterAccess(tls_ca=cert, tls_cert=key, tls_key=cert).dask_security()


def test_a_host_without_address_is_another_machine():
    assert is_loopback("127.0.0.2")
    assert not is_loopback("192.0.2.1")
    assert not is_loopback("no such host")


def test_a_worker_listens_where_the_scheduler_reaches_it(monkeypatch):
    assert listening_host("tcp://[::1]:99") == "127.0.0.1"
    for found, expected in (("192.0.2.2", "192.0.2.2"), ("2001:db8::2", "[2001:db8::2]")):
        monkeypatch.setattr("distributed.utils.get_ip", lambda *_, found=found: found)
        assert listening_host("tls://[2001:db8::1]:99") == expected
