"""The report as Markdown, with the tables of GitHub's dialect."""

from collections.abc import Sequence

from overfly.benchmarks.rendering import formatting
from overfly.benchmarks.rendering.columns import COLUMNS
from overfly.benchmarks.rendering.details import DETAILS, machine_facts
from overfly.benchmarks.rendering.legend import LEGEND
from overfly.benchmarks.results import number_format
from overfly.benchmarks.results.per_class import class_scores, confusion_of, disagreements
from overfly.benchmarks.results.records import Report
from overfly.runtime.evaluation.metrics import most_confused

_MAX_DISAGREEMENTS = 40
_N_CONFUSED = 10
_ESCAPES = str.maketrans({**{c: f"\\{c}" for c in "\\`*_[]~#"}, **{c: f"&#{ord(c)};" for c in "<>&|"}})


def report_markdown(report: Report) -> str:
    """Return the report as Markdown."""
    sections = (
        [f"# {escape(report.bundle.name)}: benchmark report"],
        _validity(report),
        [f"**{escape(formatting.recommendation_sentence(report))}**"],
        ["## Results", *_results(report), escape(formatting.images_sentence(report))],
        _details(report),
        _classes(report),
        _disagreements(report),
        ["## Machine", markdown_table(("", ""), machine_facts(report), n_left=2)],
        ["## Method", "\n".join(f"- **{escape(name)}**: {escape(text)}" for name, text in LEGEND)],
    )
    return "\n\n".join(block for section in sections for block in section) + "\n"


def escape(text: str) -> str:
    """Return text in which Markdown and HTML see no markup."""
    return " ".join(text.split()).translate(_ESCAPES)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]], *, n_left: int = 1) -> str:
    """Return a Markdown table of plain texts, the first `n_left` columns aligned to the left, the others to the right.

    The header is Markdown, the cells are escaped.
    """
    rule = ["---" if i < n_left else "---:" for i in range(len(header))]
    lines = [header, rule, *([escape(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _validity(report: Report) -> list[str]:
    """Return the validity, and the reasons against it as a list."""
    reasons = [f"- {escape(reason.what)}; {escape(reason.remedy)}" for reason in report.validity.reasons]
    return [f"**{escape(formatting.validity_sentence(report))}**", *(["\n".join(reasons)] if reasons else [])]


def _results(report: Report) -> list[str]:
    """Return the results table, and a line for each row that failed."""
    header = ("model", *(column.title for column in COLUMNS))
    rows = [(row.name, *(column.text(row) for column in COLUMNS)) for row in report.rows]
    n_left = 1 + sum(not column.is_number for column in COLUMNS)
    return [markdown_table(header, rows, n_left=n_left), *map(escape, formatting.failures(report))]


def _details(report: Report) -> list[str]:
    """Return the details: a line for each figure, a column for each row of the report."""
    if not report.rows:
        return []
    rows = [(detail.title, *(detail.text(row) for row in report.rows)) for detail in DETAILS]
    return ["## Details", markdown_table(("", *(escape(row.name) for row in report.rows)), rows)]


def _classes(report: Report) -> list[str]:
    """Return F1 by class, and the most frequent errors of the compared row or, if there is none, of the baseline."""
    indices = [i for i in (report.baseline, report.compared_row) if i is not None]
    if not indices:
        return []
    names = [escape(report.rows[i].name) for i in indices]
    scores = [
        (
            score.name,
            str(score.n_images),
            *(number_format.decimal(f1) for f1 in (score.baseline, score.compared_row) if f1 is not None),
        )
        for score in class_scores(report)
    ]
    blocks = ["## F1 by class", markdown_table(("class", "images", *names), scores)]
    confusion = confusion_of(report, indices[-1])
    if confusion is not None and (pairs := most_confused(confusion, report.classes, n_pairs=_N_CONFUSED)):
        errors = [(truth, predicted, str(n)) for truth, predicted, n in pairs]
        blocks.append(f"Most frequent errors of {names[-1]}:")
        blocks.append(markdown_table(("true class", "predicted class", "images"), errors, n_left=2))
    return blocks


def _disagreements(report: Report) -> list[str]:
    """Return the images that the baseline and the compared row classify differently."""
    if report.baseline is None or report.compared_row is None:
        return []
    found = disagreements(report)
    names = [escape(report.rows[i].name) for i in (report.baseline, report.compared_row)]
    heading = f"## Images classified differently by {names[0]} and {names[1]}"
    if not found:
        return [heading, "None."]
    rows = [(d.image, d.truth, d.baseline, d.compared_row, d.outcome) for d in found[:_MAX_DISAGREEMENTS]]
    n_more = len(found) - _MAX_DISAGREEMENTS
    more = [f"... and {n_more} more in report.json."] if n_more > 0 else []
    return [heading, markdown_table(("image", "true class", *names, "outcome"), rows, n_left=5), *more]
