"""Options that several commands share, each defined once."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.decorators import FC


class _NonEmptyPath(click.Path):
    """A path. click takes an empty text, such as a shell variable that is not set, for ``.``; this type refuses it."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the path; an empty one is wrong usage."""
        if not str(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


PATH = _NonEmptyPath(path_type=Path)


class Real(click.FloatRange):
    """A number in a range. click accepts ``nan`` and ``inf``; this type refuses them."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the number; one that is not finite is wrong usage."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


def device(auto: str) -> Callable[[FC], FC]:
    """Return the option ``--device`` for a command in which ``auto`` means what the text `auto` says."""
    text = f"Device by OpenVINO's name: CPU, GPU, GPU.0, NPU, AUTO, ...; auto is {auto}."
    return click.option("--device", default="auto", show_default=True, help=text)


execution_precision = click.option(
    "--execution-precision",
    type=click.Choice(["auto", "f32", "f16", "bf16"]),
    default="auto",
    show_default=True,
    help="Precision to compute in; auto is f32 for the fp32 variant, and the device's own choice for the others.",
)

properties = click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _option, pairs: _parse_properties(pairs),
    help="OpenVINO property to compile with, such as GPU_DISABLE_WINOGRAD_CONVOLUTION=YES; may be repeated.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")

overwrite = click.option("--overwrite", is_flag=True, help="Replace existing output, once the new one is complete.")

no_cache = click.option("--no-cache", is_flag=True, help="Do not keep compiled models in the user's cache folder.")

seed = click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Random seed.")


def _parse_properties(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return the value of each name; anything but ``NAME=VALUE`` is wrong usage."""
    for pair in pairs:
        if not all(pair.partition("=")):
            raise click.BadParameter(f"{pair!r} is not NAME=VALUE")
    return {name: value for name, _, value in (pair.partition("=") for pair in pairs)}


def example(line: str) -> str:
    """Return the end of a command's help: a command line that works; tests/cli/test_help.py runs it."""
    # \b keeps click from wrapping the lines.
    return f"\b\nExample:\n  {line}"


def out(what: str) -> Callable[[FC], FC]:
    """Return the required option ``--out`` for a command that writes `what`."""
    return click.option("--out", type=PATH, required=True, help=f"Folder for the {what}.")


def renamed(old: str, new: str, *, is_flag: bool = False) -> Callable[[FC], FC]:
    """Return a hidden option under the name that it had before; it fails with the name that it has now."""

    def fail(context: click.Context, _option: click.Parameter, value: object) -> None:
        if value is not None and not context.resilient_parsing:
            raise click.UsageError(f"{old} is now {new}", context)

    name = f"renamed_{old.lstrip('-').replace('-', '_')}"
    value = "given" if is_flag else None
    return click.option(
        old,
        name,
        hidden=True,
        expose_value=False,
        is_eager=True,
        callback=fail,
        is_flag=is_flag,
        flag_value=value,
        default=None,
    )
