"""``overfly fetch``: download a public data set."""

from dataclasses import replace
from pathlib import Path

import click

from overfly.cli import options
from overfly.training.data.archives import ARCHIVES


def _check_url(_context: click.Context, _option: click.Parameter, url: str | None) -> str | None:
    """Return the URL if it is one of the web: urllib would also open local files."""
    if url is not None and not url.lower().startswith(("http://", "https://")):
        raise click.BadParameter(f"{url!r} does not start with http:// or https://")
    return url


@click.command(
    short_help="Download a public data set.",
    help="Download the data set NAME, verify its SHA-256, and unpack it into the folder OUT.\n\n"
    "An interrupted download resumes when the same command is run again.\n\n"
    + "\n\n".join(f"NAME can be {name}: {archive.summary}." for name, archive in ARCHIVES.items()),
    epilog=options.example("overfly fetch ucmerced ucmerced"),
)
@click.argument("name", type=click.Choice(list(ARCHIVES)), metavar="NAME")
@click.argument("out", type=options.OUTPUT)
@options.option(
    "--url",
    metavar="URL",
    callback=_check_url,
    show_default="the publisher's",
    help="Download from this URL instead; the hash is still verified.",
)
@options.overwrite
def command(name: str, out: Path, url: str | None, overwrite: bool) -> None:
    """Download a data set and print the folder to train on."""
    from overfly.cli.terminal import Terminal
    from overfly.training.data.download import fetch

    archive = ARCHIVES[name] if url is None else replace(ARCHIVES[name], url=url)
    with Terminal() as terminal:
        images = fetch(archive, out, overwrite=overwrite, reporter=terminal)
    click.echo(f"data: {images}")
