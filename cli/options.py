"""Options that several commands share, each defined once."""

import difflib
import math
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.decorators import FC

from overfly.cli.arguments import check_not_reserved
from overfly.runtime.bundle.variants import EXECUTION_PRECISIONS, VARIANTS

if TYPE_CHECKING:
    from click.types import OptionHelpExtra

# The fields of a recipe that had options of their own in earlier versions.
_NOW_SET = (
    "optimizer",
    "weight_decay",
    "warmup_fraction",
    "schedule",
    "label_smoothing",
    "sam_rho",
    "sam_fraction",
    "batch_norm",
    "frozen_fraction",
    "ema_decay",
    "keep",
    "dihedral",
    "rotation",
    "min_crop",
    "jitter",
)
# Options of earlier versions, by command, and what to give instead.
RENAMED = {
    "bench": {"--peers": "--alternatives"},
    "train": {f"--{name.replace('_', '-')}": f"--set {name}=VALUE" for name in _NOW_SET}
    | {"--no-dihedral": "--set dihedral=false"},
}

# An upper limit from here on only catches typing errors. The help does not show it.
_UNREACHED = 1_000_000


class _NonEmptyPath(click.Path):
    """A path. click takes an empty text, such as a shell variable that is not set, for ``.``; this type rejects it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; an empty one is wrong usage."""
        if not str(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


class _OutputPath(_NonEmptyPath):
    """A path to write. On Windows, a name such as ``con`` would fail when the work is done; this type rejects it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; a reserved name is wrong usage."""
        path = super().convert(value, param, ctx)
        if sys.platform == "win32":
            check_not_reserved(path)
        return path


PATH = _NonEmptyPath(path_type=Path)
OUTPUT = _OutputPath(path_type=Path)


class Real(click.FloatRange):
    """A number in a range. click accepts ``nan`` and ``inf``; this type rejects them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number; one that is not finite is wrong usage."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


class _Option(click.Option):
    """An option whose help calls a number N, and says its range and its default in words."""

    def __init__(self, *names: Any, **attributes: Any) -> None:
        attributes.setdefault("show_default", "default" in attributes)
        super().__init__(*names, **attributes)

    def make_metavar(self, ctx: click.Context) -> str:
        """Return the placeholder of the value."""
        is_plain_number = self.metavar is None and isinstance(self.type, click.IntRange | click.FloatRange)
        return "N" if is_plain_number else super().make_metavar(ctx)

    def get_help_extra(self, ctx: click.Context) -> "OptionHelpExtra":
        """Return the default and the range to show after the help."""
        extra = super().get_help_extra(ctx)
        if isinstance(self.show_default, str):
            extra["default"] = self.show_default  # click would put it in parentheses
        if isinstance(self.type, click.IntRange | click.FloatRange) and "range" in extra:
            low, high = self.type.min, self.type.max
            words = [] if low is None else [f"{'above' if self.type.min_open else 'at least'} {low:g}"]
            if high is not None and high < _UNREACHED:
                words.append(f"{'below' if self.type.max_open else 'at most'} {high:g}")
            extra["range"] = ", ".join(words)
        return extra


option = partial(click.option, cls=_Option)

unknown = option("--unknown", is_flag=True, help="Mark as unknown what does not look like the training images.")

as_json = option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")

overwrite = option("--overwrite", is_flag=True, help="Replace existing output, once the new one is complete.")

no_cache = option(
    "--no-cache",
    "cache",
    is_flag=True,
    callback=lambda _context, _option, given: not given,
    help="Do not use the user's cache folder: neither compiled models nor the recommendation of bench.",
)

seed = option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, help="Random seed.")

execution_precision = option(
    "--execution-precision",
    type=click.Choice(["auto", *EXECUTION_PRECISIONS]),
    default="auto",
    help="Precision to compute in; auto is f32 for the fp32 variant, and the device's own choice for the others.",
)


def device(auto: str) -> Callable[[FC], FC]:
    """Return the option ``--device`` for a command in which ``auto`` means what the text `auto` says."""
    text = f"OpenVINO's name of the device: CPU, GPU, GPU.0, NPU, AUTO, ...; auto is {auto}."
    return option("--device", default="auto", metavar="NAME", help=text)


_RECOMMENDED = "what the last full bench of this bundle recommended on this machine"

device_to_run = device(f"{_RECOMMENDED}, otherwise the GPU if OpenVINO lists one, otherwise the CPU")

variant_to_run = option(
    "--variant",
    type=click.Choice(["auto", *VARIANTS]),
    default="auto",
    help=f"Variant to run; auto is {_RECOMMENDED}, otherwise the smallest.",
)


def weights(**default: Any) -> Callable[[FC], FC]:
    """Return the option ``--weights`` for a command that trains; `default` is click's `default` or `show_default`."""
    text = (
        "Initial weights: torchvision's for ImageNet (downloaded once), none (random), or a .pth or .safetensors file."
    )
    return option("--weights", metavar="imagenet|none|FILE", help=text, **default)


def out(what: str) -> Callable[[FC], FC]:
    """Return the required option ``--out`` for a command that writes `what`."""
    return option("--out", type=OUTPUT, required=True, help=f"Folder for the {what}.")


def variants(verb: str, *, default: str) -> Callable[[FC], FC]:
    """Return the repeatable option ``--variant`` for a command that does `verb` with variants."""
    text = f"Variant to {verb}; may be repeated."
    choice = click.Choice(list(VARIANTS))
    return option("--variant", "variants", multiple=True, type=choice, show_default=default, help=text)


def pairs(
    *names: str,
    metavar: str,
    text: str,
    types: Mapping[str, "click.ParamType[Any]"] | None = None,
) -> Callable[[FC], FC]:
    """Return a repeatable option ``NAME=VALUE``. The command gets a dict.

    Parameters
    ----------
    names, metavar
        As for `click.option`.
    text
        The option's help.
    types
        The allowed names with the types of their values; None allows every name, with a text as its value.
    """

    def parse(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Any]:
        return dict(parse_one(text, context, parameter) for text in given)

    def parse_one(pair: str, context: click.Context, parameter: click.Parameter) -> tuple[str, Any]:
        name, _, text = pair.partition("=")
        if not (name and text):
            raise click.BadParameter(f"{pair!r} is not {metavar}", context, parameter)
        if types is None:
            return name, text
        name = name.replace("-", "_")
        if name not in types:
            close = difflib.get_close_matches(name, types, n=3)
            remedy = f"did you mean {' or '.join(close)}?" if close else f"expected one of {', '.join(types)}"
            raise click.BadParameter(f"{name!r} is unknown: {remedy}", context, parameter)
        try:
            return name, types[name].convert(text, parameter, context)
        except click.BadParameter as error:
            raise click.BadParameter(f"{name}: {error.message}", context, parameter) from None

    return option(*names, multiple=True, metavar=metavar, callback=parse, help=text)


properties = pairs(
    "--property",
    "properties",
    metavar="NAME=VALUE",
    text="OpenVINO property to compile with, such as GPU_DISABLE_WINOGRAD_CONVOLUTION=YES; may be repeated.",
)


def parse_range(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[float, float] | None:
    """Return the two numbers of ``LO,HI``; anything else is wrong usage."""
    if text is None:
        return None
    from overfly.runtime.images.depth import check_range

    low, _, high = text.partition(",")
    try:
        ends = float(low), float(high)
        check_range(*ends)
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not LO,HI: expected two numbers, the lower one first, such as 0,4095"
        ) from None
    return ends


value_range = option(
    "--range",
    "value_range",
    metavar="LO,HI",
    callback=parse_range,
    show_default="the highest 8 bits",
    help="Values that become black and white in images of more than 8 bits, such as 0,4095. The run and its bundles "
    "keep it.",
)


def _parse_bands(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Return the three numbers of ``R,G,B``; anything else is wrong usage."""
    if text is None:
        return None
    numbers = text.split(",")
    if len(numbers) != 3 or not all(number.strip().isdecimal() and int(number) for number in numbers):  # noqa: PLR2004
        raise click.BadParameter(f"{text!r} is not R,G,B: expected three band numbers from 1 on, such as 3,2,1")
    return tuple(map(int, numbers))


def bands(auto: str) -> Callable[[FC], FC]:
    """Return the option ``--bands`` for a command whose default is what the text `auto` says."""
    return option(
        "--bands",
        metavar="R,G,B",
        callback=_parse_bands,
        show_default=auto,
        help="Numbers of the bands for red, green and blue.",
    )


raster_range = option(
    "--range",
    "value_range",
    metavar="LO,HI",
    callback=parse_range,
    show_default="that of the bundle",
    help="Values that become black and white, such as 0,4095.",
)


def _parse_nodata(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Return ``none`` or the text of a number; anything else is wrong usage."""
    if text is None or text == "none":
        return text
    try:
        return str(float(text))
    except ValueError:
        raise click.BadParameter(f"{text!r} is neither none nor a number") from None


nodata = option(
    "--nodata",
    metavar="none|VALUE",
    callback=_parse_nodata,
    show_default="what each raster says",
    help="Value of missing pixels; none if every value is a real one.",
)


def gsd(limit: str = "") -> Callable[[FC], FC]:
    """Return the option ``--gsd``; `limit` ends its help."""
    text = f"Meters per pixel of rasters without coordinate reference system{limit}."
    return option("--gsd", type=Real(0, min_open=True), help=text)


def timeout(text: str) -> Callable[[FC], FC]:
    """Return the option ``--timeout`` for a command of a cluster that waits for what the text says."""
    return option("--timeout", "timeout_s", type=Real(0, min_open=True), default=600.0, metavar="SECONDS", help=text)


def cluster_access(command: FC) -> FC:
    """Add the options that say who may reach a cluster."""
    for add in reversed(
        (
            option("--tls-ca", type=PATH, metavar="FILE", help="Certificate of the authority of a cluster (PEM)."),
            option("--tls-cert", type=PATH, metavar="FILE", help="Certificate of this process, signed by it (PEM)."),
            option("--tls-key", type=PATH, metavar="FILE", help="Key of that certificate (PEM)."),
            option("--insecure", is_flag=True, help="Use a scheduler on another machine without TLS."),
        )
    ):
        command = add(command)
    return command


def example(line: str) -> str:
    """Return the end of a command's help: a command line that works; tests/cli/test_help.py runs it."""
    # \b keeps click from wrapping the lines.
    return f"\b\nExample:\n  {line}"
