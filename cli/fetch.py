"""``overfly fetch``: a public data set."""

from dataclasses import replace
from pathlib import Path

import click

from overfly.cli import options

NAMES = ("ucmerced",)


@click.command(short_help="Download a public data set.", epilog=options.example("overfly fetch ucmerced ucmerced"))
@click.argument("name", type=click.Choice(NAMES))
@click.argument("out", type=options.FOLDER)
@click.option(
    "--url",
    metavar="URL",
    callback=lambda _context, _option, url: _http(url),
    help="Another place of the same file; its hash is checked all the same. [default: where it is published]",
)
@options.overwrite
def command(name: str, out: Path, url: str | None, overwrite: bool) -> None:
    """Download the data set NAME, check it against its SHA-256, and unpack it into OUT.

    Interrupted, the same command goes on where it was. ucmerced: 21 classes of 100 aerial scenes, 317 MiB.
    """
    from overfly.cli.terminal import Terminal
    from overfly.training.data.download import ARCHIVES, fetch

    archive = ARCHIVES[name] if url is None else replace(ARCHIVES[name], url=url)
    with Terminal() as terminal:
        images = fetch(archive, out, overwrite=overwrite, reporter=terminal)
    click.echo(f"data: {images}")


def _http(url: str | None) -> str | None:
    """Return the address, or fail as a wrong usage: urllib would open local files and run local programs too."""
    if url is not None and not url.lower().startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} does not start with http:// or https://")
    return url
