"""Read and write JSON files with a schema name as frozen dataclasses; an unknown key is an error."""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from overfly.runtime.errors import DocumentError
from overfly.runtime.files.atomic import write_atomically

Record = TypeVar("Record")

# Metadata of a field that files of earlier versions lack. Its default value is what they mean, and is not written: a
# file is the same, and so is its hash, after it was read and written again.
ADDED_LATER = types.MappingProxyType({"added_later": True})


def write_document(path: Path, record: Any, *, schema: str) -> None:
    """Write a dataclass as indented JSON, with ``"schema"`` as the first key, atomically."""
    write_atomically(path, dump_document(record, schema=schema).encode())


def dump_document(record: Any, *, schema: str) -> str:
    """Return the JSON text of a dataclass; NaN and infinity are an error, because JSON has neither."""
    content = {"schema": schema, **_plain(record)}
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Return dataclasses as dicts, at any depth."""
    if isinstance(value, str):  # most values by far
        return value
    if dataclasses.is_dataclass(value):
        fields = {field: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {f.name: _plain(v) for f, v in fields.items() if not (f.metadata == ADDED_LATER and v == f.default)}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def read_document(
    path: Path, record_type: type[Record], *, schema: str, error: type[DocumentError] = DocumentError
) -> Record:
    """Read a document written by `write_document`.

    Parameters
    ----------
    path
        The JSON file.
    record_type
        The dataclass to build; nested dataclasses, tuples, dicts and plain values, each of them or None.
    schema
        What ``"schema"`` must say, such as ``"overfly.run/1"``.
    error
        What to raise.

    Raises
    ------
    DocumentError
        (or `error`) if the file is missing, is not JSON, has another schema, has an unknown or a missing key,
        or has a value of the wrong type.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a byte order mark in front
    except FileNotFoundError:
        raise error(missing_document(path, schema)) from None
    except (OSError, ValueError) as cause:
        raise error(f"{path} can't be read as JSON ({cause}): make or copy {path.name} again") from cause
    return parse_document(text, path, record_type, schema=schema, error=error)


def missing_document(path: Path, schema: str) -> str:
    """Return the sentence for a document that is not there."""
    return f"{path} is missing: expected a file with schema {schema}; is {path.absolute().parent} complete?"


def parse_document(
    text: str, path: Path, record_type: type[Record], *, schema: str, error: type[DocumentError] = DocumentError
) -> Record:
    """Build a record from the text of a document; `path` says in errors where it came from.

    Raises
    ------
    DocumentError
        (or `error`) as `read_document` does for what a file holds.
    """
    try:
        content = json.loads(text, parse_float=_parse_finite, parse_constant=_parse_finite)
    except (ValueError, RecursionError) as cause:
        raise error(f"{path} can't be read as JSON ({cause}): make or copy {path.name} again") from cause
    if not isinstance(content, dict):
        kind = "an array" if isinstance(content, list) else "a single value"
        raise error(f"{path} holds {kind}, expected an object with schema {schema!r}: pass another file")
    found = content.pop("schema", None)
    if found != schema:
        what = "no schema" if found is None else f"schema {found!r}"
        raise error(f"{path} has {what}, expected {schema!r}: {_explain_schema(found, schema)}")
    try:
        return typing.cast("Record", _build(record_type, content, "the file"))
    except _MismatchError as cause:
        raise error(f"{path} is not a valid {schema} document: {cause}; make or copy {path.name} again") from cause


def _explain_schema(found: object, expected: str) -> str:
    """Return why a document has another schema than the expected one, and what to do."""
    if not (isinstance(found, str) and found.startswith("overfly.")):
        return "it was not written by overfly; pass another file"
    if found.partition("/")[0] == expected.partition("/")[0]:
        return "it was written by another version of overfly"
    return "it is another kind of file; pass another one"


def _parse_finite(digits: str) -> float:
    """Return a number; raise if it is NaN or infinite, which Python's reader accepts although JSON has neither."""
    if not math.isfinite(number := float(digits)):
        raise ValueError(f"{digits} is not a finite number")
    return number


class _MismatchError(Exception):
    """A value that does not fit its type; the message says where it is."""


def _build(kind: Any, value: Any, where: str) -> Any:
    """Return `value`, parsed from JSON, as an instance of the type `kind`."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build_record(kind, value, where)
    if origin in (typing.Union, types.UnionType):  # always of one type and None
        (present,) = set(arguments) - {type(None)}
        return None if value is None else _build(present, value, where)
    if origin is tuple:
        return _build_tuple(arguments, value, where)
    if origin in (dict, Mapping):
        _check_type(value, dict, "an object", where)
        return {key: _build(arguments[1], item, f"{where}: {key}") for key, item in value.items()}
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise _MismatchError(f"{where} is a number with {len(str(value))} digits, expected a float") from None
    if kind is not Any:
        _check_type(value, kind, kind.__name__, where)
    return value


def _check_type(value: Any, kind: type, expected: str, where: str) -> None:
    """Raise if `value` is not exactly of the type `kind`, which a message calls `expected`."""
    if type(value) is not kind:
        raise _MismatchError(f"{where} is {value!r}, expected {expected}")


def _build_record(kind: Any, value: Any, where: str) -> Any:
    """Build a dataclass from an object with its fields as keys; only one that was added later may be missing."""
    hints = typing.get_type_hints(kind)
    names = {field.name for field in dataclasses.fields(kind)}
    optional = {field.name for field in dataclasses.fields(kind) if field.metadata == ADDED_LATER}
    _check_type(value, dict, "an object", where)
    if unknown := sorted(value.keys() - names):
        raise _MismatchError(f"{where} has the unknown key {unknown[0]!r}")
    if missing := sorted(names - optional - value.keys()):
        raise _MismatchError(f"{where} lacks the key {missing[0]!r}")
    try:
        return kind(**{name: _build(hints[name], value[name], f"{where}: {name}") for name in names & value.keys()})
    except ValueError as cause:
        raise _MismatchError(f"{where}: {cause}") from cause


def _build_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """Build a tuple from an array; ``tuple[T, ...]`` is of any length."""
    _check_type(value, list, "an array", where)
    # A bundle lists thousands of hashes: one by one, they would take longer than all the rest.
    if kinds == (str, ...) and all(type(item) is str for item in value):
        return tuple(value)
    if len(kinds) == 2 and kinds[1] is Ellipsis:  # noqa: PLR2004 - the form of tuple[T, ...]
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise _MismatchError(f"{where} has {len(value)} elements, expected {len(kinds)}")
    return tuple(_build(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, value, strict=True)))
