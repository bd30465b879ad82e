"""Workers on this machine, in processes of their own, with a scheduler in this one."""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from overfly.runtime.cluster.access import LOOPBACK
from overfly.runtime.machine import usable_cores

# How long a worker has to end by itself, in seconds.
_PATIENCE_S = 10.0
_MAIN = """
import json, sys
from overfly.runtime.cluster.worker import WorkerJob, run_worker
scheduler, n_threads = json.loads(sys.argv[1])
job = WorkerJob(scheduler=scheduler, roots=None, n_threads=n_threads, timeout_s=30)
run_worker(job, lambda _: None)
"""


@dataclass(frozen=True, slots=True)
class LocalWorkers:
    """A scheduler in this process, and the processes of its workers.

    Attributes
    ----------
    address
        Of the scheduler.
    processes
        The workers.
    """

    address: str
    processes: tuple[subprocess.Popen[bytes], ...]

    @property
    def n_alive(self) -> int:
        """The number of workers that still run."""
        return sum(process.poll() is None for process in self.processes)


@contextmanager
def start_local_workers(n_workers: int) -> Iterator[LocalWorkers]:
    """Start workers that share the cores of this machine; nothing else can reach them from another one.

    Parameters
    ----------
    n_workers
        How many. They may read what this process may.
    """
    from distributed import LocalCluster

    # Ctrl-C is for this process alone, which then ends them.
    apart: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        apart = {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    n_threads = max(1, usable_cores() // n_workers)
    with LocalCluster(
        n_workers=0,
        host=LOOPBACK,
        protocol="tcp://",
        scheduler_port=0,
        dashboard_address=f"{LOOPBACK}:0",
        # A block whose worker dies is done by another one, three times by default.
        scheduler_kwargs={"allowed_failures": 10},
    ) as cluster:
        arguments = json.dumps([cluster.scheduler_address, n_threads])
        processes = tuple(
            subprocess.Popen(  # noqa: S603 - our own program
                [sys.executable, "-c", _MAIN, arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=sys.prefix,  # Python looks for modules in it
                **apart,
            )
            for _ in range(n_workers)
        )
        try:
            yield LocalWorkers(cluster.scheduler_address, processes)
        finally:
            _end(processes)


def _end(processes: Iterable[subprocess.Popen[bytes]]) -> None:
    """End processes, and wait for them."""
    for process in processes:
        process.terminate()
    for process in processes:
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
