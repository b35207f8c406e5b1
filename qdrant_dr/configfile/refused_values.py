"""Explain what the model refuses, with line, key path and the nearest known key."""

from __future__ import annotations

import difflib
import re
import types
from collections.abc import Iterator
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from qdrant_dr import secrets
from qdrant_dr.config import Config
from qdrant_dr.configfile.plaintext import REFERENCE
from qdrant_dr.configfile.yaml_document import KeyPath, Problem, YamlDocument, dotted

_PATTERNS = {
    secrets.PATTERN: REFERENCE,
    secrets.BLOCK: "must be block:TYPE/NAME, such as block:aws-credentials/prod",
    r"^[a-z0-9][a-z0-9-]{0,62}$": "must be lower-case letters, digits and hyphens",
    r"^(file|secret):.+$": "must be a reference (file:PATH or secret:NAME)",
    r"^https?://[^\s<>]+$": "must be an address that begins with http:// or https://",
    r"^[0-9a-f]{8}$": "must be 8 hex digits, as `qdrant-dr repository create` printed them",
}


def problems(error: ValidationError, source: YamlDocument) -> list[Problem]:
    """Return one problem per key, in the order of lines."""
    by_path: dict[KeyPath, list[ErrorDetails]] = {}
    for details in error.errors(include_url=False):
        by_path.setdefault(_in_file(details, source.data), []).append(details)
    found = [
        Problem(source.line(path), path, _message(path, group)) for path, group in by_path.items()
    ]
    return sorted(found, key=lambda p: p.line)


def as_text(error: ValidationError, source: YamlDocument) -> bool:
    """Replace numbers that YAML read by their text where the model wants text; say if any was."""
    put = False
    for details in error.errors(include_url=False, include_context=False):
        path = _in_file(details, source.data)
        if details["type"] in {"string_type", "string_pattern_mismatch"} and path in source.texts:
            *way, last = path
            below = source.data
            for step in way:
                below = below[step]
            put = put or below[last] != source.texts[path]
            below[last] = source.texts[path]
    return put


def _in_file(details: ErrorDetails, data: Any) -> KeyPath:
    """Return pydantic's location without the names of union members, which are not in the file."""
    loc: KeyPath = details["loc"]
    if at := details.get("ctx", {}).get("at"):
        loc = tuple(int(p) if p.isdigit() else p for p in str(at).split("."))
    path: list[str | int] = []
    for i, step in enumerate(loc):
        here = isinstance(data, dict) and step in data
        if here or (isinstance(data, list) and isinstance(step, int) and step < len(data)):
            data = data[step]
        elif not (isinstance(data, dict) and i == len(loc) - 1):
            continue
        path.append(step)
    return tuple(path)


def _message(path: KeyPath, group: list[ErrorDetails]) -> str:
    first = group[0]
    kind = first["type"]
    if kind == "extra_forbidden":
        return "no such key" + _nearest_key(path)
    if kind == "missing":
        return "is missing"
    if first["input"] is None:
        return "is empty: give it a value, or remove the key"
    if literals := [d["ctx"]["expected"] for d in group if d["type"] == "literal_error"]:
        words = re.findall(r"'([^']*)'|(\d+)", ", ".join(literals))
        return _one_of([quoted or number for quoted, number in words], first["input"])
    if kind in {"model_type", "dict_type"}:
        return "must hold keys of its own" + (_keys_of(path) or ": one `key: value` a line")
    return plain(first)


def plain(details: ErrorDetails) -> str:
    """Say what the model refuses, for people who know neither the model nor Python."""
    kind, context = details["type"], details.get("ctx", {})
    if kind == "value_error":
        return str(context.get("error", details["msg"].removeprefix("Value error, ")))
    if known := _PATTERNS.get(context.get("pattern", "")):
        return known
    if (words := _WORDS.get(kind)) is not None:
        return words.format(**context)
    return str(context["message"]) if kind == "adds_up" else "is not valid here"


_NUMBER, _WHOLE = "must be a number, such as 0.5", "must be a whole number, such as 3"
_YES_OR_NO, _TEXT = "must be `true` or `false`", "must be text: put it in quotes"
_LIST = "must be a list: `[a, b]`, or one `- a` per line"
_WORDS = {
    "greater_than": "must be greater than {gt:g}",
    "greater_than_equal": "must be {ge:g} or more",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be {le:g} or less",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "int_parsing_size": "is a number with too many digits",
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "bool_type": _YES_OR_NO,
    "bool_parsing": _YES_OR_NO,
    "string_type": _TEXT,
    "string_unicode": _TEXT,
    "string_sub_type": _TEXT,
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "does not have the required form",
    "tuple_type": _LIST,
    "list_type": _LIST,
    "too_short": "must have at least one entry",
    "dict_type": "must hold keys of its own: one `key: value` per line",
    "missing": "is missing",
    "extra_forbidden": "is not known here",
    "literal_error": "must be {expected}",
}
"""Our words for pydantic's error types."""


def _one_of(allowed: list[str], given: Any) -> str:
    if str(given) in allowed:
        return f"must be `{given}` without quotes"
    close = difflib.get_close_matches(str(given), allowed, 1)
    meant = f"; did you mean `{close[0]}`?" if close else ""
    return "must be " + ", ".join(f"`{word}`" for word in allowed) + meant


def _nearest_key(path: KeyPath) -> str:
    *above, key = path
    section = _section(tuple(above))
    known = list(section.model_fields) if section else []
    if close := difflib.get_close_matches(str(key), known, 1):
        return f"; did you mean `{close[0]}`?"
    if elsewhere := [dotted(p) for p in _all_keys(Config, ()) if p[-1] == key]:
        return f" here; did you mean `{elsewhere[0]}`?"
    return f"; there are {', '.join(f'`{k}`' for k in known)}" if known else ""


def _keys_of(path: KeyPath) -> str:
    section = _section(path)
    return f": {', '.join(f'`{k}`' for k in section.model_fields)}" if section else ""


def _section(path: KeyPath) -> type[BaseModel] | None:
    """Return the model of the mapping at a path."""
    model: type[BaseModel] | None = Config
    for step in path:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step) if model else None
        model = next(_models(field.annotation), None) if field else None
    return model


def _all_keys(model: type[BaseModel], above: KeyPath) -> Iterator[KeyPath]:
    for name, field in model.model_fields.items():
        yield (*above, name)
        for below in _models(field.annotation):
            yield from _all_keys(below, (*above, name))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) in {Union, types.UnionType, tuple, list, Annotated}:
        for arg in get_args(annotation):
            yield from _models(arg)
