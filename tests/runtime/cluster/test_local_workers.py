"""Workers that the client starts itself: they share the cores, and end with it."""

import os
import signal
import stat
import subprocess
import sys
import time
from contextlib import contextmanager

import psutil
import pytest
from distributed import Client
from distributed.security import Security

from overfly.runtime.cluster.job import ClusterJob
from overfly.runtime.cluster.local_workers import start_local_workers
from overfly.runtime.errors import ClusterError
from overfly.runtime.reporter import Reporter

pytestmark = pytest.mark.slow

# Starts two workers, prints their ids when they have joined, and waits to be killed.
CLIENT = """
import time
from distributed import Client
from overfly.runtime.cluster.local_workers import start_local_workers
with start_local_workers(2) as workers:
    Client(workers.address, security=workers.access.dask_security()).wait_for_workers(2)
    print(*(process.pid for process in workers.processes), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def started(monkeypatch):
    """The `LocalWorkers` that are started in this test."""
    found = []

    @contextmanager
    def remember(*arguments):
        with start_local_workers(*arguments) as workers:
            found.append(workers)
            yield workers

    monkeypatch.setattr("overfly.runtime.cluster.local_workers.start_local_workers", remember)
    return found


class _Kill(Reporter):
    """Ends some of the workers when the first block is done."""

    def __init__(self, started, n_killed):
        self._started, self._n_killed = started, n_killed

    def progress(self, stage, done, _total):
        if stage == "mapping" and done:
            for process in self._started[0].processes[: self._n_killed]:
                process.kill()


def test_one_of_two_workers_may_be_killed_and_then_the_other_one(
    started, make_map, raster, hashes, tmp_path, monkeypatch
):
    monkeypatch.setattr("overfly.runtime.mapping.grid._BLOCK_ROWS", 4)
    make_map(raster)
    engine = ClusterJob(n_workers=2).open_engine
    make_map(raster, out=tmp_path / "shared", open_engine=engine, reporter=_Kill(started, 1))
    assert hashes(tmp_path / "shared") == hashes(tmp_path / "map")
    assert started[0].n_alive == 0

    started.clear()
    with pytest.raises(ClusterError, match=r"no worker any more.*--resume"):
        make_map(raster, out=tmp_path / "other", overlap=0.75, open_engine=engine, reporter=_Kill(started, 2))


def test_others_on_this_machine_can_not_connect():
    stranger = Security.temporary()
    with start_local_workers(1) as workers:
        assert workers.address.startswith("tls://127.0.0.1:")
        place = workers.address.removeprefix("tls://")
        with pytest.raises(OSError, match=place):
            Client(f"tcp://{place}", timeout=3, set_as_default=False)
        with pytest.raises(OSError, match="certificate does not match"):
            Client(workers.address, security=stranger, timeout=3, set_as_default=False)
        with Client(workers.address, security=workers.access.dask_security(), timeout=30) as client:
            client.wait_for_workers(1, timeout=60)
        assert stat.S_IMODE(workers.access.tls_key.parent.stat().st_mode) == 0o700 or sys.platform == "win32"
    assert not workers.access.tls_key.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGTERM that a program could handle")
def test_sigterm_ends_the_workers_and_says_how_to_continue(make_bundle, raster, tmp_path):
    out, temporary = tmp_path / "map", tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "overfly.cli", "map", make_bundle(), raster, "--out", out, "--workers", "2"]
    choices = ["--scene-m", "16", "--device", "CPU", "--variant", "fp32"]
    client = subprocess.Popen(
        list(map(str, command + choices)),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    journal = tmp_path / "map.unfinished" / "journal"
    deadline = time.monotonic() + 90
    while not journal.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    workers = psutil.Process(client.pid).children()
    assert len(workers) == 2
    client.terminate()
    _, err = client.communicate(timeout=90)
    assert client.returncode == 130
    *_, sentence, last = err.splitlines()
    assert f"{journal.parent} holds the finished blocks" in sentence
    assert last == "overfly: interrupted"
    assert journal.exists()
    assert not any(worker.is_running() for worker in workers)
    assert not list(temporary.glob("overfly-*"))


@pytest.mark.skipif(sys.platform == "win32", reason="the test asks for a process by a signal")
def test_workers_end_when_the_client_is_killed():
    client = subprocess.Popen([sys.executable, "-c", CLIENT], stdout=subprocess.PIPE, text=True)
    workers = [int(pid) for pid in client.stdout.readline().split()]
    assert len(workers) == 2
    client.send_signal(signal.SIGKILL)
    client.communicate()
    deadline = time.monotonic() + 90
    while workers:
        assert time.monotonic() < deadline
        time.sleep(0.1)
        workers = [pid for pid in workers if _is_running(pid)]


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
