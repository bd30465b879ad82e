"""The compiled model of a worker or of the client, and what it computes of the golden images."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import Manifest
from overfly.runtime.cluster.request import ModelRequest
from overfly.runtime.errors import ClusterError
from overfly.runtime.inference.compile import compile_variant
from overfly.runtime.inference.runner import Runner

_THREADS = "INFERENCE_NUM_THREADS"
# OpenVINO binds its threads to the first cores. Workers on one machine would all take the same ones: two workers with
# one thread each had 0.63 of the blocks per second of one process with two (openvino 2026.4 on Linux).
_PINNING = "ENABLE_CPU_PINNING"


@dataclass(frozen=True, slots=True)
class WorkerModel:
    """A compiled model.

    Attributes
    ----------
    manifest
        Of its bundle.
    runner
        The model.
    golden_sha256
        See `hash_golden`.
    """

    manifest: Manifest
    runner: Runner
    golden_sha256: str


def compile_request(request: ModelRequest, path: Path, n_threads: int) -> WorkerModel:
    """Compile the model of a request.

    Parameters
    ----------
    request
        What to compile.
    path
        The bundle.
    n_threads
        Number of CPU threads, unless a property of the request says it.

    Raises
    ------
    ClusterError
        If the bundle is another one.
    BundleError, DeviceError
        See `overfly.runtime.inference.compile.compile_variant`.
    """
    bundle = Bundle.open(path)
    if (found := bundle.manifest_sha256()) != request.bundle_sha256:
        raise ClusterError(
            f"{path} is another bundle here: its SHA-256 is {found[:12]}..., expected {request.bundle_sha256[:12]}...; "
            "copy the bundle of the client"
        )
    runner = compile_variant(
        bundle,
        variant=request.variant,
        device=request.device,
        execution_precision=request.execution_precision,
        hint="throughput",
        cache=request.cache,
        properties=_sharing_cores(request.properties, request.device, n_threads),
    )
    return WorkerModel(bundle.manifest, runner, hash_golden(runner, bundle))


def hash_golden(runner: Runner, bundle: Bundle) -> str:
    """Return the SHA-256 of the logits that a model computes of the golden images of its bundle.

    On machines of one kind it is the same, whatever the number of threads; another instruction set changes it.
    """
    logits = runner.logits(bundle.golden().images)
    return hashlib.sha256(logits.astype("<f4").tobytes()).hexdigest()


def _sharing_cores(properties: Mapping[str, str], device: str, n_threads: int) -> dict[str, str]:
    """Return properties that also limit the threads of a CPU, and let them run on any core."""
    return {_THREADS: str(n_threads), _PINNING: "NO", **properties} if device == "CPU" else dict(properties)
