"""Fill in the templates of this folder. They get the report, and the modules that turn its figures into text."""

from collections.abc import Callable

from overfly.benchmarks.rendering import charts, columns, details, formatting, legend, pictures
from overfly.benchmarks.results import number_format, per_class
from overfly.benchmarks.results.records import Report
from overfly.runtime.extras import require_extra


def render(template: str, report: Report, *, escape: Callable[[object], str] | None = None, **more: object) -> str:
    """Return a template, filled in.

    Parameters
    ----------
    template
        The name of a file in this folder.
    report
        The report to show.
    escape
        Turns each value into text without markup; None for an HTML template, whose values Jinja escapes.
    **more
        What else the template uses, by name.

    Raises
    ------
    MissingExtraError
        If a package of the extra ``bench`` is not installed.
    """
    require_extra("bench")
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__, ""),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        finalize=escape,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(
        report=report,
        charts=charts,
        columns=columns,
        details=details,
        formatting=formatting,
        legend=legend,
        number_format=number_format,
        per_class=per_class,
        pictures=pictures,
        **more,
    )
