"""``overfly predict``: pictures in, labels out."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overfly.cli import options

if TYPE_CHECKING:
    from overfly.runtime.classifier import FileResult


@click.command(short_help="Classify pictures with a bundle.")
@click.argument("bundle", type=options.FOLDER)
@click.argument("paths", type=options.FOLDER, nargs=-1, required=True, metavar="PATH...")
@options.device
@click.option(
    "--variant",
    type=click.Choice(["auto", "fp32", "fp16", "int8"]),
    default="auto",
    show_default=True,
    help="auto takes the smallest in the bundle.",
)
@options.execution_precision
@click.option("--top-k", type=click.IntRange(min=1), default=1, show_default=True, help="Classes for each picture.")
@click.option("--format", "style", type=click.Choice(["table", "json", "csv"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json: one object a line.")
@options.no_cache
def command(
    bundle: Path,
    paths: tuple[Path, ...],
    device: str,
    variant: str,
    execution_precision: str,
    top_k: int,
    style: str,
    as_json: bool,
    no_cache: bool,
) -> None:
    """Classify pictures, or all pictures below folders, with BUNDLE.

    A picture that can't be read is named, the others go on, and the exit code is 1.
    """
    from overfly.cli.terminal import Terminal
    from overfly.runtime.bundle import Bundle
    from overfly.runtime.classifier import Classifier, predict_files
    from overfly.runtime.images import find_images
    from overfly.runtime.runner import compile_variant

    opened = Bundle.open(bundle)
    files = find_images(list(paths))
    runner = compile_variant(
        opened,
        variant=opened.smallest_variant() if variant == "auto" else variant,
        device=device,
        execution_precision=execution_precision,
        hint="throughput" if len(files) > 1 else "latency",
        cache=not no_cache,
    )
    classifier = Classifier(opened.manifest.classes, opened.manifest.image.size, runner)
    write = {"table": _table_line, "json": _json_line, "csv": _csv_line}["json" if as_json else style]
    width = max(map(len, classifier.classes))
    n_bad = 0
    with Terminal() as terminal:
        if device == "auto":
            terminal.note(f"running on {runner.device} ({runner.device_name})")
        if write is _csv_line:
            click.echo(_csv_row(["path", "label", "probability", "error"]))
        for done, result in enumerate(predict_files(classifier, files, top_k=top_k), start=1):
            click.echo(write(result, width))
            if result.error is not None:
                n_bad += 1
                terminal.note(f"overfly: {result.error}")
            terminal.progress("classifying", done, len(files))
    if n_bad:
        raise click.exceptions.Exit(1)


def _table_line(result: "FileResult", width: int) -> str:
    """Return a line with the classes and their probabilities, then the path."""
    if result.prediction is None:
        return f"{'(unreadable)':<{width}}          {_printable(result.path)}"
    pairs = zip(result.prediction.labels, result.prediction.probabilities, strict=True)
    return (
        "  ".join(f"{label:<{width}}  {probability:6.1%}" for label, probability in pairs)
        + f"  {_printable(result.path)}"
    )


def _json_line(result: "FileResult", width: int) -> str:
    """Return a JSON object."""
    del width
    if result.prediction is None:
        return json.dumps({"path": str(result.path), "error": result.error})
    pairs = zip(result.prediction.labels, result.prediction.probabilities, strict=True)
    top = [{"label": label, "probability": round(probability, 6)} for label, probability in pairs]
    return json.dumps({"path": str(result.path), **top[0], "top": top})


def _csv_line(result: "FileResult", width: int) -> str:
    """Return a CSV row for each class, all with the same path."""
    del width
    if result.prediction is None:
        return _csv_row([_printable(result.path), "", "", _printable(result.error)])
    pairs = zip(result.prediction.labels, result.prediction.probabilities, strict=True)
    return "\n".join(
        _csv_row([_printable(result.path), label, f"{probability:.6f}", ""]) for label, probability in pairs
    )


def _printable(text: object) -> str:
    """Return a path or a message with the bytes that are no UTF-8 written as escapes."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def _csv_row(cells: list[str]) -> str:
    """Return one properly quoted row without its line end."""
    # Without a line end of its own the writer would not quote a name that holds one.
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")
