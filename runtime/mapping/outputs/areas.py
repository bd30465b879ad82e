"""``areas.csv``: the area of each class."""

import csv
import io
from collections.abc import Sequence

from overfly.runtime.mapping.record import ClassFigures

COLUMNS = ("class", "cells", "area_m2", "share", "mean_probability")


def areas_csv(figures: Sequence[ClassFigures]) -> bytes:
    """Return the table: a row for each class, with its share of the area of all classes."""
    total = sum(row.area_m2 for row in figures)
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for row in figures:
        probability = "" if row.mean_probability is None else f"{row.mean_probability:.4f}"
        share = row.area_m2 / total if total else 0.0
        table.writerow([row.name, row.cells, f"{row.area_m2:.1f}", f"{share:.6f}", probability])
    return text.getvalue().encode()
