"""The optional dependencies: what each extra brings, read from the installed metadata."""

import importlib.metadata
import operator
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec

from overfly.runtime.errors import MissingExtraError

_DISTRIBUTION = "overfly"

# The forms that setup.cfg uses of a requirement and of a condition in its marker (PEP 508).
_REQUIREMENT = re.compile(r"(?P<name>[\w.-]+)(?:\[(?P<extras>[^]]+)])?[^;]*(?:; *(?P<marker>.+))?")
_CONDITION = re.compile(r"(extra|python_version|sys_platform) *(==|!=|>=|<) *['\"]([^'\"]+)['\"]")
_OPERATORS = {"==": operator.eq, "!=": operator.ne, ">=": operator.ge, "<": operator.lt}


def require_extra(extra: str, *packages: str) -> None:
    """Check that the packages of an extra are installed, without importing any.

    Parameters
    ----------
    extra
        An extra of the ``overfly`` distribution, such as ``"train"``.
    packages
        The import names of those that are needed; without any, all packages of the extra.

    Raises
    ------
    MissingExtraError
        If a package is missing; the message has the pip command that installs it.
    """
    for package in packages or extra_packages(extra):
        if find_spec(package) is None:
            raise MissingExtraError(
                f"this needs the package {package!r}, which is not installed: "
                f'run  python -m pip install "overfly[{extra}]"'
            )


def extra_packages(extra: str) -> tuple[str, ...]:
    """Return the import names of an extra's packages on this platform, in the order of ``setup.cfg``.

    An extra that names other extras, as ``all`` does, has their packages.

    Raises
    ------
    ValueError
        If the distribution has no such extra.
    """
    packages = tuple(dict.fromkeys(_packages(extra)))
    if not packages:
        raise ValueError(f"the distribution {_DISTRIBUTION} has no extra {extra!r}")
    return packages


def _packages(extra: str) -> Iterator[str]:
    """Yield the import names of an extra's packages; one that two of its extras share comes twice."""
    for text in importlib.metadata.requires(_DISTRIBUTION) or ():
        name, nested, marker = _match(_REQUIREMENT, text).group("name", "extras", "marker")
        conditions = (marker or "").split(" and ")
        is_core = not any("extra" in condition for condition in conditions)
        if is_core or not all(_holds(condition, extra) for condition in conditions):
            continue
        if name == _DISTRIBUTION:
            for inner in nested.split(","):
                yield from _packages(inner.strip())
        else:
            # True of every package that a command needs: a test finds each of them by this name.
            yield name.lower().replace("-", "_")


def _holds(condition: str, extra: str) -> bool:
    """Whether one condition of a marker holds here, for an extra."""
    variable, symbol, value = _match(_CONDITION, condition.strip(" ()")).groups()
    if variable == "python_version":
        return bool(_OPERATORS[symbol](sys.version_info[:2], tuple(map(int, value.split(".")))))
    return bool(_OPERATORS[symbol](extra if variable == "extra" else sys.platform, value))


def _match(pattern: re.Pattern[str], text: str) -> re.Match[str]:
    """Match a whole text; raise ValueError if it has a form that this module does not know."""
    match = pattern.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} in the metadata of {_DISTRIBUTION} has an unknown form")
    return match
