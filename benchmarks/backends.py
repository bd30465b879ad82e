"""The models that a bench measures: the variants of a bundle by OpenVINO, and the run by PyTorch."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from overfly.benchmarks.timing import Backend, Logits
from overfly.runtime.bundle import MANIFEST, VARIANTS, Bundle
from overfly.runtime.devices import full_name, is_meta, resolve_device
from overfly.runtime.errors import DeviceError, RunError, needs_extra
from overfly.runtime.files import sha256_file
from overfly.runtime.images import ImageBatch
from overfly.runtime.runner import Runner, compile_variant

if TYPE_CHECKING:
    from torch import nn

PYTORCH = "pytorch"
OPENVINO = "openvino"

# Large enough to use every core, small enough for the memory of a laptop.
PYTORCH_BATCH = 16

_RUN_FILE = "run.json"
_CHECKPOINT = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is ready, where it really runs, and in which precision it computes."""

    backend: Backend
    device: str
    device_name: str
    requested_precision: str
    execution_precision: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row to be: what is known before it is loaded.

    Attributes
    ----------
    requested_precision
        What it will ask for.
    size_bytes
        Of its files.
    load
        Loads it.
    probe_arguments
        What makes `overfly.benchmarks.probe` load the same.
    """

    backend: str
    variant: str
    device: str
    device_name: str
    requested_precision: str
    size_bytes: int | None
    load: Callable[[], Loaded]
    probe_arguments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OpenVinoBackend:
    """A variant, compiled once for each of OpenVINO's performance hints."""

    latency: Runner
    throughput: Runner

    def infer(self, image: ImageBatch) -> Logits:
        """Infer one image with the latency hint."""
        return self.latency.infer(image)

    def stream(self, images: Iterable[ImageBatch]) -> Iterator[Logits]:
        """Infer a stream with the throughput hint, as many images in flight as the device wants."""
        return self.throughput.stream(images)


class PyTorchBackend:
    """A deployed model in eager mode on the CPU, as PyTorch runs it by default.

    Parameters
    ----------
    model
        Takes uint8 ``[N, S, S, 3]`` and returns logits, in eval mode.
    """

    def __init__(self, model: "nn.Module") -> None:
        self._model = model

    def infer(self, image: ImageBatch) -> Logits:
        """Infer one image."""
        import torch

        with torch.inference_mode():
            logits: Logits = self._model(torch.from_numpy(image)).numpy()
        return logits

    def stream(self, images: Iterable[ImageBatch]) -> Iterator[Logits]:
        """Infer a stream in batches of `PYTORCH_BATCH`."""
        import numpy as np

        source = iter(images)
        while batch := list(islice(source, PYTORCH_BATCH)):
            yield from self.infer(np.stack(batch))


def openvino_candidates(bundle: Bundle, devices: Sequence[str], *, cache: bool) -> list[Candidate]:
    """Return every variant of a bundle on every device, in order, no device twice.

    Raises
    ------
    DeviceError
        When a device is not there, or is one of OpenVINO's that hand the work to others: they
        change it while they run, so a figure of theirs would be nobody's.
    """
    targets = dict.fromkeys(resolve_device(name) for name in devices)
    for target in targets:
        if is_meta(target):
            raise DeviceError(f"{target} can't be measured, as it hands the work to other devices: name one of those")
    variants = sorted(bundle.manifest.variants, key=lambda v: VARIANTS.index(v) if v in VARIANTS else len(VARIANTS))
    return [_openvino_candidate(bundle, variant, target, cache=cache) for target in targets for variant in variants]


def pytorch_candidate(bundle: Bundle, run: Path) -> Candidate:
    """Return the PyTorch baseline of the run that a bundle comes from; imports no torch yet.

    Raises
    ------
    RunError
        When the folder is no run, or not the one that the bundle was exported from.
    """
    if not (run / _RUN_FILE).is_file():
        raise RunError(f"{run} is not a run: expected the folder written by overfly train, with its {_RUN_FILE}")
    if sha256_file(run / _RUN_FILE) != bundle.manifest.provenance.run_sha256:
        raise RunError(
            f"{bundle.path / MANIFEST} was not exported from {run}: the SHA-256 of its {_RUN_FILE} differs; "
            "pass the run that the bundle was made from, or export it again"
        )
    checkpoint = run / _CHECKPOINT
    return Candidate(
        backend=PYTORCH,
        variant="fp32",
        device="CPU",
        device_name=full_name("CPU"),
        requested_precision="f32",
        size_bytes=checkpoint.stat().st_size if checkpoint.is_file() else None,
        load=lambda: load_pytorch(run),
        probe_arguments=("--bundle", str(bundle.path), "--run", str(run)),
    )


def load_openvino(bundle: Bundle, variant: str, device: str, *, cache: bool) -> Loaded:
    """Compile a variant for latency and for throughput."""
    latency = compile_variant(bundle, variant=variant, device=device, hint="latency", cache=cache)
    throughput = compile_variant(bundle, variant=variant, device=device, hint="throughput", cache=cache)
    return Loaded(
        backend=OpenVinoBackend(latency, throughput),
        device=latency.device,
        device_name=latency.device_name,
        requested_precision=latency.requested_precision,
        execution_precision=latency.execution_precision,
    )


def load_pytorch(run: Path) -> Loaded:
    """Load a run's model; this imports torch.

    Raises
    ------
    MissingExtraError
        When torch is not installed.
    RunError
        When the run is not complete.
    """
    with needs_extra("train"):
        from overfly.training.run import Run
    model = Run.open(run).load_model()
    return Loaded(PyTorchBackend(model), "CPU", full_name("CPU"), "f32", "f32")


def _openvino_candidate(bundle: Bundle, variant: str, device: str, *, cache: bool) -> Candidate:
    """Return one variant on one device."""
    record = bundle.variant(variant)
    files = [bundle.manifest.files.get(name) for name in (record.xml, record.bin)]
    arguments = ("--bundle", str(bundle.path), "--variant", variant, "--device", device)
    return Candidate(
        backend=OPENVINO,
        variant=variant,
        device=device,
        device_name=full_name(device),
        requested_precision="f32" if variant == "fp32" else "auto",
        size_bytes=sum(file.size_bytes for file in files if file is not None) if all(files) else None,
        load=lambda: load_openvino(bundle, variant, device, cache=cache),
        probe_arguments=arguments if cache else (*arguments, "--no-cache"),
    )
