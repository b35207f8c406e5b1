"""Read payloads: values at a path, the index that finds them, the tenants they belong to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

_EXACT_FLOAT = 2**53


def values_at(payload: Mapping[str, Any], path: str) -> list[Any]:
    """Return the values of a payload at a path such as `a.b` or `a[].b`; lists are expanded."""
    found: list[Any] = [payload]
    for step in path.split("."):
        name = step.removesuffix("[]")
        found = [v[name] for v in found if isinstance(v, Mapping) and v.get(name) is not None]
        found = [item for v in found for item in (v if isinstance(v, list) else [v])]
    return found


def fits(kind: str, value: Any) -> bool:
    """Say whether a payload index of this type finds the value."""
    return _FITS.get(kind, _never)(value)


def in_turn(
    payloads: Sequence[Mapping[str, Any]], fields: Mapping[str, str]
) -> list[tuple[int, dict[str, Any]]]:
    """Yield positions in `payloads`, each with the condition of a tenant of that point.

    `fields` are those of tenants, with the type of their index. First comes one point of each
    tenant, large ones first, then a second one of each, and so on, so that few questions reach as
    many graphs as possible. No position comes twice."""
    members: dict[tuple[str, Any], list[int]] = {}
    for place, payload in enumerate(payloads):
        for field, kind in fields.items():
            for value in dict.fromkeys(v for v in values_at(payload, field) if fits(kind, v)):
                members.setdefault((field, value), []).append(place)
    turns: list[tuple[int, dict[str, Any]]] = []
    taken: set[int] = set()
    queues = [(t, iter(at)) for t, at in sorted(members.items(), key=lambda m: -len(m[1]))]
    while queues:
        left = []
        for (field, value), queue in queues:
            untaken = next((place for place in queue if place not in taken), None)
            if untaken is not None:
                taken.add(untaken)
                turns.append((untaken, {"key": field, "match": {"any": [value]}}))
                left.append(((field, value), queue))
        queues = left
    return turns


def _is_uuid(value: Any) -> bool:
    try:
        return isinstance(value, str) and str(UUID(value)) == value
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _never(_: Any) -> bool:
    return False


_FITS: dict[str, Callable[[Any], bool]] = {
    "keyword": lambda v: isinstance(v, str),
    "uuid": _is_uuid,
    "bool": lambda v: isinstance(v, bool),
    "integer": lambda v: type(v) is int and abs(v) < _EXACT_FLOAT,
    "float": _is_number,
    "datetime": lambda v: isinstance(v, str) and "T" in v,
    "geo": lambda v: (
        isinstance(v, Mapping) and _is_number(v.get("lon")) and _is_number(v.get("lat"))
    ),
}
