"""Who may reach a cluster: this machine alone, whoever has a certificate, or everybody in the network.

Dask has no passwords. Whoever reaches a scheduler or a worker may use it, so that a network needs certificates.
"""

import re
import socket
import ssl
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING

from overfly.runtime.errors import ClusterError

if TYPE_CHECKING:
    from distributed.security import Security

# The port of ``dask scheduler``.
_DEFAULT_PORT = 8786
_MAX_PORT = 65535
LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """How the processes of a cluster protect their connections.

    Attributes
    ----------
    tls_ca, tls_cert, tls_key
        PEM files: the certificate of the authority that signed the certificates of all processes, and the certificate
        of this one with its key. All three, or none.
    insecure
        Allow connections to other machines without them.

    Raises
    ------
    ClusterError
        If only some of the files are given, or one does not exist.
    """

    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        files = {"--tls-ca": self.tls_ca, "--tls-cert": self.tls_cert, "--tls-key": self.tls_key}
        missing = [name for name, path in files.items() if path is None]
        if 0 < len(missing) < len(files):
            raise ClusterError(f"TLS needs three files: {' and '.join(missing)} is missing")
        for path in files.values():
            if path is not None and not path.is_file():
                raise ClusterError(f"{path} does not exist: expected a PEM file of TLS")

    @property
    def uses_tls(self) -> bool:
        """Whether connections are encrypted, and open to those with a certificate only."""
        return self.tls_ca is not None

    def address(self, text: str) -> str:
        """Return the address of a scheduler as Dask writes it.

        Parameters
        ----------
        text
            Host and port, such as ``127.0.0.1:8786``, also with ``tcp://`` or ``tls://``; without port it is 8786.

        Raises
        ------
        ClusterError
            If it is no address, or that of another machine and the connection to it is not protected.
        """
        protocol, _, place = text.rpartition("://")
        host, _, port = place.rpartition(":") if ":" in place.rpartition("]")[2] else (place, "", str(_DEFAULT_PORT))
        expected = "tls" if self.uses_tls else "tcp"
        # An address of IPv6 has colons of its own, and so it is in brackets.
        is_host = bool(host.strip("[]")) and (":" not in host or (host[0], host[-1]) == ("[", "]"))
        if not (is_host and re.fullmatch("[0-9]{1,5}", port) and 0 < int(port) <= _MAX_PORT):
            raise ClusterError(
                f"{text!r} is no address of a scheduler: expected one such as 127.0.0.1:{_DEFAULT_PORT} or "
                f"[::1]:{_DEFAULT_PORT}"
            )
        if protocol not in {"", expected}:
            remedy = "give --tls-ca, --tls-cert and --tls-key" if protocol == "tls" else f"write {expected}://{place}"
            raise ClusterError(f"{text!r} does not fit the options of TLS: {remedy}")
        if not (self.uses_tls or self.insecure or is_loopback(host)):
            raise ClusterError(
                f"{host} is another machine, and without TLS whoever reaches it can use its workers: give --tls-ca, "
                "--tls-cert and --tls-key, or add --insecure in a network of your own"
            )
        return f"{expected}://{host}:{port}"

    def dask_security(self) -> "Security":
        """Return the same for Dask; a process without certificate is then refused at every connection.

        Raises
        ------
        ClusterError
            If a file is no PEM file of its kind, or the key is that of another certificate.
        """
        from distributed.security import Security

        if not self.uses_tls:
            return Security(require_encryption=False)
        ca, cert, key = str(self.tls_ca), str(self.tls_cert), str(self.tls_key)
        _check_pem_files(ca, cert, key)
        return Security(
            require_encryption=True,
            tls_ca_file=ca,
            tls_client_cert=cert,
            tls_client_key=key,
            tls_worker_cert=cert,
            tls_worker_key=key,
            tls_scheduler_cert=cert,
            tls_scheduler_key=key,
        )


def _check_pem_files(ca: str, cert: str, key: str) -> None:
    """Raise ClusterError if TLS can't be used with files."""
    file = ca
    try:
        context = ssl.create_default_context(cafile=ca)
        file = f"{cert} with {key}"
        context.load_cert_chain(cert, key, password="")  # without one, OpenSSL would ask the terminal
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"TLS can't use {file} ({error}): expected the authority's certificate for --tls-ca, another one for "
            "--tls-cert, and the key of that, without a password, for --tls-key"
        ) from error


def is_loopback(host: str) -> bool:
    """Whether all addresses of a host are those of this machine for itself; a host without address is another one."""
    try:
        found = socket.getaddrinfo(host.strip("[]"), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return all(ip_address(str(place[0]).partition("%")[0]).is_loopback for *_, place in found)


def listening_host(scheduler: str) -> str:
    """Return where a worker listens: the address of this machine that the scheduler at an address can reach."""
    from distributed.comm import get_address_host_port
    from distributed.utils import get_ip

    host, port = get_address_host_port(scheduler)
    if is_loopback(host):
        return LOOPBACK
    found = str(get_ip(host, port))
    return f"[{found}]" if ":" in found else found
