"""The report as one HTML file."""

import re

from overfly.benchmarks.rendering.html import report_html


def test_the_page_loads_nothing_and_escapes_what_it_shows(report):
    page = report_html(report)
    assert not re.findall(r"(?:https?:)?//[a-z0-9]", page.replace("http://www.w3.org/2000/svg", ""))
    assert "<script" not in page
    assert "forest <b>" not in page
    assert "forest &lt;b&gt;" in page
    assert "storage &amp; tanks" in page


def test_the_page_shows_every_part(report):
    page = report_html(report)
    for heading in ("What to deploy", "Results", "Accuracy against latency", "Latency distribution", "F1 by class"):
        assert heading in page
    assert "Images classified differently: 4" in page
    assert page.count("<svg") >= 2
