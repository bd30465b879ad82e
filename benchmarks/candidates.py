"""The rows to be: PyTorch, ONNX Runtime, the variants of a bundle by OpenVINO, and peers to compare with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from overfly.benchmarks.backends import (
    CHANNELS_LAST,
    COMPILED,
    FROM_ONNX,
    STATIC,
    Loaded,
    load_onnxruntime,
    load_openvino,
    load_openvino_from_onnx,
    load_pytorch,
)
from overfly.benchmarks.peers import Calibration, quantise_onnx
from overfly.benchmarks.report import ONNXRUNTIME, OPENVINO, PYTORCH
from overfly.runtime.bundle import MANIFEST, ONNX, VARIANTS, Bundle
from overfly.runtime.devices import full_name, is_meta, resolve_device
from overfly.runtime.errors import DeviceError, OverflyError, RunError
from overfly.runtime.files import sha256_file

_RUN_FILE = "run.json"
_CHECKPOINT = "checkpoint.safetensors"


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
        What makes `overfly.benchmarks.probe` load the same; None where nothing can.
    """

    backend: str
    variant: str
    flavour: str
    device: str
    device_name: str
    requested_precision: str
    size_bytes: int | None
    load: Callable[[], Loaded]
    probe_arguments: tuple[str, ...] | None


def check_run(bundle: Bundle, run: Path) -> None:
    """Refuse a folder that is no run, or not the one that a bundle was exported from.

    Raises
    ------
    RunError
        Then.
    """
    if not (run / _RUN_FILE).is_file():
        raise RunError(f"{run} is not a run: expected the folder written by overfly train, with its {_RUN_FILE}")
    if sha256_file(run / _RUN_FILE) != bundle.manifest.provenance.run_sha256:
        raise RunError(
            f"{bundle.path / MANIFEST} was not exported from {run}: the SHA-256 of its {_RUN_FILE} differs; "
            "pass the run that the bundle was made from, or export it again"
        )


def choose_devices(names: Sequence[str]) -> list[str]:
    """Return OpenVINO's devices of these names, in order, none twice.

    Raises
    ------
    DeviceError
        When a device is not there, or is one of OpenVINO's that hand the work to others: they
        change it while they run, so a figure of theirs would be nobody's.
    """
    devices = list(dict.fromkeys(resolve_device(name) for name in names))
    for device in devices:
        if is_meta(device):
            raise DeviceError(f"{device} can't be measured, as it hands the work to other devices: name one of those")
    return devices


def default_candidates(
    bundle: Bundle, run: Path | None, devices: Sequence[str], *, cache: bool, quick: bool
) -> list[Candidate]:
    """Return the rows of every bench: PyTorch if there is a run, ONNX Runtime, every variant on every device.

    With `quick`, ``torch.compile`` is left out: it takes longer than the rest together.
    """
    flavours = [] if run is None else [""] if quick else ["", COMPILED]
    variants = sorted(bundle.manifest.variants, key=VARIANTS.index)
    return [
        *(_pytorch(run, flavour, bundle) for flavour in flavours if run is not None),
        _onnxruntime_fp32(bundle),
        *(_openvino(bundle, variant, device, cache=cache) for device in devices for variant in variants),
    ]


def peer_candidates(
    bundle: Bundle, run: Path | None, devices: Sequence[str], calibration: Calibration, workspace: Path
) -> list[Candidate]:
    """Return what else people compare with; see ``docs/measuring.md``.

    Parameters
    ----------
    bundle, run, devices
        As for `default_candidates`.
    calibration
        Gives the images that set the INT8 ranges of the bundle; they set those of ONNX Runtime too.
    workspace
        A folder for what has to be made.
    """
    return [
        *([] if run is None else [_pytorch(run, CHANNELS_LAST, bundle)]),
        _onnxruntime_int8(bundle, calibration, workspace),
        *(_openvino_from_onnx(bundle, device) for device in devices),
    ]


def _pytorch(run: Path, flavour: str, bundle: Bundle) -> Candidate:
    """Return the run's model in PyTorch; imports no torch yet."""
    checkpoint = run / _CHECKPOINT
    return Candidate(
        backend=PYTORCH,
        variant="fp32",
        flavour=flavour,
        device="CPU",
        device_name=full_name("CPU"),
        requested_precision="f32",
        size_bytes=checkpoint.stat().st_size if checkpoint.is_file() else None,
        load=partial(load_pytorch, run, flavour),
        probe_arguments=("--bundle", str(bundle.path), "--run", str(run), "--flavour", flavour),
    )


def _onnxruntime_fp32(bundle: Bundle) -> Candidate:
    """Return the bundle's ONNX file in ONNX Runtime."""
    record = bundle.manifest.files.get(ONNX)
    return _onnxruntime(
        bundle, "fp32", "", None if record is None else record.size_bytes, lambda: bundle.file(ONNX), bundle.path / ONNX
    )


def _onnxruntime_int8(bundle: Bundle, calibration: Calibration, workspace: Path) -> Candidate:
    """Return the bundle's ONNX file, quantised by ONNX Runtime's own tool; what fails there fails at loading."""
    target = workspace / "onnxruntime-int8.onnx"
    problem: OverflyError | None = None
    try:
        quantise_onnx(bundle.file(ONNX), target, calibration)
    except OverflyError as error:
        problem = error

    def path() -> Path:
        if problem is not None:
            raise problem
        return target

    size_bytes = target.stat().st_size if target.is_file() else None
    return _onnxruntime(bundle, "int8", STATIC, size_bytes, path, target if problem is None else None)


def _onnxruntime(
    bundle: Bundle, variant: str, flavour: str, size_bytes: int | None, path: Callable[[], Path], probed: Path | None
) -> Candidate:  # fmt: skip
    """Return an ONNX file in ONNX Runtime; `path` gives it once it is asked for."""
    arguments = ("--bundle", str(bundle.path), "--onnx", str(probed), "--variant", variant)
    return Candidate(
        backend=ONNXRUNTIME,
        variant=variant,
        flavour=flavour,
        device="CPU",
        device_name=full_name("CPU"),
        requested_precision="auto",
        size_bytes=size_bytes,
        load=lambda: load_onnxruntime(path(), variant=variant),
        probe_arguments=None if probed is None else arguments,
    )


def _openvino(bundle: Bundle, variant: str, device: str, *, cache: bool) -> Candidate:
    """Return one variant on one device."""
    record = bundle.variant(variant)
    files = [bundle.manifest.files.get(name) for name in (record.xml, record.bin)]
    arguments = ("--bundle", str(bundle.path), "--variant", variant, "--device", device)
    return Candidate(
        backend=OPENVINO,
        variant=variant,
        flavour="",
        device=device,
        device_name=full_name(device),
        requested_precision="f32" if variant == "fp32" else "auto",
        size_bytes=sum(file.size_bytes for file in files if file is not None) if all(files) else None,
        load=partial(load_openvino, bundle, variant, device, cache=cache),
        probe_arguments=arguments if cache else (*arguments, "--no-cache"),
    )


def _openvino_from_onnx(bundle: Bundle, device: str) -> Candidate:
    """Return the bundle's ONNX file on one device, as OpenVINO reads it without a conversion."""
    record = bundle.manifest.files.get(ONNX)
    return Candidate(
        backend=OPENVINO,
        variant="fp32",
        flavour=FROM_ONNX,
        device=device,
        device_name=full_name(device),
        requested_precision="f32",
        size_bytes=None if record is None else record.size_bytes,
        load=lambda: load_openvino_from_onnx(bundle.file(ONNX), device),
        probe_arguments=("--bundle", str(bundle.path), "--onnx", str(bundle.path / ONNX), "--device", device),
    )
