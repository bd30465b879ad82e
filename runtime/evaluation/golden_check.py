"""Whether a device gives the answers that were signed off, and what to do when it does not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from overfly.runtime.bundle.bundle import Bundle, ReferenceSet
from overfly.runtime.bundle.manifest import Parity
from overfly.runtime.bundle.variants import VARIANTS
from overfly.runtime.errors import DeviceError
from overfly.runtime.evaluation.parity import Bounds, compare_logits, missed_bounds, parity_bounds
from overfly.runtime.inference.compile import compile_variant
from overfly.runtime.inference.devices import is_meta, resolve_device, supports
from overfly.runtime.inference.runner import Runner

_WINOGRAD_OFF = ("GPU_DISABLE_WINOGRAD_CONVOLUTION", "YES")


@dataclass(frozen=True, slots=True)
class CheckConfig:
    """What is to be checked; the fields are those of `compile_variant`."""

    variant: str
    device: str = "auto"
    execution_precision: str = "auto"
    properties: Mapping[str, str] = field(default_factory=dict)
    cache: bool = True

    def compile(self, bundle: Bundle) -> Runner:
        """Compile the variant of a bundle in this setting; raises what `compile_variant` does."""
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
    """What the golden images gave.

    Attributes
    ----------
    runner
        What they ran on; still open.
    parity
        With the PyTorch fp32 logits.
    bounds
        What was expected.
    problems
        A sentence for each bound that was missed; none when the answers are those signed off.
    """

    runner: Runner
    parity: Parity
    bounds: Bounds
    problems: tuple[str, ...]

    @property
    def valid(self) -> bool:
        """Whether the answers are those that were signed off."""
        return not self.problems


def check_golden(runner: Runner, golden: ReferenceSet, signed_off: Parity) -> CheckResult:
    """Run the golden images and compare with the signed-off logits.

    Parameters
    ----------
    signed_off
        The parity of the runner's variant at export.
    """
    logits = runner.logits(golden.images)
    bounds = parity_bounds(runner.variant, runner.execution_precision, signed_off)
    if not np.isfinite(logits).all():
        parity = Parity(len(logits), float("inf"), 0.0, 0.0)
        return CheckResult(runner, parity, bounds, ("some logits are not finite numbers",))
    parity = compare_logits(golden.logits, logits)
    return CheckResult(runner, parity, bounds, tuple(missed_bounds(parity, bounds)))


def find_remedy(bundle: Bundle, golden: ReferenceSet, setting: CheckConfig) -> str:
    """Try what may help a setting that gave wrong answers; return a sentence with the first option that does.

    Parameters
    ----------
    bundle
        The bundle that was checked.
    golden
        Its golden images and logits.
    setting
        What gave the wrong answers.
    """
    tried = []
    for option, other in _remedies(bundle, setting):
        try:
            finding = check_golden(other.compile(bundle), golden, bundle.variant(other.variant).parity)
        except DeviceError:
            continue
        if finding.valid:
            return f"use {option}: with it the answers are those that were signed off"
        tried.append(option)
    helpless = f"of {', '.join(tried)} nothing helped" if tried else "there is nothing else to try"
    return f"{helpless}: export the run again, or use another device"


def _remedies(bundle: Bundle, setting: CheckConfig) -> Iterator[tuple[str, CheckConfig]]:
    """Yield what to try, as the option to pass and the setting that it makes, the least change first.

    In f16, INT8 models have given wrong answers on Iris Xe (OpenVINO's issues 37446 and 31045), and
    Winograd convolutions have cost fine-tuned models accuracy.
    """
    asked = setting.execution_precision
    if "f32" not in {asked, VARIANTS[setting.variant].requested_precision if asked == "auto" else asked}:
        yield "--execution-precision f32", replace(setting, execution_precision="f32")
    device = resolve_device(setting.device)
    name, value = _WINOGRAD_OFF
    if name not in setting.properties and not is_meta(device) and supports(device, name):
        yield f"--property {name}={value}", replace(setting, properties={**setting.properties, name: value})
    for variant in bundle.manifest.variants:
        if variant != setting.variant:
            yield f"--variant {variant}", replace(setting, variant=variant)
    if device != "CPU":
        yield "--device CPU", replace(setting, device="CPU", properties={})
