"""``overfly map``: rasters in, class maps out."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overfly.cli import options
from overfly.cli.options import option

if TYPE_CHECKING:
    from overfly.runtime.mapping.record import MapRecord


@click.command(
    short_help="Make class maps of rasters with a bundle.",
    epilog=options.example("overfly map bundle raster.tif --scene-m 60 --out map"),
)
@click.argument("bundle", type=options.PATH)
@click.argument("rasters", type=options.PATH, nargs=-1, required=True, metavar="RASTER...")
@options.out("map")
@option(
    "--scene-m",
    type=options.Real(0, min_open=True),
    show_default="what the bundle was trained with",
    help="Side of a window on the ground in meters: that of a training image.",
)
@option(
    "--overlap",
    type=click.Choice(["0", "0.5", "0.75"]),
    default="0.5",
    help="Overlap of neighboring windows, as a share of their side. A cell of the map is as wide as their distance.",
)
@options.bands("those of the chips that the bundle was trained on, otherwise 1,2,3")
@options.raster_range
@options.nodata
@options.gsd()
@option(
    "--area",
    type=options.PATH,
    metavar="FILE",
    help="Limit the map to the polygons of a file such as a GeoPackage or GeoJSON.",
)
@option(
    "--min-probability",
    type=options.Real(0, 1),
    default=0.0,
    help="Leave cells empty whose class is less probable.",
)
@options.unknown
@option("--merge", is_flag=True, help="Make one seamless map of all rasters; they must be on one grid.")
@options.device_to_run
@options.variant_to_run
@options.execution_precision
@options.properties
@options.no_cache
@option("--workers", "n_workers", type=click.IntRange(1, 1024), help="Share the work among processes on this machine.")
@option(
    "--scheduler",
    metavar="ADDRESS",
    help="Share the work among the workers of a scheduler of Dask: see overfly worker.",
)
@options.timeout("How long a worker may take for a block, and how long to wait for a worker, in seconds.")
@option("--allow-mixed", is_flag=True, help="Accept workers that compute otherwise than this machine; the map says so.")
@options.cluster_access
@option("--resume", is_flag=True, help="Continue an interrupted map, if there is one.")
@options.overwrite
@options.as_json
def command(
    bundle: Path,
    rasters: tuple[Path, ...],
    out: Path,
    overlap: str,
    n_workers: int | None,
    scheduler: str | None,
    timeout_s: float,
    tls_ca: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    insecure: bool,
    resume: bool,
    overwrite: bool,
    as_json: bool,
    **choices: Any,
) -> None:
    """Classify georeferenced rasters with BUNDLE and write a map of each.

    A map holds the class, the probabilities and the confidence of each cell as GeoTIFF, polygons with their areas as
    GeoPackage, a table of the areas, and a picture. Finished parts are safe: after Ctrl-C, continue with --resume.
    A raster that can't be mapped does not stop the others; the exit code is then 1.
    """
    from overfly.cli.output import one_line
    from overfly.cli.signals import interrupt_on_sigterm
    from overfly.cli.terminal import Terminal
    from overfly.runtime.files.unfinished import unfinished_folder
    from overfly.runtime.mapping.job import MapJob, make_maps

    if scheduler is not None and n_workers:
        raise click.UsageError("--scheduler has workers already: leave out --workers, or --scheduler")
    if scheduler is None and (tls_ca or tls_cert or tls_key or insecure):
        raise click.UsageError("--tls-ca, --tls-cert, --tls-key and --insecure are for a --scheduler: add its address")
    cluster = None
    if scheduler is not None or n_workers:
        from overfly.runtime.extras import require_extra

        require_extra("geo")
        require_extra("cluster")
        from overfly.runtime.cluster.access import ClusterAccess
        from overfly.runtime.cluster.job import ClusterJob

        access = ClusterAccess(tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key, insecure=insecure)
        cluster = ClusterJob(scheduler=scheduler, n_workers=n_workers or 1, access=access, timeout_s=timeout_s)
    job = MapJob(bundle=bundle, rasters=rasters, out=out, overlap=float(overlap), **choices)
    with Terminal() as terminal, interrupt_on_sigterm():
        try:
            result = make_maps(
                job,
                resume=resume,
                overwrite=overwrite,
                reporter=terminal,
                open_engine=None if cluster is None else cluster.open_engine,
            )
        except KeyboardInterrupt:
            if (work := unfinished_folder(out)).exists():
                terminal.note(
                    f"interrupted: {work} holds the finished blocks; continue with the same command and --resume"
                )
            raise
        for problem in result.problems:
            terminal.error(f"overfly: {one_line(problem)}")
        for folder, record in result.records.items():
            terminal.line(_json(folder, record) if as_json else _table(folder, record))
    if result.problems:
        raise click.exceptions.Exit(1)


def _json(folder: Path, record: "MapRecord") -> str:
    """Return the figures of a map as a line of JSON."""
    import dataclasses

    from overfly.runtime.files.names import utf8_text

    return json.dumps({"map": utf8_text(folder), **dataclasses.asdict(record)})


def _table(folder: Path, record: "MapRecord") -> str:
    """Return the areas of a map as lines of text, the largest first, and its folder."""
    total = sum(row.area_m2 for row in record.figures) or 1.0
    width = max(map(len, record.classes))
    lines = [
        f"{row.name:<{width}}  {row.area_m2 / 10_000:12,.2f} ha  {row.area_m2 / total:6.1%}"
        for row in sorted(record.figures, key=lambda row: -row.area_m2)
        if row.cells
    ]
    empty = f", {record.empty_cells:,} of them empty" if record.empty_cells else ""
    lines.append(f"map of {record.n_columns:,} x {record.n_rows:,} cells{empty}: {folder}")
    return "\n".join(lines)
