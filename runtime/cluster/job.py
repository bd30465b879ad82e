"""What a cluster is: a scheduler that runs already, or workers on this machine."""

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.cluster.access import ClusterAccess
from overfly.runtime.cluster.model import hash_golden
from overfly.runtime.cluster.request import ModelRequest, package_versions
from overfly.runtime.errors import ClusterError
from overfly.runtime.extras import require_extra
from overfly.runtime.files.names import utf8_text
from overfly.runtime.mapping.engine import BlockEngine, model_record, open_classifier
from overfly.runtime.mapping.record import ModelRecord
from overfly.runtime.reporter import Reporter

if TYPE_CHECKING:
    from distributed import Client

    from overfly.runtime.mapping.job import MapJob


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterJob:
    """Where the blocks of maps are classified. `open_engine` is for `overfly.runtime.mapping.job.make_maps`.

    Attributes
    ----------
    scheduler
        Address of a scheduler that runs already, such as ``127.0.0.1:8786``; None starts one on this machine.
    n_workers
        Number of workers to start on this machine, if there is no scheduler.
    access
        How the connection to the scheduler is protected.
    timeout_s
        How long a worker may take for a block, and how long to wait for a worker, in seconds.

    Raises
    ------
    MissingExtraError
        If a package is missing.
    ClusterError
        If the address of the scheduler is not allowed.
    """

    scheduler: str | None = None
    n_workers: int = 1
    access: ClusterAccess = field(default_factory=ClusterAccess)
    timeout_s: float = 600.0

    def __post_init__(self) -> None:
        require_extra("cluster")
        if self.scheduler is not None:
            self.access.address(self.scheduler)

    @contextmanager
    def open_engine(self, job: "MapJob", bundle: Bundle, reporter: Reporter) -> Iterator[BlockEngine]:
        """Connect to the workers.

        Raises
        ------
        ClusterError
            If the scheduler can't be reached.
        """
        from overfly.runtime.cluster.dask_setup import silence_dask
        from overfly.runtime.cluster.engine import ClusterEngine
        from overfly.runtime.cluster.local_workers import start_local_workers

        model, request = lead(job, bundle)
        silence_dask()
        with ExitStack() as stack:
            address, access, local = self.scheduler, self.access, None
            if address is None:
                local = stack.enter_context(start_local_workers(self.n_workers))
                address, access = local.address, local.access
            client = stack.enter_context(self._connect(access.address(address), access, reporter))
            engine = ClusterEngine(
                client, model=model, request=request, timeout_s=self.timeout_s, reporter=reporter, local=local
            )
            stack.callback(engine.close)
            yield engine

    def _connect(self, address: str, access: ClusterAccess, reporter: Reporter) -> "Client":
        """Connect to a scheduler; note if its packages have other versions."""
        from distributed import Client
        from distributed.versions import VersionMismatchWarning

        try:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always", VersionMismatchWarning)
                client = Client(
                    address,
                    security=access.dask_security(),
                    timeout=min(self.timeout_s, 30.0),
                    set_as_default=False,
                    name=f"overfly-map-{os.getpid()}",
                )
        except (OSError, TimeoutError) as error:
            raise ClusterError(
                f"there is no scheduler at {address} ({type(error).__name__}): start one with  dask scheduler,  and "
                "check the address and the certificates"
            ) from error
        if any(issubclass(warning.category, VersionMismatchWarning) for warning in found):
            reporter.note(
                f"the scheduler at {address} or one of its workers has another version of Dask than this process: "
                "if blocks fail, install the same version everywhere"
            )
        return client


def lead(job: "MapJob", bundle: Bundle) -> tuple[ModelRecord, ModelRequest]:
    """Compile the model here, to know what the workers must compute; it is released then."""
    with open_classifier(job) as classifier:
        runner = classifier.runner
        request = ModelRequest(
            bundle=utf8_text(job.bundle.absolute()),
            bundle_sha256=bundle.manifest_sha256(),
            variant=runner.variant,
            device=runner.device if job.device == "auto" else job.device.upper(),
            execution_precision=job.execution_precision,
            cache=job.cache,
            properties=dict(job.properties),
            golden_sha256=hash_golden(runner, bundle),
            packages=package_versions(),
            allow_mixed=job.allow_mixed,
        )
        return model_record(bundle, classifier), request
