"""Load a model into OpenVINO, ONNX Runtime or PyTorch, so that all of them can be measured alike."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from overfly.benchmarks.results.backends import ONNXRUNTIME, OPENVINO, PYTORCH
from overfly.benchmarks.results.row_records import Execution
from overfly.export.onnx_session import open_onnx_session
from overfly.runtime.bundle.bundle import Bundle, Logits
from overfly.runtime.errors import DeviceError, first_line
from overfly.runtime.files.names import utf8_text
from overfly.runtime.images.reading import ImageBatch
from overfly.runtime.inference.compile import Hint, compile_for_single_images, compile_variant, supported_config
from overfly.runtime.inference.devices import core, full_name
from overfly.runtime.inference.runner import Runner

if TYPE_CHECKING:
    from torch import nn

# Takes uint8 [N, S, S, 3] images and returns float32 [N, n_classes] logits.
Infer = Callable[[ImageBatch], Logits]

# Large enough to use every core, small enough for the memory of a laptop.
BATCH = 16

# Configurations, see `row_records.RowSpec`.
COMPILED = "compiled"
CHANNELS_LAST = "channels-last"
STATIC = "static"
FROM_ONNX = "from ONNX"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSpec:
    """What to load. All values are plain, so that it can be sent to another process as JSON.

    Attributes
    ----------
    backend, variant, configuration
        As in `row_records.RowSpec`.
    device
        OpenVINO's name of the device.
    bundle
        Path of the bundle.
    path
        Path of the run for PyTorch, or of an ONNX file. Empty for a variant of the bundle.
    cache
        Whether compiled models are kept in the user's cache folder.
    """

    backend: str
    variant: str
    configuration: str = ""
    device: str = "CPU"
    bundle: str
    path: str = ""
    cache: bool = False


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model that is ready to infer.

    Attributes
    ----------
    infer
        Takes one uint8 ``[1, S, S, 3]`` image and returns its float32 ``[1, n_classes]`` logits, latency first.
    stream
        Takes uint8 ``[S, S, 3]`` images and yields float32 ``[n_classes]`` logits in order, throughput first.
    execution
        Where and how it is computed.
    """

    infer: Infer
    stream: Callable[[Iterable[ImageBatch]], Iterator[Logits]]
    execution: Execution


def stream_in_batches(infer: Infer, images: Iterable[ImageBatch], *, always_full: bool = False) -> Iterator[Logits]:
    """Infer images in batches of `BATCH`.

    Parameters
    ----------
    infer
        Takes uint8 ``[N, S, S, 3]`` and returns float32 ``[N, n_classes]`` logits.
    images
        uint8 ``[S, S, 3]`` each.
    always_full
        Fill up the last batch: a model compiled for fixed shapes would be compiled again for it.

    Yields
    ------
    numpy.ndarray
        The float32 ``[n_classes]`` logits of each image, in order.
    """
    source = iter(images)
    while batch := list(islice(source, BATCH)):
        n_images = len(batch)
        if always_full:
            batch += batch[-1:] * (BATCH - n_images)
        yield from infer(np.stack(batch))[:n_images]


class Loader(ABC):
    """Loads a model into one backend: as a whole for the measurement, in steps for the probe."""

    def __init__(self, spec: LoadSpec) -> None:
        self.spec = spec

    @abstractmethod
    def load(self) -> LoadedModel:
        """Load the model for single images and for streams."""

    @abstractmethod
    def prepare(self) -> None:
        """Import the library and start the device, so that neither is part of the load time."""

    def load_for_latency(self, *, cached: bool) -> Infer:  # noqa: ARG002 - only some have a model cache
        """Load the model for single images only; `cached` takes it from the model cache."""
        return self.load().infer

    def fill_cache(self) -> bool:
        """Put the model into the model cache; return False if this model is not cached."""
        return False


class OpenVinoLoader(Loader):
    """Loads a variant of a bundle, or the bundle's ONNX file as it is."""

    def __init__(self, spec: LoadSpec) -> None:
        super().__init__(spec)
        self._bundle = Bundle.open(Path(spec.bundle))

    def load(self) -> LoadedModel:
        """Compile the model once for each performance hint."""
        latency = self._compile("latency", cache=self.spec.cache)
        throughput = self._compile("throughput", cache=self.spec.cache)
        execution = Execution(
            device=latency.device,
            device_name=latency.device_name,
            requested_precision=latency.requested_precision,
            execution_precision=latency.execution_precision,
            n_threads=latency.n_threads,
        )
        return LoadedModel(latency.infer, throughput.stream, execution)

    def prepare(self) -> None:
        """Load the device's plugin."""
        full_name(self.spec.device)

    def load_for_latency(self, *, cached: bool) -> Infer:
        """Compile the model with the latency hint."""
        return self._compile("latency", cache=cached).infer

    def fill_cache(self) -> bool:
        """Compile a variant of the bundle with the model cache; an ONNX file is not cached."""
        if not self.spec.cache or self.spec.configuration == FROM_ONNX:
            return False
        self._compile("latency", cache=True)
        return True

    def _compile(self, hint: Hint, *, cache: bool) -> Runner:
        """Compile the model for single images."""
        spec = self.spec
        if spec.configuration != FROM_ONNX:
            return compile_variant(self._bundle, variant=spec.variant, device=spec.device, hint=hint, cache=cache)
        config = supported_config(spec.device, hint=hint, execution_precision="f32")
        compiled = compile_for_single_images(core().read_model(utf8_text(spec.path)), spec.device, config)
        return Runner(compiled, variant=spec.variant, requested_precision="f32")


class OnnxRuntimeLoader(Loader):
    """Loads an ONNX file into ONNX Runtime on the CPU, with its default settings."""

    def load(self) -> LoadedModel:
        """Load the file.

        Raises
        ------
        DeviceError
            If ONNX Runtime can't run the file.
        """
        self.prepare()
        path = Path(self.spec.path)
        try:
            session = open_onnx_session(path)
        except Exception as error:  # its exceptions have no other common base
            raise DeviceError(f"ONNX Runtime can't run {path}: {first_line(error)}") from error
        source, target = session.get_inputs()[0].name, session.get_outputs()[0].name

        def infer(images: ImageBatch) -> Logits:
            try:
                logits: Logits = session.run([target], {source: images})[0]
            except Exception as error:
                raise DeviceError(f"ONNX Runtime can't run {path}: {first_line(error)}") from error
            return logits

        # 0 means its default, one thread for each physical core; it does not report their number.
        n_threads = session.get_session_options().intra_op_num_threads or None
        precision = "i8" if self.spec.configuration == STATIC else "f32"
        execution = Execution("CPU", full_name("CPU"), "auto", precision, n_threads)
        return LoadedModel(infer, partial(stream_in_batches, infer), execution)

    def prepare(self) -> None:
        """Import ONNX Runtime."""
        import onnxruntime  # noqa: F401 - so that this is not part of the load time


class PyTorchLoader(Loader):
    """Loads a run's model into PyTorch on the CPU."""

    def load(self) -> LoadedModel:
        """Load the model; `COMPILED` compiles it for one image and for a batch.

        Raises
        ------
        RunError
            If the run is not complete.
        DeviceError
            If ``torch.compile`` fails, as it does without a C++ compiler.
        """
        return self._load((1, BATCH))

    def prepare(self) -> None:
        """Import torch and torchvision."""
        import overfly.training.run  # noqa: F401 - it imports torch
        from overfly.training.models.torchvision_import import torchvision_models

        torchvision_models()

    def load_for_latency(self, *, cached: bool) -> Infer:  # noqa: ARG002 - torch.compile always uses its cache
        """Load the model; `COMPILED` compiles it for one image."""
        return self._load((1,)).infer

    def fill_cache(self) -> bool:
        """Drop the compiled model from memory, so that the next load takes it from torch.compile's cache."""
        if self.spec.configuration != COMPILED:
            return False
        import torch

        torch.compiler.reset()
        return True

    def _load(self, batches: Sequence[int]) -> LoadedModel:
        """Load the model; `batches` are the batch sizes to compile it for."""
        self.prepare()
        import torch

        from overfly.training.run import Run

        run = Run.open(Path(self.spec.path))
        model: nn.Module = run.load_model()
        is_compiled = self.spec.configuration == COMPILED
        if self.spec.configuration == CHANNELS_LAST:
            model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if is_compiled:
            model = compile_pytorch(model, batches, run.record.image.size)

        def infer(images: ImageBatch) -> Logits:
            # Pillow's arrays may be read-only, and PyTorch warns about that.
            tensor = torch.from_numpy(images if images.flags.writeable else images.copy())
            with torch.inference_mode():
                logits: Logits = model(tensor).numpy()
            return logits

        execution = Execution("CPU", full_name("CPU"), "f32", "f32", torch.get_num_threads())
        return LoadedModel(infer, partial(stream_in_batches, infer, always_full=is_compiled), execution)


_LOADERS: dict[str, type[Loader]] = {
    PYTORCH: PyTorchLoader,
    ONNXRUNTIME: OnnxRuntimeLoader,
    OPENVINO: OpenVinoLoader,
}


def loader_of(spec: LoadSpec) -> Loader:
    """Return the loader of the spec's backend."""
    return _LOADERS[spec.backend](spec)


def compile_pytorch(model: "nn.Module", batches: Sequence[int], size: int) -> "nn.Module":
    """Return a model compiled by torch's default backend.

    Parameters
    ----------
    model
        Takes uint8 ``[N, size, size, 3]``.
    batches
        The batch sizes to compile it for. They are compiled here, not when the model is timed.
    size
        Height and width of the images.

    Raises
    ------
    DeviceError
        If ``torch.compile`` fails.
    """
    import torch

    try:
        # Its warnings are about its own internals.
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")
            compiled: nn.Module = torch.compile(model, dynamic=False)  # type: ignore[assignment,unused-ignore]
            for n_images in batches:
                compiled(torch.zeros(n_images, size, size, 3, dtype=torch.uint8))
    except Exception as error:  # whatever its compiler raises
        raise DeviceError(
            f"torch.compile failed: {first_line(error)}; it needs a C++ compiler and Python's headers"
        ) from error
    return compiled
