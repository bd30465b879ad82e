"""``overfly predict``: images in, labels out."""

import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from overfly.cli import options, output
from overfly.cli.options import option

if TYPE_CHECKING:
    from overfly.cli.terminal import Terminal
    from overfly.runtime.bundle.bundle import Bundle
    from overfly.runtime.classifier import Classifier, Prediction
    from overfly.runtime.errors import ImageError

    # Draws a picture of an answer.
    Draw = Callable[[Path, Prediction], None]
    Answers = Iterator[tuple[Path, Prediction | ImageError]]

_WATCH_INTERVAL_S = 1.0


@click.command(
    short_help="Classify images with a bundle.",
    epilog=options.example("overfly predict bundle scenes --top-k 3"),
)
@click.argument("bundle", type=options.PATH)
@click.argument("paths", type=options.PATH, nargs=-1, required=True, metavar="PATH...")
@options.device_to_run
@options.variant_to_run
@options.execution_precision
@options.properties
@option("--top-k", type=click.IntRange(min=1), default=1, help="Number of classes per image.")
@options.unknown
@option("--format", "style", type=click.Choice(list(output.WRITERS)), default="table", help="Output format.")
@option("--json", "as_json", is_flag=True, help="The same as --format json: one object per line.")
@option("--strict", is_flag=True, help="Stop at the first image that can't be read.")
@option("--watch", is_flag=True, help="Keep classifying images that arrive in the folders, until interrupted.")
@option("--explain", type=options.OUTPUT, metavar="FOLDER", help="Also draw what speaks for the answers, into FOLDER.")
@options.no_cache
def command(
    bundle: Path,
    paths: tuple[Path, ...],
    device: str,
    top_k: int,
    unknown: bool,
    style: str,
    as_json: bool,
    strict: bool,
    watch: bool,
    explain: Path | None,
    **choices: Any,
) -> None:
    """Classify images, or all images below folders, with BUNDLE.

    If an image can't be read, the error names it, the other images are classified, and the exit code is 1.
    """
    from overfly.cli.terminal import Terminal
    from overfly.runtime.bundle.bundle import Bundle
    from overfly.runtime.classifier import Classifier
    from overfly.runtime.images.discovery import find_images
    from overfly.runtime.inference.devices import is_meta
    from overfly.runtime.machine import keep_awake

    if watch and (other := next((path for path in paths if not path.is_dir()), None)):
        raise click.UsageError(f"--watch needs folders, and {other} is not one")
    opened = Bundle.open(bundle)
    if unknown:
        opened.check_known_score()
    with Terminal() as terminal:
        files = list(paths) if watch else find_images(list(paths), reporter=terminal)
        choices["hint"] = "throughput" if len(files) > 1 and not watch else "latency"
        classifier = Classifier.from_bundle(opened, device=device, **choices)
        classifier.reader.warn_once_in(path for path in paths if path.is_dir())
        draw = None if explain is None else _draw(opened, paths, explain)
        # A watch has no end: whoever starts one decides how long the machine stays awake.
        with classifier, nullcontext() if watch else keep_awake():
            terminal.note(f"running {output.describe_runner(classifier.runner)}{_reason(classifier)}")
            if warning := opened.calibration_warning():
                terminal.note(warning)
            answers = _arriving(classifier, files, top_k) if watch else _answers(classifier, files, top_k, terminal)
            if not unknown:
                answers = _without_known(answers)
            n_bad = _write(answers, "json" if as_json else style, classifier, terminal, draw, strict=strict)
            if is_meta(device.upper()) and device != "auto":
                terminal.note(f"ran {output.describe_runner(classifier.runner)}")
    if n_bad:
        raise click.exceptions.Exit(1)


def _draw(bundle: "Bundle", paths: tuple[Path, ...], folder: Path) -> "Draw":
    """Return what draws the picture of an answer; check before anything is classified that it can."""
    from overfly.runtime.explanation.pictures import PictureFolder

    return PictureFolder.make(bundle, folder, paths).draw


def _reason(classifier: "Classifier") -> str:
    """Return a clause about the bench, if its recommendation was used."""
    if classifier.recommendation is None:
        return ""
    day = classifier.recommendation.timestamp.partition("T")[0]
    doubt = "" if classifier.recommendation.valid else " in an INVALID report"
    return f", recommended by the bench of {day}{doubt}"


def _answers(classifier: "Classifier", files: list[Path], top_k: int, terminal: "Terminal") -> "Answers":
    """Yield each file with its prediction or error, and move the bar."""
    for done, (path, answer) in enumerate(zip(files, classifier.answers(files, top_k=top_k), strict=True), start=1):
        yield path, answer
        terminal.progress("classifying", done, len(files))


def _arriving(classifier: "Classifier", folders: list[Path], top_k: int) -> "Answers":
    """Yield the images in the folders, then those that arrive, without end."""
    from overfly.runtime.errors import ImageError
    from overfly.runtime.images.watch import FolderWatch

    watch = FolderWatch(folders)
    while True:
        ready = watch.take_ready()
        for path, answer in zip(ready, classifier.answers(ready, top_k=top_k), strict=True):
            if not (isinstance(answer, ImageError) and watch.retry_later(path)):
                yield path, answer
        time.sleep(_WATCH_INTERVAL_S)


def _without_known(answers: "Answers") -> "Answers":
    """Yield the answers as they are without ``--unknown``."""
    from dataclasses import replace

    for path, answer in answers:
        yield path, answer if isinstance(answer, Exception) else replace(answer, known=None)


def _write(
    answers: "Answers", style: str, classifier: "Classifier", terminal: "Terminal", draw: "Draw | None", *, strict: bool
) -> int:
    """Write the predictions, and draw them if `draw` is given; return the number of images that could not be read."""
    width = max(map(len, classifier.classes))
    n_bad = 0
    if style == "csv":
        terminal.line(output.CSV_HEAD)
    for path, answer in answers:
        terminal.line(output.WRITERS[style](path, answer, width))
        if isinstance(answer, Exception):
            n_bad += 1
            terminal.error(f"overfly: {output.one_line(answer)}")
            if strict:
                break
        elif draw is not None:
            draw(path, answer)
    return n_bad
