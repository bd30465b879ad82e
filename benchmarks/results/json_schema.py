"""The JSON Schema of ``report.json``, made from the dataclasses that read and write it.

``python -m overfly.benchmarks.results.json_schema`` prints it; a test compares it with
``docs/report.schema.json``.
"""

import dataclasses
import json
import sys
import types
import typing
from typing import Any

from overfly.benchmarks.results.records import REPORT_SCHEMA, Report

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def report_schema() -> dict[str, object]:
    """Return the schema in the 2020-12 dialect. Every key is required, and no other key is allowed."""
    record = _record(Report)
    properties = {"schema": {"const": REPORT_SCHEMA}, **record["properties"]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": REPORT_SCHEMA,
        "description": "What overfly bench writes: every figure, and the samples and predictions it was computed from.",
        **record,
        "properties": properties,
        "required": list(properties),
    }


def _of(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - type hints are of any type
    """Return the schema of a type hint."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _record(kind)
    if origin in {typing.Union, types.UnionType}:
        return {"anyOf": [_of(member) for member in arguments]}
    if origin is tuple and arguments[1] is Ellipsis:
        return {"type": "array", "items": _of(arguments[0])}
    if origin is tuple:
        return {"type": "array", "prefixItems": [_of(item) for item in arguments], "items": False,
                "minItems": len(arguments)}  # fmt: skip
    if origin is dict:
        return {"type": "object", "additionalProperties": _of(arguments[1])}
    return {"type": _PLAIN[kind]}


def _record(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - dataclasses have no common type
    """Return the schema of a dataclass, whose first docstring line describes it."""
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    return {
        "description": (kind.__doc__ or "").partition("\n")[0],
        "type": "object",
        "properties": {name: _of(hints[name]) for name in names},
        "required": names,
        "additionalProperties": False,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(report_schema(), indent=1) + "\n")
