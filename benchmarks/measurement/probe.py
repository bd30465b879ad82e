"""Load times and peak memory of one row, measured in a separate process.

Run as ``python -m overfly.benchmarks.measurement.probe SPEC``, where SPEC is a `LoadSpec` as JSON. The last line of its
standard output is a `Probe` as JSON.
"""

import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from overfly.benchmarks.models.loaders import LoadSpec, loader_of
from overfly.benchmarks.results.row_records import LoadTimes, Probe
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.images.reading import ImageBatch

Result = TypeVar("Result")

# Inferred before the peak memory is read.
N_PROBE_IMAGES = 8
_TIMEOUT_S = 300
_NS_PER_MS = 1_000_000


def probe(spec: LoadSpec) -> Probe | None:
    """Measure a row in a child process that inherits the environment; return None if that fails."""
    command = [sys.executable, "-m", "overfly.benchmarks.measurement.probe", json.dumps(asdict(spec))]
    try:
        child = subprocess.run(  # noqa: S603 - our own module, with paths and names that were checked
            command, capture_output=True, text=True, encoding="utf-8", timeout=_TIMEOUT_S, check=True
        )
        found = json.loads(child.stdout.splitlines()[-1])
        return Probe(**{**found, "load_ms": LoadTimes(**found["load_ms"])})
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, KeyError, TypeError):
        return None


def main() -> None:
    """Measure the row that the first argument describes, and write the result to standard output."""
    spec = LoadSpec(**json.loads(sys.argv[1]))
    images = Bundle.open(Path(spec.bundle)).golden().images[:N_PROBE_IMAGES]
    sys.stdout.write(json.dumps(asdict(measure_loading(spec, images))) + "\n")


def measure_loading(spec: LoadSpec, images: ImageBatch) -> Probe:
    """Load a model without a model cache, infer, and load it once more from a filled cache if it has one.

    Parameters
    ----------
    spec
        What to load.
    images
        uint8, shape ``[N, S, S, 3]``: what to infer before the peak memory is read.
    """
    loader = loader_of(spec)
    loader.prepare()
    cold_ms, infer = _timed(lambda: loader.load_for_latency(cached=False))
    first_ms, _ = _timed(lambda: infer(images[:1]))
    for index in range(1, len(images)):
        infer(images[index : index + 1])
    peak = peak_rss_bytes()
    cached_ms = None
    if loader.fill_cache():
        cached_ms, _ = _timed(lambda: loader.load_for_latency(cached=True))
    return Probe(LoadTimes(cold_ms, cached_ms), first_ms, peak)


def peak_rss_bytes() -> int | None:
    """Return the largest resident memory that this process has had; None if the system does not report it."""
    if sys.platform == "win32":
        return _windows_peak_bytes()
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: after an exec, Linux still counts the parent's memory in it.
        peak = (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM:"))
        return next((int(line.split()[1]) * 1024 for line in peak), None)
    import resource

    maximum = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return maximum if sys.platform == "darwin" else maximum * 1024


def _windows_peak_bytes() -> int | None:
    """Ask K32GetProcessMemoryInfo; its structure is 72 bytes on 64-bit systems, the peak at offset 8."""
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    kernel.K32GetProcessMemoryInfo.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint32)
    buffer = ctypes.create_string_buffer((72).to_bytes(4, "little"), 72)
    if not kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), buffer, len(buffer)):
        return None
    return int.from_bytes(buffer.raw[8:16], "little")


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    """Return how long a call took in milliseconds, and its result."""
    start = time.perf_counter_ns()
    result = work()
    return (time.perf_counter_ns() - start) / _NS_PER_MS, result


if __name__ == "__main__":
    main()
