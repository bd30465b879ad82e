"""The network interface for Gloo is the one by which the first process is reached."""

import socket
from types import SimpleNamespace

import psutil
import pytest

from overfly.training.distributed.network import interface_towards


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "", "a..b", "x" * 64])
def test_this_machine_and_unknown_hosts_have_no_interface(host):
    assert interface_towards(host) is None


class Probe(socket.socket):
    """A socket whose own address is 192.0.2.7, whatever it is connected to."""

    def connect(self, place):
        assert place == ("198.51.100.1", 1)

    def getsockname(self):
        return ("192.0.2.7", 40000)


def address(text):
    return SimpleNamespace(family=socket.AF_INET6 if ":" in text else socket.AF_INET, address=text)


@pytest.mark.parametrize(
    ("addresses", "expected"),
    [
        ({"lo": ["127.0.0.1"], "eth0": ["192.0.2.8"], "eth1": ["192.0.2.7", "fe80::1"]}, "eth1"),
        # Gloo would use the interface's other address.
        ({"lo": ["127.0.0.1"], "eth0": ["10.0.0.1", "192.0.2.7"]}, None),
        ({"lo": ["127.0.0.1"]}, None),
        ({"down": [], "eth0": ["192.0.2.7"]}, "eth0"),
    ],
)
def test_the_interface_is_named_if_its_first_address_reaches_the_host(monkeypatch, addresses, expected):
    found = {name: [address(text) for text in texts] for name, texts in addresses.items()}
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: found)
    monkeypatch.setattr(socket, "socket", Probe)
    assert interface_towards("198.51.100.1") == expected


def test_without_the_permission_to_list_interfaces_there_is_none(monkeypatch):
    def fail():
        raise PermissionError

    monkeypatch.setattr(psutil, "net_if_addrs", fail)
    monkeypatch.setattr(socket, "socket", Probe)
    assert interface_towards("198.51.100.1") is None
