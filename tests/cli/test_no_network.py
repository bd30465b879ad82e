"""No telemetry: an export in a network of its own, in which every attempt would be counted, makes none."""

import subprocess
import sys
from itertools import pairwise

import pytest

from overfly.runtime.bundle.bundle import Bundle

pytestmark = pytest.mark.netns

# A namespace starts with every counter at 0 and no way out. With a default route into the loopback, a connection or
# a datagram to anywhere gets as far as being sent, and is counted.
IN_ITS_OWN_NETWORK = """
ip link set lo up && ip route add default dev lo || exit 99
"$@"
code=$?
cat /proc/net/snmp /proc/net/snmp6 > "$COUNTERS"
exit $code
"""


@pytest.fixture
def alone(tmp_path):
    """A function that runs Python in a network namespace; returns the finished process and what was sent meanwhile."""

    def call(*arguments):
        counters = tmp_path / "counters.txt"
        command = ["unshare", "--net", "env", f"COUNTERS={counters}", "sh", "-c", IN_ITS_OWN_NETWORK, "sh"]
        finished = subprocess.run(
            [*command, sys.executable, *map(str, arguments)], capture_output=True, text=True, check=False
        )
        assert finished.returncode != 99, finished.stderr
        return finished, read_counters(counters.read_text(encoding="utf-8"))

    return call


def read_counters(text):
    """Return how many connections were opened, and datagrams and packets sent, from the kernel's tables."""
    rows = [line.split() for line in text.splitlines()]
    found = {}
    for names, values in pairwise(rows):
        if names[0] == values[0] and names[0].endswith(":"):
            found |= {names[0] + name: int(value) for name, value in zip(names[1:], values[1:], strict=True)}
    found |= {row[0]: int(row[1]) for row in rows if len(row) == 2 and row[0].startswith(("Udp6", "Ip6"))}
    wanted = ("Tcp:ActiveOpens", "Udp:OutDatagrams", "Ip:OutRequests", "Udp6OutDatagrams")
    return {name: found[name] for name in wanted}


NONE = {"Tcp:ActiveOpens": 0, "Udp:OutDatagrams": 0, "Ip:OutRequests": 0, "Udp6OutDatagrams": 0}

CONNECT = """
import socket
with socket.socket() as tcp:
    tcp.settimeout(0.2)
    try:
        tcp.connect(("192.0.2.1", 443))
    except OSError:
        pass
"""
SEND = "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'name?', ('192.0.2.1', 53))"


@pytest.mark.parametrize(("code", "counter"), [(CONNECT, "Tcp:ActiveOpens"), (SEND, "Udp:OutDatagrams")])
def test_an_attempt_would_be_seen(alone, code, counter):
    finished, sent = alone("-W", "ignore", "-c", code)
    assert finished.returncode == 0, finished.stderr
    assert sent[counter] == 1
    assert sent["Ip:OutRequests"] >= 1


@pytest.mark.slow
def test_an_export_tries_to_reach_no_one_and_gives_the_same_bundle(alone, tiny_run, tiny_bundle, tmp_path):
    out = tmp_path / "bundle.zip"
    finished, sent = alone("-m", "overfly.cli", "export", tiny_run, "--out", out, "--zip")
    assert finished.returncode == 0, finished.stderr
    assert sent == NONE
    # Another process, another form, the same bytes.
    assert Bundle.open(out).manifest.files == Bundle.open(tiny_bundle).manifest.files


def test_checking_and_predicting_from_it_reach_no_one_either(alone, tiny_bundle, tiny_data):
    for arguments in (("check", tiny_bundle), ("predict", tiny_bundle, next((tiny_data / "forest").iterdir()))):
        finished, sent = alone("-m", "overfly.cli", *arguments, "--device", "CPU", "--no-cache")
        assert finished.returncode == 0, finished.stderr
        assert sent == NONE
