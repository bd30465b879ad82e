"""Options that several commands share, each defined once."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.decorators import FC

FOLDER = click.Path(path_type=Path)


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

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")

overwrite = click.option("--overwrite", is_flag=True, help="Replace what --out holds, once the new one is complete.")

no_cache = click.option("--no-cache", is_flag=True, help="Do not keep compiled models in the user's cache folder.")

seed = click.option(
    "--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of all chance."
)


def out(what: str) -> Callable[[FC], FC]:
    """Return the required option ``--out`` for a command that writes `what`."""
    return click.option("--out", type=FOLDER, required=True, help=f"Folder for the {what}.")
