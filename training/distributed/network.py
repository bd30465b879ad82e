"""Which network interface Gloo should use to reach the other machines."""

import ipaddress
import socket


def interface_towards(host: str) -> str | None:
    """Return the name of the network interface by which this machine reaches a host.

    Return None for this machine itself, for a host that can't be found, and if the address is not the first one of its
    interface: Gloo, which is given the interface's name, would use the first.

    Parameters
    ----------
    host
        Name or address. Nothing is sent to it.
    """
    # Imported here, because whoever only loads a trained model does not need it.
    import psutil

    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host, 1, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(place)
            ours: str = probe.getsockname()[0]
        interfaces = psutil.net_if_addrs()
    except (OSError, UnicodeError):
        return None  # torchrun itself reports a host that can't be found
    if ipaddress.ip_address(ours).is_loopback:
        return None
    for name, addresses in interfaces.items():
        first = next((found for found in addresses if found.family in {socket.AF_INET, socket.AF_INET6}), None)
        if first is not None and first.address == ours:
            return str(name)
    return None
