"""Load times and peak memory of one row, in a process of its own.

Run as ``python -m overfly.benchmarks.measurement.probe --bundle B`` with ``--variant V --device D [--no-cache]``
for OpenVINO, ``--onnx FILE --variant V`` for ONNX Runtime, ``--onnx FILE --device D`` for OpenVINO from ONNX, or
``--run R [--configuration F]`` for PyTorch; the last line of its standard output is the result as JSON.
"""

import argparse
import ctypes
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from overfly.benchmarks.models.backends import COMPILED, Logits, compile_onnx, load_onnxruntime, load_pytorch
from overfly.benchmarks.results.records import LoadTimes, Probe
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.devices import full_name
from overfly.runtime.inference.runner import compile_variant

Result = TypeVar("Result")

_N_IMAGES = 8
_TIMEOUT_S = 300
_NS_PER_MS = 1_000_000


def probe(arguments: Sequence[str]) -> Probe:
    """Run the module in a child process that inherits the environment; an empty `Probe` when it fails."""
    command = [sys.executable, "-m", "overfly.benchmarks.measurement.probe", *arguments]
    try:
        child = subprocess.run(  # noqa: S603 - our own module, with paths and names that were checked
            command, capture_output=True, text=True, encoding="utf-8", timeout=_TIMEOUT_S, check=True
        )
        found = json.loads(child.stdout.splitlines()[-1])
        return Probe(**{**found, "load_ms": LoadTimes(**found["load_ms"])})
    except (OSError, subprocess.SubprocessError, ValueError, IndexError, KeyError, TypeError):
        return Probe()


def main(arguments: Sequence[str] | None = None) -> None:
    """Probe one row and write the result to standard output."""
    parser = argparse.ArgumentParser(prog="overfly.benchmarks.measurement.probe")
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--variant")
    parser.add_argument("--device")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--configuration", default="")
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--no-cache", action="store_true")
    options = parser.parse_args(arguments)
    bundle = Bundle.open(options.bundle)
    images = bundle.golden().images[:_N_IMAGES]
    if options.run is not None:
        result = probe_pytorch(images, options.run, options.configuration)
    elif options.onnx is not None:
        result = probe_onnx(images, options.onnx, options.variant, options.device)
    else:
        result = probe_openvino(bundle, images, options.variant, options.device, cache=not options.no_cache)
    sys.stdout.write(json.dumps(asdict(result)) + "\n")


def probe_openvino(bundle: Bundle, images: ImageBatch, variant: str, device: str, *, cache: bool) -> Probe:
    """Compile a variant without a cache, infer, and compile it twice more with one: the second time it is filled."""
    # Loads the device's plugin, which would otherwise count for the cold compilation only.
    full_name(device)
    cold_ms, runner = _timed(lambda: compile_variant(bundle, variant=variant, device=device, cache=False))
    first_ms = _infer_all(runner.infer, images)
    peak = peak_rss_bytes()
    cached_ms = None
    if cache:
        compile_variant(bundle, variant=variant, device=device, cache=True)
        cached_ms, _ = _timed(lambda: compile_variant(bundle, variant=variant, device=device, cache=True))
    return Probe(LoadTimes(cold_ms, cached_ms), first_ms, peak)


def probe_pytorch(images: ImageBatch, run: Path, configuration: str) -> Probe:
    """Load a run's model, with torch imported before, and infer; compile it again where it was compiled."""
    import torch

    import overfly.training.run  # noqa: F401 - nor is that of torchvision

    cold_ms, loaded = _timed(lambda: load_pytorch(run, configuration, batches=(1,)))
    first_ms = _infer_all(loaded.backend.infer, images)
    peak = peak_rss_bytes()
    cached_ms = None
    if configuration == COMPILED:
        torch.compiler.reset()
        cached_ms, _ = _timed(lambda: load_pytorch(run, configuration, batches=(1,)))
    return Probe(LoadTimes(cold_ms, cached_ms), first_ms, peak)


def probe_onnx(images: ImageBatch, path: Path, variant: str | None, device: str | None) -> Probe:
    """Load an ONNX file into OpenVINO on `device`, or into ONNX Runtime where there is none, and infer."""
    if device is None:
        import onnxruntime  # noqa: F401 - its import is not the model's load time

        cold_ms, loaded = _timed(lambda: load_onnxruntime(path, variant=variant or "fp32"))
        infer = loaded.backend.infer
    else:
        full_name(device)
        cold_ms, runner = _timed(lambda: compile_onnx(path, device, "latency"))
        infer = runner.infer
    first_ms = _infer_all(infer, images)
    return Probe(LoadTimes(cold_ms, None), first_ms, peak_rss_bytes())


def peak_rss_bytes() -> int | None:
    """Return the largest resident memory that this process has had; None where it can't tell."""
    if sys.platform == "win32":
        return _windows_peak_bytes()
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: after an exec, Linux still counts the memory of the parent in it.
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
    """Return how long some work took in milliseconds, and its result."""
    start = time.perf_counter_ns()
    result = work()
    return (time.perf_counter_ns() - start) / _NS_PER_MS, result


def _infer_all(infer: Callable[[ImageBatch], Logits], images: ImageBatch) -> float:
    """Infer every image; return how long the first took in milliseconds."""
    first_ms, _ = _timed(lambda: infer(images[:1]))
    for index in range(1, len(images)):
        infer(images[index : index + 1])
    return first_ms


if __name__ == "__main__":
    main()
