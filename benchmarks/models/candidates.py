"""The rows to be: PyTorch, ONNX Runtime, the variants of a bundle by OpenVINO, and peers to compare with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from overfly.benchmarks.models.backends import (
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
from overfly.benchmarks.models.onnxruntime_int8 import Calibration, quantize_onnx
from overfly.benchmarks.results.records import ONNXRUNTIME, OPENVINO, PYTORCH
from overfly.benchmarks.results.rows import Identity
from overfly.runtime.bundle.bundle import MANIFEST, ONNX, VARIANTS, Bundle
from overfly.runtime.errors import DeviceError, OverflyError, RunError
from overfly.runtime.files.atomic import sha256_file
from overfly.runtime.inference.devices import full_name, is_meta, resolve_device
from overfly.training.run_layout import CHECKPOINT, RUN_FILE


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row to be: what is known before it is loaded.

    Attributes
    ----------
    identity
        What it is to be; nothing of what only a loaded model tells.
    load
        Loads it.
    probe_arguments
        What makes `overfly.benchmarks.measurement.probe` load the same; None where nothing can.
    """

    identity: Identity
    load: Callable[[], Loaded]
    probe_arguments: tuple[str, ...] | None


def check_run(bundle: Bundle, run: Path) -> None:
    """Check that a folder is the run that a bundle was exported from.

    Raises
    ------
    RunError
        If it is not a run, or is another one.
    """
    if not (run / RUN_FILE).is_file():
        raise RunError(f"{run} is not a run: expected the folder written by overfly train, with its {RUN_FILE}")
    if sha256_file(run / RUN_FILE) != bundle.manifest.provenance.run_sha256:
        raise RunError(
            f"{bundle.path / MANIFEST} was not exported from {run}: the SHA-256 of its {RUN_FILE} differs; "
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
    bundle: Bundle, run: Path | None, devices: Sequence[str], workspace: Path, *, cache: bool, quick: bool
) -> list[Candidate]:
    """Return the rows of every bench: PyTorch if there is a run, ONNX Runtime, every variant on every device.

    With `quick`, ``torch.compile`` is left out: it takes longer than the rest together. `workspace` is a folder
    for what has to be made.
    """
    configurations = [] if run is None else [""] if quick else ["", COMPILED]
    variants = sorted(bundle.manifest.variants, key=VARIANTS.index)
    return [
        *(_pytorch(run, configuration, bundle) for configuration in configurations if run is not None),
        _onnxruntime(bundle, "fp32", "", _onnx_file(bundle, workspace)),
        *(_openvino(bundle, variant, device, cache=cache) for device in devices for variant in variants),
    ]


def peer_candidates(
    bundle: Bundle, run: Path | None, devices: Sequence[str], calibration: Calibration, workspace: Path
) -> list[Candidate]:
    """Return what else people compare with; see ``docs/measuring.md``.

    Parameters
    ----------
    bundle, run, devices, workspace
        As for `default_candidates`.
    calibration
        Gives the images that set the INT8 ranges of the bundle; they set those of ONNX Runtime too.
    """
    onnx = _onnx_file(bundle, workspace)
    int8 = workspace / "onnxruntime-int8.onnx"
    return [
        *([] if run is None else [_pytorch(run, CHANNELS_LAST, bundle)]),
        _onnxruntime(bundle, "int8", STATIC, _made(int8, lambda: quantize_onnx(onnx(), int8, calibration))),
        *(_openvino_from_onnx(bundle, onnx, device) for device in devices),
    ]


def _pytorch(run: Path, configuration: str, bundle: Bundle) -> Candidate:
    """Return the run's model in PyTorch; imports no torch yet."""
    checkpoint = run / CHECKPOINT
    return Candidate(
        identity=Identity(
            backend=PYTORCH,
            variant="fp32",
            configuration=configuration,
            device="CPU",
            device_name=full_name("CPU"),
            requested_precision="f32",
            size_bytes=checkpoint.stat().st_size if checkpoint.is_file() else None,
        ),
        load=partial(load_pytorch, run, configuration),
        probe_arguments=("--bundle", str(bundle.path), "--run", str(run), "--configuration", configuration),
    )


def _made(target: Path, make: Callable[[], object]) -> Callable[[], Path]:
    """Make a file now; what is returned gives its path, or raises what went wrong, when a row asks for it."""
    problem: OverflyError | None = None
    try:
        make()
    except OverflyError as error:
        problem = error

    def path() -> Path:
        if problem is not None:
            raise problem
        return target

    return path


def _onnx_file(bundle: Bundle, workspace: Path) -> Callable[[], Path]:
    """Give the bundle's ONNX file, which may lie in a .zip, to tools that take a path."""
    target = workspace / ONNX
    return _made(target, lambda: target.write_bytes(bundle.read(ONNX)))


def _size_bytes(path: Callable[[], Path]) -> int | None:
    """Return the size of a file that was made; None where it could not be."""
    try:
        return path().stat().st_size
    except OverflyError:
        return None


def _onnx_probe(bundle: Bundle, path: Callable[[], Path], *options: str) -> tuple[str, ...] | None:
    """Return what makes the probe load an ONNX file; None where there is none."""
    try:
        return ("--bundle", str(bundle.path), "--onnx", str(path()), *options)
    except OverflyError:
        return None


def _onnxruntime(bundle: Bundle, variant: str, configuration: str, path: Callable[[], Path]) -> Candidate:
    """Return an ONNX file in ONNX Runtime; `path` gives it once it is asked for."""
    return Candidate(
        identity=Identity(
            backend=ONNXRUNTIME,
            variant=variant,
            configuration=configuration,
            device="CPU",
            device_name=full_name("CPU"),
            requested_precision="auto",
            size_bytes=_size_bytes(path),
        ),
        load=lambda: load_onnxruntime(path(), variant=variant),
        probe_arguments=_onnx_probe(bundle, path, "--variant", variant),
    )


def _openvino(bundle: Bundle, variant: str, device: str, *, cache: bool) -> Candidate:
    """Return one variant on one device."""
    record = bundle.variant(variant)
    files = [bundle.manifest.files.get(name) for name in (record.xml, record.bin)]
    arguments = ("--bundle", str(bundle.path), "--variant", variant, "--device", device)
    return Candidate(
        identity=Identity(
            backend=OPENVINO,
            variant=variant,
            configuration="",
            device=device,
            device_name=full_name(device),
            requested_precision="f32" if variant == "fp32" else "auto",
            size_bytes=sum(file.size_bytes for file in files if file is not None) if all(files) else None,
        ),
        load=partial(load_openvino, bundle, variant, device, cache=cache),
        probe_arguments=arguments if cache else (*arguments, "--no-cache"),
    )


def _openvino_from_onnx(bundle: Bundle, path: Callable[[], Path], device: str) -> Candidate:
    """Return the bundle's ONNX file on one device, as OpenVINO reads it without a conversion."""
    return Candidate(
        identity=Identity(
            backend=OPENVINO,
            variant="fp32",
            configuration=FROM_ONNX,
            device=device,
            device_name=full_name(device),
            requested_precision="f32",
            size_bytes=_size_bytes(path),
        ),
        load=lambda: load_openvino_from_onnx(path(), device),
        probe_arguments=_onnx_probe(bundle, path, "--device", device),
    )
