"""The rows to measure: PyTorch, ONNX Runtime, every variant of a bundle, and what else people would deploy."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from overfly.benchmarks.models.bundles import BundleToMeasure
from overfly.benchmarks.models.loaders import CHANNELS_LAST, COMPILED, FROM_ONNX, STATIC, LoadSpec
from overfly.benchmarks.models.onnxruntime_int8 import Calibration, quantize_onnx
from overfly.benchmarks.results.backends import ONNXRUNTIME, OPENVINO, PYTORCH
from overfly.benchmarks.results.row_records import Execution, RowSpec
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.manifest import ONNX
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.errors import DeviceError, OverflyError, last_line
from overfly.runtime.inference.devices import full_name, is_meta, resolve_device
from overfly.training.run_layout import CHECKPOINT

_LOGGER = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row to measure.

    Attributes
    ----------
    load
        What to load.
    size_bytes
        Size of the files to load; None if they are missing.
    problem
        Why it can't be loaded; None if nothing is known against it.
    bundle
        Name of its bundle in the report, as in `RowSpec`.
    """

    load: LoadSpec
    size_bytes: int | None
    problem: str | None = None
    bundle: str = ""

    @property
    def spec(self) -> RowSpec:
        """What the row measures."""
        return RowSpec(self.load.backend, self.load.variant, self.load.configuration, self.size_bytes, self.bundle)

    @property
    def planned_execution(self) -> Execution:
        """How the row is meant to be computed."""
        # ONNX Runtime can't be asked for a precision.
        asked = self.load.backend != ONNXRUNTIME
        requested_precision = VARIANTS[self.load.variant].requested_precision if asked else "auto"
        return Execution(self.load.device, full_name(self.load.device), requested_precision)


def choose_devices(names: Sequence[str]) -> list[str]:
    """Return OpenVINO's devices with these names, in order, without duplicates.

    Raises
    ------
    DeviceError
        If a device is missing, or is one that distributes the work to others (``AUTO``, ``MULTI``, ``HETERO``):
        it may change the device while it runs, so the result could not be attributed to one device.
    """
    devices = list(dict.fromkeys(resolve_device(name) for name in names))
    for device in devices:
        if is_meta(device):
            raise DeviceError(
                f"{device} can't be measured because it distributes the work to other devices: name one of those"
            )
    return devices


def choose_candidates(
    subject: BundleToMeasure,
    devices: Sequence[str],
    workspace: Path,
    calibration: Calibration | None,
    *,
    cache: bool,
    quick: bool,
) -> list[Candidate]:
    """Return the rows of a bundle: PyTorch if there is a run, ONNX Runtime, every variant on every device.

    Parameters
    ----------
    subject, devices
        What to measure, and on which of OpenVINO's devices.
    workspace
        A temporary folder for this bundle.
    calibration
        Returns the images that calibrated the bundle's INT8 variant; they calibrate ONNX Runtime's, too. With it, what
        else people would deploy is measured as well; see ``docs/measuring.md``.
    cache
        Keep compiled models in the user's cache folder.
    quick
        Leave out ``torch.compile``, which takes longer than all other rows together.
    """
    bundle, run = subject.bundle, subject.run
    of = f" of {subject.label}" if subject.label else ""
    if run is None:
        _LOGGER.info("leaving out PyTorch%s: no run was given", of)
    elif quick:
        _LOGGER.info("leaving out PyTorch fp32 %s: it takes too long for a quick bench", COMPILED)
    found = bundle.manifest.variants
    _LOGGER.info("variants of the bundle%s: %s; devices: %s", of, ", ".join(found), ", ".join(devices))
    # The bundle may be a .zip.
    onnx = workspace / ONNX
    problem = _attempt(lambda: onnx.write_bytes(bundle.read(ONNX)))
    onnxruntime = LoadSpec(backend=ONNXRUNTIME, variant="fp32", bundle=str(bundle.path), path=str(onnx))
    variants = [(device, variant) for device in devices for variant in VARIANTS if variant in found]
    candidates = [
        *_pytorch(bundle, run, [""] if quick else ["", COMPILED]),
        Candidate(onnxruntime, _size_bytes(onnx), problem),
        *(_openvino(bundle, variant, device, cache=cache) for device, variant in variants),
    ]
    if calibration is not None:
        int8 = workspace / "onnxruntime-int8.onnx"
        int8_problem = problem or _attempt(lambda: quantize_onnx(onnx, int8, calibration))
        static = replace(onnxruntime, variant="int8", configuration=STATIC, path=str(int8))
        from_onnx = replace(onnxruntime, backend=OPENVINO, configuration=FROM_ONNX)
        candidates += [
            *_pytorch(bundle, run, [CHANNELS_LAST]),
            Candidate(static, _size_bytes(int8), int8_problem),
            *(Candidate(replace(from_onnx, device=device), _size_bytes(onnx), problem) for device in devices),
        ]
    return [replace(candidate, bundle=subject.label) for candidate in candidates]


def _pytorch(bundle: Bundle, run: Path | None, configurations: Sequence[str]) -> list[Candidate]:
    """Return the run's model in PyTorch, none without a run; this does not import torch."""
    if run is None:
        return []
    load = LoadSpec(backend=PYTORCH, variant="fp32", bundle=str(bundle.path), path=str(run))
    return [Candidate(replace(load, configuration=name), _size_bytes(run / CHECKPOINT)) for name in configurations]


def _openvino(bundle: Bundle, variant: str, device: str, *, cache: bool) -> Candidate:
    """Return a variant of the bundle on a device."""
    load = LoadSpec(backend=OPENVINO, variant=variant, device=device, bundle=str(bundle.path), cache=cache)
    record, files = bundle.variant(variant), bundle.manifest.files
    return Candidate(load, files[record.xml].size_bytes + files[record.bin].size_bytes)


def _attempt(make: Callable[[], object]) -> str | None:
    """Make a file; return None, or why it could not be made."""
    try:
        make()
    except OverflyError as error:
        return last_line(error)
    return None


def _size_bytes(path: Path) -> int | None:
    """Return the size of a file; None if it is missing."""
    return path.stat().st_size if path.is_file() else None
