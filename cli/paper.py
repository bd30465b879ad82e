"""``overfly paper``: reproduce the paper's Tables 1 and 2."""

from pathlib import Path

import click

from overfly.cli import options
from overfly.training.models.registry import MODELS


@click.command(
    short_help="Reproduce the paper's Tables 1 and 2.",
    epilog=options.example("overfly paper scenes --out tables --epochs 5"),
)
@click.argument("data", type=options.PATH)
@options.out("runs and the table")
@click.option(
    "--weights",
    multiple=True,
    metavar="MODEL=FILE",
    help="Pretrained weights for a model; may be repeated. [default: torchvision's ImageNet weights]",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Number of epochs. [default: 60, as in the paper]")
@click.option(
    "--image-size",
    type=click.IntRange(min=64),
    help="Height and width of the images in pixels. [default: 256, as in the paper]",
)
@options.seed
@options.as_json
def command(
    data: Path,
    out: Path,
    weights: tuple[str, ...],
    epochs: int | None,
    image_size: int | None,
    seed: int,
    as_json: bool,
) -> None:
    """Train the six models of the paper's tables on DATA and print our figures with the paper's.

    After an interruption, run the same command again: it keeps finished models and continues.
    """
    from overfly.runtime.extras import require_extra

    files = dict(_pair(text) for text in weights)
    require_extra("train")
    from overfly.benchmarks.paper.reproduce import PAPER_SCHEMA, PaperJob, reproduce
    from overfly.benchmarks.paper.table import paper_text
    from overfly.cli.terminal import Terminal
    from overfly.runtime.documents import dump_document

    with Terminal() as terminal:
        try:
            table = reproduce(
                PaperJob(data=data, out=out, weights=files, epochs=epochs, image_size=image_size, seed=seed),
                reporter=terminal,
            )
        except KeyboardInterrupt:
            terminal.note(f"interrupted: {out} keeps what is done; run the same command again to continue")
            raise
    click.echo(dump_document(table, schema=PAPER_SCHEMA) if as_json else paper_text(table), nl=False)


def _pair(text: str) -> tuple[str, str]:
    """Split ``MODEL=FILE``."""
    model, equals, file = text.partition("=")
    if not equals or not file:
        raise click.BadParameter(f"{text!r} is not of the form MODEL=FILE", param_hint="--weights")
    if model not in MODELS:
        raise click.BadParameter(f"{model!r} is not one of {', '.join(MODELS)}", param_hint="--weights")
    return model, file
