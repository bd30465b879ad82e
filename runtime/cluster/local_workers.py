"""Workers on this machine, in processes of their own, with a scheduler in this one."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overfly.runtime.cluster.access import LOOPBACK, ClusterAccess
from overfly.runtime.machine import usable_cores

# How long a worker has to end by itself, in seconds.
_PATIENCE_S = 10.0
_MAIN = """
import json, sys
from pathlib import Path
from overfly.runtime.cluster.access import ClusterAccess
from overfly.runtime.cluster.worker import WorkerJob, run_worker
scheduler, n_threads, *files = json.loads(sys.argv[1])
ca, cert, key = map(Path, files)
access = ClusterAccess(tls_ca=ca, tls_cert=cert, tls_key=key)
job = WorkerJob(scheduler=scheduler, roots=None, n_threads=n_threads, access=access, timeout_s=30)
run_worker(job, lambda _: None)
"""


@dataclass(frozen=True, slots=True)
class LocalWorkers:
    """A scheduler in this process, and the processes of its workers.

    Attributes
    ----------
    address
        Of the scheduler.
    access
        The certificate that these processes share.
    processes
        The workers.
    """

    address: str
    access: ClusterAccess
    processes: tuple[subprocess.Popen[bytes], ...]

    @property
    def n_alive(self) -> int:
        """The number of workers that still run."""
        return sum(process.poll() is None for process in self.processes)


@contextmanager
def start_local_workers(n_workers: int) -> Iterator[LocalWorkers]:
    """Start workers that share the cores of this machine.

    Other users of this machine can reach the scheduler as well, and Dask would run what they send, so that all
    connections need a certificate that is made for this one time.

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
    with (
        _temporary_access() as access,
        LocalCluster(
            n_workers=0,
            host=LOOPBACK,
            protocol="tls://",
            security=access.dask_security(),
            scheduler_port=0,
            dashboard_address=f"{LOOPBACK}:0",
            # A block whose worker dies is done by another one, three times by default.
            scheduler_kwargs={"allowed_failures": 10},
        ) as cluster,
    ):
        files = map(str, (access.tls_ca, access.tls_cert, access.tls_key))
        arguments = json.dumps([cluster.scheduler_address, n_threads, *files])
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
            yield LocalWorkers(cluster.scheduler_address, access, processes)
        finally:
            _end(processes)


@contextmanager
def _temporary_access() -> Iterator[ClusterAccess]:
    """Make a certificate in a folder that only this user can read."""
    from distributed.security import Security

    made = Security.temporary()
    with tempfile.TemporaryDirectory(prefix="overfly-cluster-", ignore_cleanup_errors=True) as folder:
        cert, key = Path(folder, "cert.pem"), Path(folder, "key.pem")
        cert.write_text(made.tls_ca_file)
        key.write_text(made.tls_client_key)
        yield ClusterAccess(tls_ca=cert, tls_cert=cert, tls_key=key)


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
