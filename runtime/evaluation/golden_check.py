"""Check whether a device computes the signed-off answers, and find a remedy if it does not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from overfly.runtime.bundle.bundle import Bundle, ReferenceSet
from overfly.runtime.bundle.manifest import Parity
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.errors import DeviceError
from overfly.runtime.evaluation.parity import NOT_FINITE, Bounds, compare_logits, missed_bounds, parity_bounds
from overfly.runtime.inference.compile import compile_variant
from overfly.runtime.inference.devices import is_meta, resolve_device, supports
from overfly.runtime.inference.runner import Runner

_WINOGRAD_OFF = ("GPU_DISABLE_WINOGRAD_CONVOLUTION", "YES")


@dataclass(frozen=True, slots=True)
class CheckConfig:
    """What to check. The fields are parameters of `compile_variant`."""

    variant: str
    device: str = "auto"
    execution_precision: str = "auto"
    properties: Mapping[str, str] = field(default_factory=dict)
    cache: bool = True

    def compile(self, bundle: Bundle) -> Runner:
        """Compile the variant of a bundle; the errors are those of `compile_variant`."""
        return compile_variant(
            bundle,
            variant=self.variant,
            device=self.device,
            execution_precision=self.execution_precision,
            properties=self.properties,
            cache=self.cache,
        )


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The result of a check with golden images.

    Attributes
    ----------
    runner
        The runner that was checked; it is still open.
    parity
        Parity with the logits of the PyTorch fp32 model.
    bounds
        The bounds that the parity must keep.
    problems
        A sentence for each bound that was missed.
    """

    runner: Runner
    parity: Parity
    bounds: Bounds
    problems: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether every bound was kept."""
        return not self.problems


def check_golden(runner: Runner, golden: ReferenceSet, signed_off: Parity) -> CheckResult:
    """Infer the golden images and compare the logits with the signed-off ones.

    Parameters
    ----------
    runner
        A compiled variant of the bundle.
    golden
        The bundle's golden images and logits.
    signed_off
        The parity of the runner's variant at export.
    """
    logits = runner.logits(golden.images)
    bounds = parity_bounds(runner.variant, runner.execution_precision, signed_off)
    if not np.isfinite(logits).all():
        parity = Parity(len(logits), float("inf"), 0.0, 0.0)
        return CheckResult(runner, parity, bounds, (NOT_FINITE,))
    parity = compare_logits(golden.logits, logits)
    return CheckResult(runner, parity, bounds, tuple(missed_bounds(parity, bounds)))


def find_remedy(bundle: Bundle, golden: ReferenceSet, config: CheckConfig) -> str:
    """Try other configurations after a failed check, and return a sentence that names the first one that passes.

    Parameters
    ----------
    bundle
        The bundle that was checked.
    golden
        Its golden images and logits.
    config
        The configuration that failed.
    """
    tried = []
    for option, other in _remedies(bundle, config):
        try:
            result = check_golden(other.compile(bundle), golden, bundle.variant(other.variant).parity)
        except DeviceError:
            continue
        if result.valid:
            return f"use {option}: with it the answers are those that were signed off"
        tried.append(option)
    found = f"{', '.join(tried)} did not help" if tried else "there is nothing else to try"
    return f"{found}: export the run again, or use another device"


def _remedies(bundle: Bundle, config: CheckConfig) -> Iterator[tuple[str, CheckConfig]]:
    """Yield each option to try and the configuration with it, the smallest change first.

    In f16, INT8 models have given wrong answers on Iris Xe (OpenVINO's issues 37446 and 31045), and Winograd
    convolutions have reduced the accuracy of fine-tuned models.
    """
    asked = config.execution_precision
    if "f32" not in {asked, VARIANTS[config.variant].requested_precision if asked == "auto" else asked}:
        yield "--execution-precision f32", replace(config, execution_precision="f32")
    device = resolve_device(config.device)
    name, value = _WINOGRAD_OFF
    if name not in config.properties and not is_meta(device) and supports(device, name):
        yield f"--property {name}={value}", replace(config, properties={**config.properties, name: value})
    for variant in bundle.manifest.variants:
        if variant != config.variant:
            yield f"--variant {variant}", replace(config, variant=variant)
    if device != "CPU":
        yield "--device CPU", replace(config, device="CPU", properties={})
