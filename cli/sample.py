"""``overfly sample``: draw a small data set."""

from functools import partial
from pathlib import Path

import click

from overfly.cli import options


@click.command(
    short_help="Draw a small data set.",
    epilog=options.example("overfly sample scenes --images-per-class 20"),
)
@click.argument("out", type=options.OUTPUT)
@options.option("--images-per-class", type=click.IntRange(2, 1000), default=40, help="Number of images of each class.")
@options.seed
@options.overwrite
def command(out: Path, images_per_class: int, seed: int, overwrite: bool) -> None:
    """Draw artificial aerial images of eight land-use classes into the folder OUT.

    The same seed gives the same images.
    """
    from overfly.cli.terminal import Terminal
    from overfly.runtime.files.atomic import atomic_folder
    from overfly.training.synthetic.dataset import CLASSES, write_sample

    with Terminal() as terminal, atomic_folder(out, overwrite=overwrite) as folder:
        progress = partial(terminal.progress, "drawing")
        write_sample(folder, images_per_class=images_per_class, seed=seed, progress=progress)
    click.echo(f"data: {out} ({images_per_class} images of each of {len(CLASSES)} classes)")
