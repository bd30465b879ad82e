"""Texts of the command line: a prediction as a table line, JSON or CSV, and a runner as a sentence."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from overfly.runtime.bundle.labels import UNKNOWN
from overfly.runtime.files.names import utf8_text

if TYPE_CHECKING:
    from overfly.runtime.classifier import Prediction
    from overfly.runtime.errors import ImageError
    from overfly.runtime.inference.runner import Runner

CSV_HEAD = "path,label,probability,error"


def table_line(path: Path, answer: "Prediction | ImageError", width: int) -> str:
    """Return the classes with their probabilities, then the path; `width` is that of the longest class name."""
    if isinstance(answer, Exception):
        return f"{'(unreadable)':<{width}}          {one_line(path)}"
    if answer.known is False:
        return f"{UNKNOWN:<{width}}          {one_line(path)}"
    pairs = zip(answer.labels, answer.probabilities, strict=True)
    return "  ".join(f"{label:<{width}}  {probability:6.1%}" for label, probability in pairs) + f"  {one_line(path)}"


def json_line(path: Path, answer: "Prediction | ImageError", width: int) -> str:
    """Return a JSON object. Of an unknown image, ``top`` says what the classes would be."""
    del width
    if isinstance(answer, Exception):
        return json.dumps({"path": utf8_text(path), "error": utf8_text(answer)})
    pairs = zip(answer.labels, answer.probabilities, strict=True)
    top = [{"label": label, "probability": round(probability, 6)} for label, probability in pairs]
    if answer.known is None:
        return json.dumps({"path": utf8_text(path), **top[0], "top": top})
    best = top[0] if answer.known else {"label": UNKNOWN, "probability": None}
    return json.dumps({"path": utf8_text(path), **best, "known": answer.known, "top": top})


def csv_lines(path: Path, answer: "Prediction | ImageError", width: int) -> str:
    """Return a CSV row for each class, all with the same path; a single one without a probability if it is unknown."""
    del width
    if isinstance(answer, Exception):
        return _csv_row([utf8_text(path), "", "", utf8_text(answer)])
    if answer.known is False:
        return _csv_row([utf8_text(path), UNKNOWN, "", ""])
    pairs = zip(answer.labels, answer.probabilities, strict=True)
    return "\n".join(_csv_row([utf8_text(path), label, f"{probability:.6f}", ""]) for label, probability in pairs)


WRITERS = {"table": table_line, "json": json_line, "csv": csv_lines}


def print_document(document: object, schema: str) -> None:
    """Print a record as the JSON document of `schema`."""
    from overfly.runtime.documents import dump_document

    click.echo(dump_document(document, schema=schema), nl=False)


def describe_runner(runner: "Runner") -> str:
    """Return the variant, the device and the execution precision; also the requested precision if it is another."""
    requested, effective = runner.requested_precision, runner.execution_precision
    instead = "" if requested in {"auto", effective} else f" ({requested} was requested)"
    return f"{runner.variant} on {runner.device} ({runner.device_name}) in {effective}{instead}"


def one_line(text: object) -> str:
    """Return a path or a message with line breaks, other control characters and broken bytes written as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in utf8_text(text))


def _csv_row(cells: list[str]) -> str:
    """Return one properly quoted row without its line end."""
    # Without a line terminator, the writer would not quote a name with a line break in it.
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(cells)
    return text.getvalue().removesuffix("\r\n")
