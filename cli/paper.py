"""``overfly paper``: reproduce the paper's Tables 1 and 2."""

from pathlib import Path
from typing import Any

import click

from overfly.cli import options
from overfly.cli.options import option
from overfly.cli.output import print_document
from overfly.cli.recipe_options import field_option
from overfly.training.models.registry import MODELS
from overfly.training.recipe import FIELDS, PAPER


@click.command(
    short_help="Reproduce the paper's Tables 1 and 2.",
    epilog=options.example("overfly paper scenes --out tables --epochs 5"),
)
@click.argument("data", type=options.PATH)
@options.out("runs and the table")
@options.pairs(
    "--weights",
    metavar="MODEL=FILE",
    types=dict.fromkeys(MODELS, click.STRING),
    text="Pretrained weights of a model, instead of torchvision's; may be repeated.",
)
@field_option("epochs", f"{PAPER.epochs}, like the paper")
@option(
    "--image-size",
    type=click.IntRange(64),
    show_default=f"{PAPER.image_size}, like the paper",
    help=FIELDS["image_size"].help,
)
@options.seed
@options.as_json
def command(out: Path, as_json: bool, **choices: Any) -> None:
    """Train the six models of the paper's tables on DATA and print our figures with the paper's.

    After an interruption, run the same command again: it keeps finished models and continues.
    """
    from overfly.runtime.extras import require_extra

    require_extra("train")
    from overfly.benchmarks.paper.reproduce import PAPER_SCHEMA, PaperJob, reproduce
    from overfly.benchmarks.paper.table import paper_text
    from overfly.cli.terminal import Terminal

    with Terminal() as terminal:
        try:
            table = reproduce(PaperJob(out=out, **choices), reporter=terminal)
        except KeyboardInterrupt:
            terminal.note(f"interrupted: {out} keeps what is done; run the same command again to continue")
            raise
    if as_json:
        print_document(table, PAPER_SCHEMA)
    else:
        click.echo(paper_text(table), nl=False)
