"""Read and write ``report.json``."""

from pathlib import Path

from overfly.benchmarks.results.records import REPORT_SCHEMA, Report
from overfly.runtime.documents import read_document, write_document

REPORT_JSON = "report.json"


def write_report_json(folder: Path, report: Report) -> None:
    """Write ``report.json`` into an existing folder."""
    write_document(folder / REPORT_JSON, report, schema=REPORT_SCHEMA)


def read_report(path: Path) -> Report:
    """Read the report that `overfly.benchmarks.job.bench` wrote.

    Parameters
    ----------
    path
        A ``report.json``, or the folder that contains it.

    Returns
    -------
    Report
        Every figure of the report, and the raw measurements behind it.

    Raises
    ------
    DocumentError
        If the file is missing, is not valid, or has another schema than `REPORT_SCHEMA`.

    Examples
    --------
    >>> from pathlib import Path
    >>> from overfly.benchmarks import read_report
    >>> report = read_report(Path("report"))
    >>> report.rows[0].name
    'PyTorch fp32'
    """
    return read_document(path / REPORT_JSON if path.is_dir() else path, Report, schema=REPORT_SCHEMA)
