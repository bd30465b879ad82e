"""``overfly worker``: classify blocks for a map that another machine makes."""

from pathlib import Path
from typing import Any

import click

from overfly.cli import options
from overfly.cli.options import option


@click.command(
    short_help="Classify blocks for a map that another process makes.",
    epilog=options.example("overfly worker 127.0.0.1:8786 --root ."),
)
@click.argument("scheduler", metavar="ADDRESS")
@option(
    "--root",
    "roots",
    type=options.PATH,
    multiple=True,
    required=True,
    metavar="FOLDER",
    help="Folder that the worker may read, with all that is in it; may be repeated.",
)
@option(
    "--threads",
    "n_threads",
    type=click.IntRange(1, 4096),
    show_default="all usable cores",
    help="Number of CPU threads; with several workers on one machine, the cores divided by the workers.",
)
@options.timeout("How long to wait for the scheduler, in seconds.")
@options.cluster_access
def command(scheduler: str, roots: tuple[Path, ...], timeout_s: float, n_threads: int | None, **access: Any) -> None:
    """Join the scheduler at ADDRESS and classify blocks for `overfly map --scheduler ADDRESS`.

    The paths of rasters and bundles must be the same as at the client. The worker writes nothing, opens nothing outside
    of the folders of --root, and ends with the scheduler.
    """
    from overfly.cli.terminal import Terminal
    from overfly.runtime.extras import require_extra

    require_extra("geo")
    require_extra("cluster")
    from overfly.runtime.cluster.access import ClusterAccess
    from overfly.runtime.cluster.worker import WorkerJob, run_worker

    with Terminal() as terminal:
        job = WorkerJob(
            scheduler=scheduler, roots=roots, n_threads=n_threads, access=ClusterAccess(**access), timeout_s=timeout_s
        )
        run_worker(job, terminal.note)
