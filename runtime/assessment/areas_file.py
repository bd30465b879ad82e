"""Add the estimates of an assessment to the ``areas.csv`` of a map."""

import csv
import io
from dataclasses import replace
from pathlib import Path

from overfly.runtime.assessment.assessment import Assessment, ClassAssessment
from overfly.runtime.assessment.estimates import Estimate
from overfly.runtime.bundle.manifest import FileRecord
from overfly.runtime.documents import write_document
from overfly.runtime.errors import RasterError
from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.files.output_guards import explain_os_errors
from overfly.runtime.mapping.record import AREAS_FILE, MAP_FILE, MAP_SCHEMA, read_map_record

_CLASS = "class"
_PARTS = ("", "_low", "_high")
# The estimate of a class, and how its three columns begin.
_ESTIMATES = {
    "area_m2": "estimated_area_m2",
    "users_accuracy": "users_accuracy",
    "producers_accuracy": "producers_accuracy",
}
_COLUMNS = [f"{column}{part}" for column in _ESTIMATES.values() for part in _PARTS]


def write_estimates(folder: Path, assessment: Assessment) -> None:
    """Write the estimates as columns of ``areas.csv``; those of an earlier assessment are replaced.

    The columns are ``estimated_area_m2``, ``users_accuracy`` and ``producers_accuracy``, each followed by the ends of
    its 95% interval (``_low`` and ``_high``). What is unknown is empty. The hash of the file in ``map.json`` is
    written again, so that it stays right.

    Raises
    ------
    RasterError
        If ``areas.csv`` can't be read.
    OutputError
        If it can't be written.
    """
    path = folder / AREAS_FILE
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            rows, columns = list(reader), list(reader.fieldnames or ())
    except (OSError, ValueError, csv.Error) as error:
        raise RasterError(f"{path} can't be read ({error}): make or copy the map again") from error
    if _CLASS not in columns:
        raise RasterError(f"{path} has no column {_CLASS!r}: make or copy the map again")
    by_name = {one.name: one for one in assessment.classes}
    columns = [column for column in columns if column not in _COLUMNS] + _COLUMNS
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in rows:
        writer.writerow(row | _cells(by_name.get(row[_CLASS])))
    with explain_os_errors(path):
        write_atomically(path, text.getvalue().encode())
        _record_hash(folder)


def _cells(assessed: ClassAssessment | None) -> dict[str, str]:
    """Return the cells of a class's row, by column."""
    cells = dict.fromkeys(_COLUMNS, "")
    if assessed is None:
        return cells
    for name, column in _ESTIMATES.items():
        estimate: Estimate | None = getattr(assessed, name)
        if estimate is not None:
            digits = 1 if name == "area_m2" else 6
            figures = zip(_PARTS, (estimate.value, estimate.low, estimate.high), strict=True)
            cells |= {f"{column}{part}": f"{figure:.{digits}f}" for part, figure in figures if figure is not None}
    return cells


def _record_hash(folder: Path) -> None:
    """Write the hash of ``areas.csv`` into ``map.json``, if it is listed there."""
    record = read_map_record(folder)
    if AREAS_FILE in record.files:
        path = folder / AREAS_FILE
        entry = FileRecord(sha256_file(path), path.stat().st_size)
        files = record.files | {AREAS_FILE: entry}
        write_document(folder / MAP_FILE, replace(record, files=files), schema=MAP_SCHEMA)
