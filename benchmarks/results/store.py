"""``report.json``: reading and writing it."""

from pathlib import Path

from overfly.benchmarks.results.records import Report
from overfly.runtime.documents import read_document, write_document

REPORT_SCHEMA = "overfly.report/2"

REPORT_JSON = "report.json"


def write_report_json(folder: Path, report: Report) -> None:
    """Write ``report.json`` into an existing folder."""
    write_document(folder / REPORT_JSON, report, schema=REPORT_SCHEMA)


def read_report(path: Path) -> Report:
    """Read a ``report.json``, or the one in a report folder.

    Raises
    ------
    DocumentError
        When it is missing or not valid.
    """
    return read_document(path / REPORT_JSON if path.is_dir() else path, Report, schema=REPORT_SCHEMA)
