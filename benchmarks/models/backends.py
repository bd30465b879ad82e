"""What executes a model: OpenVINO, ONNX Runtime, and PyTorch, each behind `Backend`."""

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.errors import DeviceError
from overfly.runtime.extras import require_extra
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.devices import core, full_name, supports
from overfly.runtime.inference.runner import Hint, Runner, compile_variant

if TYPE_CHECKING:
    from torch import nn

Logits = npt.NDArray[np.float32]

# Large enough to use every core, small enough for the memory of a laptop.
BATCH = 16

# Configurations, see `figures.Row`.
COMPILED = "compiled"
CHANNELS_LAST = "channels-last"
STATIC = "static"
FROM_ONNX = "from ONNX"


class Backend(Protocol):
    """A loaded model."""

    def infer(self, image: ImageBatch) -> Logits:
        """Take one uint8 ``[1, S, S, 3]`` image and return its float32 ``[1, n_classes]`` logits, latency first."""

    def stream(self, images: Iterable[ImageBatch]) -> Iterator[Logits]:
        """Take uint8 ``[S, S, 3]`` images and yield float32 ``[n_classes]`` logits in order, throughput first."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready, where it really runs, in which precision it computes, and with how many threads."""

    backend: Backend
    device: str
    device_name: str
    requested_precision: str
    execution_precision: str
    n_threads: int | None


@dataclass(frozen=True, slots=True)
class OpenVinoBackend:
    """A model, compiled once for each of OpenVINO's performance hints."""

    latency: Runner
    throughput: Runner

    def infer(self, image: ImageBatch) -> Logits:
        """Infer one image with the latency hint."""
        return self.latency.infer(image)

    def stream(self, images: Iterable[ImageBatch]) -> Iterator[Logits]:
        """Infer a stream with the throughput hint, as many images in flight as the device wants."""
        return self.throughput.stream(images)


class BatchBackend:
    """A function of a batch, which runs single images one by one and a stream in batches of `BATCH`.

    Parameters
    ----------
    run
        Takes uint8 ``[N, S, S, 3]`` and returns float32 ``[N, n_classes]`` logits.
    always_full
        Fill up the last batch of a stream: a model compiled for fixed shapes would be compiled again for it.
    """

    def __init__(self, run: Callable[[ImageBatch], Logits], *, always_full: bool = False) -> None:
        self._run = run
        self._always_full = always_full

    def infer(self, image: ImageBatch) -> Logits:
        """Infer one image."""
        return self._run(image)

    def stream(self, images: Iterable[ImageBatch]) -> Iterator[Logits]:
        """Infer a stream, batch by batch."""
        source = iter(images)
        while batch := list(islice(source, BATCH)):
            n_images = len(batch)
            if self._always_full:
                batch += batch[-1:] * (BATCH - n_images)
            yield from self._run(np.stack(batch))[:n_images]


def load_openvino(bundle: Bundle, variant: str, device: str, *, cache: bool) -> Loaded:
    """Compile a variant for latency and for throughput."""
    latency = compile_variant(bundle, variant=variant, device=device, hint="latency", cache=cache)
    throughput = compile_variant(bundle, variant=variant, device=device, hint="throughput", cache=cache)
    return _loaded_openvino(latency, throughput)


def load_openvino_from_onnx(path: Path, device: str) -> Loaded:
    """Compile an ONNX file as it is, in f32, for latency and for throughput."""
    return _loaded_openvino(*(compile_onnx(path, device, hint) for hint in ("latency", "throughput")))


def compile_onnx(path: Path, device: str, hint: Hint) -> Runner:
    """Compile an ONNX file as it is for single images, in f32."""
    model = core().read_model(path)
    _, height, width, channels = model.input(0).partial_shape
    model.reshape([1, height, width, channels])
    wanted = {"PERFORMANCE_HINT": hint.upper(), "INFERENCE_PRECISION_HINT": "f32"}
    config = {name: value for name, value in wanted.items() if supports(device, name)}
    return Runner(core().compile_model(model, device, config), variant="fp32", requested_precision="f32")


def load_onnxruntime(path: Path, *, variant: str) -> Loaded:
    """Load an ONNX file into ONNX Runtime on the CPU, with its own defaults.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``bench`` is not installed.
    DeviceError
        When it can't run the file.
    """
    require_extra("bench")
    import onnxruntime

    # Its builds for Windows report usage events otherwise.
    onnxruntime.disable_telemetry_events()
    try:
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exceptions share no other base
        raise DeviceError(f"ONNX Runtime can't run {path}: {first_line(error)}") from error
    source, target = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(images: ImageBatch) -> Logits:
        try:
            logits: Logits = session.run([target], {source: images})[0]
        except Exception as error:
            raise DeviceError(f"ONNX Runtime can't run {path}: {first_line(error)}") from error
        return logits

    # 0 stands for its own choice, one for each physical core, which it does not tell.
    n_threads = session.get_session_options().intra_op_num_threads or None
    precision = "i8" if variant == "int8" else "f32"
    return Loaded(BatchBackend(run), "CPU", full_name("CPU"), "auto", precision, n_threads)


def load_pytorch(run: Path, configuration: str = "", *, batches: Sequence[int] = (1, BATCH)) -> Loaded:
    """Load a run's model into PyTorch on the CPU; this imports torch.

    Parameters
    ----------
    run
        The run's folder.
    configuration
        Empty for eager mode, `CHANNELS_LAST` or `COMPILED`.
    batches
        The batch sizes to compile for.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``train`` is not installed.
    RunError
        When the run is not complete.
    DeviceError
        When ``torch.compile`` fails, as it does without a C++ compiler.
    """
    require_extra("train")
    import torch

    from overfly.training.run import Run

    opened = Run.open(run)
    model: nn.Module = opened.load_model()
    if configuration == CHANNELS_LAST:
        model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if configuration == COMPILED:
        model = _compile(model, batches, opened.record.image.size)

    def infer(images: ImageBatch) -> Logits:
        # What Pillow decoded may be read-only, and PyTorch warns of that.
        tensor = torch.from_numpy(images if images.flags.writeable else images.copy())
        with torch.inference_mode():
            logits: Logits = model(tensor).numpy()
        return logits

    backend = BatchBackend(infer, always_full=configuration == COMPILED)
    return Loaded(backend, "CPU", full_name("CPU"), "f32", "f32", torch.get_num_threads())


def first_line(error: BaseException) -> str:
    """Return the first line of a message that says something: compilers print pages."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _compile(model: "nn.Module", batches: Sequence[int], size: int) -> "nn.Module":
    """Return a model compiled by torch's default backend for fixed batch sizes, now and not when it is timed."""
    import torch

    try:
        # What it remarks on its own internals helps nobody here.
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            compiled: nn.Module = torch.compile(model, dynamic=False)  # type: ignore[assignment,unused-ignore]
            for n_images in batches:
                compiled(torch.zeros(n_images, size, size, 3, dtype=torch.uint8))
    except Exception as error:  # whatever the compiler behind it raises
        raise DeviceError(
            f"torch.compile failed: {first_line(error)}; it needs a C++ compiler and Python's headers"
        ) from error
    return compiled


def _loaded_openvino(latency: Runner, throughput: Runner) -> Loaded:
    """Return what two runners of the same model say of themselves."""
    return Loaded(
        backend=OpenVinoBackend(latency, throughput),
        device=latency.device,
        device_name=latency.device_name,
        requested_precision=latency.requested_precision,
        execution_precision=latency.execution_precision,
        n_threads=latency.n_threads,
    )
