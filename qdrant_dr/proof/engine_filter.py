"""Parse a filter of Qdrant's REST API for the engine, in its child process.

The engine's binding takes a boolean for an integer, wherever it may be both. So a boolean is given
as numpy's, which is no integer, and refused where a server refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

import numpy as np
import qdrant_edge as edge

_CLAUSES = ("must", "should", "must_not")
_MATCHES: Mapping[str, Any] = {
    "value": edge.MatchValue,
    "any": edge.MatchAny,
    "except": edge.MatchExcept,
    "text": edge.MatchText,
    "text_any": edge.MatchTextAny,
    "phrase": edge.MatchPhrase,
}


class FilterInvalidError(ValueError):
    """No filter that the engine can evaluate: `str()` says why."""


def engine_filter(given: Any) -> edge.Filter:
    """Return a REST filter in the engine's form. Raise FilterInvalidError."""
    try:
        return _filter(given)
    except FilterInvalidError:
        raise
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as e:
        raise FilterInvalidError(f"the engine cannot parse the filter: {_words(e)}") from e


def _words(error: Exception) -> str:
    return f"{error!r}" if isinstance(error, KeyError) else str(error).splitlines()[0]


def _filter(given: Any) -> edge.Filter:
    _only(given, {*_CLAUSES, "min_should"}, "a filter")
    clauses: dict[str, Any] = {
        name: [_condition(c) for c in (some if isinstance(some, list) else [some])]
        for name in _CLAUSES
        if (some := given.get(name)) is not None
    }
    if (least := given.get("min_should")) is not None:
        _only(least, {"conditions", "min_count"}, "min_should")
        conditions = [_condition(c) for c in least["conditions"]]
        clauses["min_should"] = edge.MinShould(conditions, least["min_count"])
    return edge.Filter(**clauses)


def _condition(given: Any) -> Any:
    if not isinstance(given, dict):
        raise FilterInvalidError(f"no condition: {given!r}")
    if "key" in given:
        return _field(given)
    for name, make in _OTHERS.items():
        if name in given:
            _only(given, {name}, "a condition")
            return make(given[name])
    return _filter(given)


def _ids(given: Any) -> Any:
    _no_boolean(given, "has_id")
    return edge.HasIdCondition({UUID(i) if isinstance(i, str) else i for i in given})


def _nested(given: Any) -> Any:
    return edge.NestedCondition(given["key"], _filter(given["filter"]))


_OTHERS: Mapping[str, Callable[[Any], Any]] = {
    "has_id": _ids,
    "has_vector": edge.HasVectorCondition,
    "is_empty": lambda given: edge.IsEmptyCondition(given["key"]),
    "is_null": lambda given: edge.IsNullCondition(given["key"]),
    "nested": _nested,
}


def _match(given: Any) -> Any:
    _only(given, set(_MATCHES), "match")
    (kind, wanted), *more = given.items()
    if more:
        raise FilterInvalidError(f"match has {len(given)} ways: {', '.join(given)}")
    if kind == "value" and isinstance(wanted, bool):
        # a bool of Python would become an integer in the binding
        return edge.MatchValue(np.bool_(wanted))  # type: ignore[arg-type]
    _no_boolean(wanted if isinstance(wanted, list) else [wanted], f"match {kind}")
    return _MATCHES[kind](wanted)


def _range(given: Any) -> Any:
    bounds = {name: bound for name, bound in given.items() if bound is not None}
    _no_boolean(bounds.values(), "range")
    dates = any(isinstance(bound, str) for bound in bounds.values())
    kind: Any = edge.RangeDateTime if dates else edge.RangeFloat
    return kind(**bounds)


def _place(given: Any) -> edge.GeoPoint:
    return edge.GeoPoint(lon=given["lon"], lat=given["lat"])


def _box(given: Any) -> Any:
    return edge.GeoBoundingBox(_place(given["top_left"]), _place(given["bottom_right"]))


def _radius(given: Any) -> Any:
    return edge.GeoRadius(_place(given["center"]), given["radius"])


def _polygon(given: Any) -> Any:
    inner = given.get("interiors")
    return edge.GeoPolygon(
        _line(given["exterior"]), None if inner is None else [*map(_line, inner)]
    )


def _line(given: Any) -> Any:
    return [_place(p) for p in given["points"]]


def _values_count(given: Any) -> Any:
    _no_boolean(given.values(), "values_count")
    return edge.ValuesCount(**given)


def _boolean(given: Any) -> bool:
    if not isinstance(given, bool):
        raise FilterInvalidError(f"neither true nor false: {given!r}")
    return given


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "match": _match,
    "range": _range,
    "geo_bounding_box": _box,
    "geo_radius": _radius,
    "geo_polygon": _polygon,
    "values_count": _values_count,
    "is_empty": _boolean,
    "is_null": _boolean,
}


def _field(given: Any) -> edge.FieldCondition:
    _only(given, {"key", *_FIELDS}, "a condition of a field")
    wanted: dict[str, Any] = {
        name: make(given[name]) for name, make in _FIELDS.items() if given.get(name) is not None
    }
    if not wanted:
        raise FilterInvalidError(f"nothing is asked of {given['key']!r}")
    return edge.FieldCondition(given["key"], **wanted)


def _no_boolean(values: Iterable[Any], what: str) -> None:
    """Raise if one of them is a boolean, which the binding would take for a number."""
    if any(isinstance(v, bool) for v in values):
        raise FilterInvalidError(f"{what} takes no boolean")


def _only(given: Any, known: set[str], what: str) -> None:
    """Raise unless it is an object without unknown keys: one that is overlooked widens a filter."""
    if not isinstance(given, dict):
        raise FilterInvalidError(f"{what} is no object: {given!r}")
    if unknown := sorted(given.keys() - known):
        raise FilterInvalidError(f"{what} has no {', '.join(unknown)}")
