"""The templates of a report: what they need and what they escape."""

from dataclasses import replace

import jinja2
import pytest

from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.rendering.templates import render
from overfly.runtime import extras
from overfly.runtime.errors import MissingExtraError


def named(report, name):
    """Return the report of a bundle with another name."""
    return replace(report, bundles=(replace(report.bundles[0], name=name),))


def test_the_values_of_an_html_template_are_escaped(report):
    html = report_html(named(report, "<b>odd & bold</b>"))
    assert "&lt;b&gt;odd &amp; bold&lt;/b&gt;" in html
    assert "<b>odd" not in html


def test_every_value_of_another_template_goes_through_the_given_function(report):
    markdown = render("report.md.j2", named(report, "odd"), escape=lambda value: f"[{value}]")
    assert "[odd]" in markdown
    assert f"[{report.rows[0].name}]" in markdown


def test_a_value_that_the_template_lacks_is_an_error(report):
    with pytest.raises(jinja2.UndefinedError, match="cells"):
        render("report.html.j2", report)


def test_a_missing_package_is_named(report, monkeypatch):
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match="jinja2"):
        render("report.md.j2", report, escape=str)
