"""The report as Markdown."""

from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.rendering.markdown import report_markdown


def test_the_markdown_is_the_golden_one(report, golden):
    markdown = report_markdown(report)
    assert markdown == golden("report.md", markdown)


def test_markdown_and_html_say_the_same(report):
    for text in (report_markdown(report), report_html(report)):
        for figure in ("VALID", "91.7", "2.50", "can't compile", "16.0", "5.50", "16.0x (16.0 to 16.0)"):
            assert figure in text.replace("&#39;", "'"), figure
