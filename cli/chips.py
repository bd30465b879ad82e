"""``overfly chips``: cut labeled scenes from rasters."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overfly.cli import options
from overfly.cli.options import option
from overfly.runtime.files.names import utf8_text

if TYPE_CHECKING:
    from overfly.training.data.chips.record import ChipsRecord

_AUTO = "auto"


def _parse_range(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> tuple[float, float] | str | None:
    """Return the two numbers of ``LO,HI``, or ``auto``; anything else is wrong usage."""
    return _AUTO if text == _AUTO else options.parse_range(context, parameter, text)


@click.command(
    short_help="Cut labeled scenes from rasters.",
    epilog=options.example("overfly chips raster.tif --labels labels.geojson --scene-m 60 --out scenes"),
)
@click.argument("rasters", metavar="RASTER...", type=options.PATH, nargs=-1, required=True)
@option(
    "--labels", type=options.PATH, help="Polygons or points with classes: GeoPackage, GeoJSON or Shapefile, in any CRS."
)
@option("--grid", is_flag=True, help="Cut all scenes into one folder, without labels and without a split.")
@options.out("scenes")
@option(
    "--scene-m",
    type=options.Real(0, min_open=True),
    required=True,
    help="Side of a scene on the ground, in meters.",
)
@option(
    "--stride",
    "stride_m",
    type=options.Real(0, min_open=True),
    show_default="side by side",
    help="Distance between neighboring scenes, in meters.",
)
@option(
    "--min-cover",
    type=options.Real(0, 1, min_open=True),
    default=0.5,
    help="Share of a scene that polygons of its class must cover.",
)
@option("--outside", metavar="CLASS", show_default="they are dropped", help="Class of scenes without a label.")
@option(
    "--label-field",
    metavar="NAME",
    show_default="the only one with text, or class or label",
    help="Column of the labels with the classes.",
)
@option("--layer", metavar="NAME", show_default="the only one", help="Layer of the labels.")
@options.bands("1,2,3, or 1,1,1 with fewer than three")
@option(
    "--range",
    "value_range",
    metavar="LO,HI|auto",
    callback=_parse_range,
    show_default="8-bit values as they are",
    help="Values that become black and white; auto takes the 2nd and 98th percentile of all rasters. The run and its "
    "bundles keep it.",
)
@options.nodata
@options.gsd("; with --grid only")
@option(
    "--test-fraction",
    type=options.Real(0, 1, min_open=True, max_open=True),
    default=0.2,
    help="Share of the test part.",
)
@option(
    "--val-fraction",
    type=options.Real(0, 1, max_open=True),
    default=0.0,
    help="Share of the validation part in what is not in the test part.",
)
@option(
    "--block",
    type=click.IntRange(2, 1000),
    default=8,
    help="Side of the blocks that the split keeps together, in scenes.",
)
@options.seed
@options.overwrite
@options.as_json
def command(
    rasters: tuple[Path, ...],
    labels: Path | None,
    grid: bool,
    value_range: tuple[float, float] | str | None,
    overwrite: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Cut scenes of the same size on the ground from each RASTER, with one folder for each class.

    A scene keeps the pixels of its raster. The split, which train uses, keeps the scenes of different parts at least
    one scene apart, over all rasters together; scenes in between are dropped.
    """
    if grid == (labels is not None):
        raise click.UsageError("expected one of --labels and --grid")
    if labels is not None and choices["gsd"] is not None:
        raise click.UsageError("labels have no place in a raster without CRS: --gsd needs --grid")
    from overfly.runtime.extras import require_extra

    require_extra("geo")
    from overfly.cli.terminal import Terminal
    from overfly.training.data.chips.job import ChipsJob, cut_chips

    ends = value_range if isinstance(value_range, tuple) else None
    job = ChipsJob(rasters=rasters, labels=labels, value_range=ends, auto_range=value_range == _AUTO, **choices)
    with Terminal() as terminal:
        record = cut_chips(job, overwrite=overwrite, reporter=terminal)
    if as_json:
        content = {"counts": record.counts, "dropped": record.dropped, "value_range": record.value_range}
        click.echo(json.dumps({"scenes": utf8_text(job.out), "n_scenes": record.n_scenes, **content}))
        return
    for line in _summary(record):
        click.echo(line)
    click.echo(f"scenes: {job.out}")


def _summary(record: "ChipsRecord") -> Iterator[str]:
    """Yield the number of scenes by class and part, and of what was dropped, as lines for a person."""
    n_rasters = len(record.rasters)
    yield f"{record.n_scenes} scenes of {record.scene.scene_m:g} m from {n_rasters} raster{'s' * (n_rasters != 1)}"
    width = max(map(len, record.counts))
    for name, parts in record.counts.items():
        numbers = ", ".join(f"{number} {part}".rstrip() for part, number in sorted(parts.items(), reverse=True))
        yield f"  {name:<{width}}  {numbers}"
    if record.dropped:
        yield "dropped: " + ", ".join(
            f"{number} {reason.replace('_', ' ')}" for reason, number in record.dropped.items()
        )
