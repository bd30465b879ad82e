"""Options that several commands share, each defined once."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.decorators import FC

if TYPE_CHECKING:
    from overfly.runtime.inference.runner import Runner


class _Place(click.Path):
    """A path; unlike click's own, it does not take an empty text, such as a variable that is not set, for ``.``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:  # noqa: ANN401
        """Return the path, or fail as a wrong usage."""
        if not str(value):
            self.fail("the path is empty", param, ctx)
        return super().convert(value, param, ctx)


FOLDER = _Place(path_type=Path)


class Real(click.FloatRange):
    """A number in a range; unlike click's own, it takes neither ``nan`` nor ``inf``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:  # noqa: ANN401
        """Return the number, or fail as a wrong usage."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return number


device = click.option(
    "--device",
    default="auto",
    show_default=True,
    help="OpenVINO's name: CPU, GPU, GPU.0, NPU, AUTO, ...; auto takes the GPU where there is one, else the CPU.",
)

execution_precision = click.option(
    "--execution-precision",
    type=click.Choice(["auto", "f32", "f16", "bf16"]),
    default="auto",
    show_default=True,
    help="What to compute in; auto asks f32 for the fp32 variant and leaves the others to the device.",
)

properties = click.option(
    "--property",
    "properties",
    multiple=True,
    metavar="NAME=VALUE",
    callback=lambda _context, _option, pairs: _parse_properties(pairs),
    help="A property of OpenVINO's to compile with, such as GPU_DISABLE_WINOGRAD_CONVOLUTION=YES; may be repeated.",
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")

overwrite = click.option("--overwrite", is_flag=True, help="Replace what --out holds, once the new one is complete.")

no_cache = click.option("--no-cache", is_flag=True, help="Do not keep compiled models in the user's cache folder.")

seed = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of all chance."
)


def place(runner: "Runner") -> str:
    """Return what runs where, and in which precision: that in force, and that asked for if it is another."""
    asked = runner.requested_precision
    effective = runner.execution_precision
    instead = "" if asked in {"auto", effective} else f" ({asked} was asked for)"
    return f"{runner.variant} on {runner.device} ({runner.device_name}) in {effective}{instead}"


def _parse_properties(pairs: tuple[str, ...]) -> dict[str, str]:
    """Return name and value of each ``NAME=VALUE``."""
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
    return click.option("--out", type=FOLDER, required=True, help=f"Folder for the {what}.")


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
