"""The report as Markdown, with the tables of GitHub's dialect."""

from overfly.benchmarks.rendering.templates import render
from overfly.benchmarks.results.records import Report

_ESCAPES = str.maketrans({**{c: f"\\{c}" for c in "\\`*_[]~#"}, **{c: f"&#{ord(c)};" for c in "<>&|"}})


def report_markdown(report: Report) -> str:
    """Return the report as Markdown.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``bench`` is not installed.
    """
    return render("report.md.j2", report, escape=escape)


def escape(value: object) -> str:
    """Return the text of a value in which Markdown and HTML see no markup."""
    return " ".join(str(value).split()).translate(_ESCAPES)
