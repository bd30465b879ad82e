"""A process that classifies blocks for others: a worker of Dask that does nothing else."""

import asyncio
import contextlib
import os
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Worker

from overfly.runtime.cluster import tasks
from overfly.runtime.cluster.access import ClusterAccess, listening_host
from overfly.runtime.cluster.dask_setup import silence_dask
from overfly.runtime.cluster.formats import limit_formats
from overfly.runtime.cluster.loading import load_only
from overfly.runtime.cluster.roots import Roots
from overfly.runtime.cluster.service import BlockService
from overfly.runtime.errors import ClusterError
from overfly.runtime.machine import host_name, usable_cores

# One infers while the other one reads.
N_TASKS = 2

# What Dask lets a client do with a worker, but for tasks: run any function, write any file.
_REFUSED_HANDLERS = (
    "run",
    "run_coroutine",
    "upload_file",
    "plugin-add",
    "plugin-remove",
    "actor_execute",
    "actor_attribute",
    "benchmark_disk",
    "benchmark_memory",
    "benchmark_network",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerJob:
    """What a worker does.

    Attributes
    ----------
    scheduler
        Address of the scheduler; see `ClusterAccess.address`.
    roots
        Folders that it may read; None for all that its user may.
    n_threads
        Number of CPU threads that it computes with; None takes all usable cores.
    access
        How its connections are protected.
    timeout_s
        How long to wait for the scheduler, in seconds.
    """

    scheduler: str
    roots: tuple[Path, ...] | None
    n_threads: int | None = None
    access: ClusterAccess = field(default_factory=ClusterAccess)
    timeout_s: float = 600.0


class MapWorker(Worker):  # type: ignore[misc]  # Dask has no stubs
    """A worker that classifies blocks and refuses everything else.

    Parameters
    ----------
    service
        Does the work; also an attribute.
    """

    def __init__(self, *arguments: Any, service: BlockService, **choices: Any) -> None:  # noqa: ANN401 - Dask's own
        self.service = service
        super().__init__(*arguments, nthreads=N_TASKS, memory_limit=0, **choices)
        for name in _REFUSED_HANDLERS:
            self.handlers.pop(name, None)

    def start_http_server(self, *_arguments: Any, **_choices: Any) -> None:  # noqa: ANN401 - Dask's own
        """Start none: nobody needs the pages about this worker."""


def run_worker(job: WorkerJob, note: Callable[[str], None]) -> None:
    """Work until the scheduler ends, or until a signal.

    Parameters
    ----------
    job
        What to do.
    note
        Receives sentences for the user.

    Raises
    ------
    ClusterError
        If a root is no folder, the address is not allowed, or the scheduler can't be reached.
    """
    for root in job.roots or ():
        if not root.is_dir():
            raise ClusterError(f"{root} is no folder: expected one that holds rasters or bundles")
    address = job.access.address(job.scheduler)
    silence_dask()
    if job.roots is not None:
        limit_formats()
    load_only(
        ("builtins", "bytes"),
        ("dask._task_spec", "Task"),
        # A scheduler sends it to each worker.
        ("distributed.shuffle._worker_plugin", "ShuffleWorkerPlugin"),
        (tasks.__name__, tasks.classify_block.__name__),
    )
    service = BlockService(Roots.of(job.roots), job.n_threads or usable_cores())
    asyncio.run(_work(job, address, service, note))


async def _work(job: WorkerJob, address: str, service: BlockService, note: Callable[[str], None]) -> None:
    """Join a scheduler and work."""
    name = f"{host_name()}-{os.getpid()}"
    with tempfile.TemporaryDirectory(prefix="overfly-worker-", ignore_cleanup_errors=True) as scratch:
        worker = MapWorker(
            address,
            service=service,
            name=name,
            host=listening_host(address),
            security=job.access.dask_security(),
            death_timeout=job.timeout_s,
            local_directory=scratch,
        )
        _close_on_sigterm(worker)
        try:
            await worker
        except (OSError, TimeoutError, asyncio.TimeoutError) as error:
            raise ClusterError(
                f"the scheduler at {address} can't be reached within {job.timeout_s:g} s ({type(error).__name__}): "
                "start it first, and check the address and the certificates"
            ) from error
        roots = "all that its user may" if job.roots is None else " and ".join(map(str, job.roots))
        note(f"worker {name} at {worker.address} waits for blocks; it reads {roots}")
        try:
            await worker.finished()
        finally:
            await worker.close(reason="overfly-worker-ended")
        note(f"worker {name} has ended: it has received a signal, or the scheduler at {address} has ended")


def _close_on_sigterm(worker: MapWorker) -> None:
    """Let a batch system end the worker: it hands its blocks on."""
    with contextlib.suppress(NotImplementedError):  # Windows
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, lambda: loop.create_task(worker.close_gracefully()))
