"""Parse a filter of Qdrant's REST API for the engine, in its child process.

The engine's binding takes a boolean for an integer, and would find what nobody asked for: refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

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
    if any(isinstance(w, bool) for w in (wanted if isinstance(wanted, list) else [wanted])):
        raise FilterInvalidError("the engine cannot match a boolean: ask for points by their ids")
    return _MATCHES[kind](wanted)


def _range(given: Any) -> Any:
    bounds = {name: bound for name, bound in given.items() if bound is not None}
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


_FIELDS: Mapping[str, Callable[[Any], Any]] = {
    "match": _match,
    "range": _range,
    "geo_bounding_box": _box,
    "geo_radius": _radius,
    "geo_polygon": _polygon,
    "values_count": lambda given: edge.ValuesCount(**given),
    "is_empty": bool,
    "is_null": bool,
}


def _field(given: Any) -> edge.FieldCondition:
    _only(given, {"key", *_FIELDS}, "a condition of a field")
    wanted: dict[str, Any] = {
        name: make(given[name]) for name, make in _FIELDS.items() if given.get(name) is not None
    }
    if not wanted:
        raise FilterInvalidError(f"nothing is asked of {given['key']!r}")
    return edge.FieldCondition(given["key"], **wanted)


def _only(given: Any, known: set[str], what: str) -> None:
    """Raise unless it is an object without unknown keys: one that is overlooked widens a filter."""
    if not isinstance(given, dict):
        raise FilterInvalidError(f"{what} is no object: {given!r}")
    if unknown := sorted(given.keys() - known):
        raise FilterInvalidError(f"{what} has no {', '.join(unknown)}")
