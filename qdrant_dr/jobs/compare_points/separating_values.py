"""Find payload values that tell the removed points from those that were kept. Pure.

Only plain values are looked at: text, integers and booleans, also in lists and in objects. What is
said are exact counts; a value that most of the kept have as well separates nothing.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MOST_VALUES = 1000
"""A field with more values among the removed tells nothing in a few words."""
NAMED = 3
SHARE_OF_REMOVED = 0.5
APART = 0.5
"""By so much a value's share of the removed must exceed its share of the kept."""
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
Value = str | int | bool


@dataclass(frozen=True)
class Candidate:
    """A value that many of the removed points have in a field."""

    field: str
    value: Value
    removed: int

    @property
    def where(self) -> Mapping[str, Any]:
        """Return the filter that finds every point with this value."""
        return {"must": [{"key": self.field, "match": {"value": self.value}}]}

    @property
    def filled(self) -> Mapping[str, Any]:
        """Return the filter that finds every point with any value in this field."""
        return {"must_not": [{"is_empty": {"key": self.field}}]}

    def of(self, payload: Any) -> bool:
        """Say whether a payload has it."""
        return (self.field, type(self.value), self.value) in set(_values(payload))


@dataclass(frozen=True)
class Separating:
    """A value, and how many of the removed and of the kept points have it."""

    field: str
    value: Value
    removed: int
    of_removed: int
    kept: int
    of_kept: int

    @property
    def words(self) -> str:
        """Say it: `all have city = "x", as do 12 of the 55,790 kept`."""
        who = "all have" if self.removed == self.of_removed else f"{self.removed:,} of them have"
        do = "does" if self.kept == 1 else "do"
        others = f"as {do} {self.kept:,}" if self.kept else "and none"
        value = json.dumps(self.value, ensure_ascii=False)
        return f"{who} {self.field} = {value}, {others} of the {self.of_kept:,} kept"


@dataclass
class RemovedValues:
    """Counts the values of removed points, field by field."""

    points: int = 0
    _fields: dict[str, Counter[tuple[type, Value]]] = field(default_factory=dict)
    _crowded: set[str] = field(default_factory=set)

    def add(self, payloads: Iterable[Any]) -> None:
        """Take the payloads of removed points."""
        for payload in payloads:
            self.points += 1
            for name, kind, value in set(_values(payload)):
                if name in self._crowded:
                    continue
                counts = self._fields.setdefault(name, Counter())
                counts[kind, value] += 1
                if len(counts) > MOST_VALUES:
                    self._crowded.add(name)
                    del self._fields[name]

    def candidates(self) -> list[Candidate]:
        """Return the values that may separate, those of most removed points first."""
        found = [
            Candidate(name, value, count)
            for name, counts in self._fields.items()
            for (_, value), count in counts.items()
            if count >= SHARE_OF_REMOVED * self.points
        ]
        return sorted(found, key=lambda c: (-c.removed, c.field, str(c.value)))


def separating(
    counted: Iterable[tuple[Candidate, int]], removed: int, before: int
) -> tuple[Separating, ...]:
    """Choose among candidates, each with the number of points that had it before: those that the
    kept have least."""
    kept = before - removed
    found = [
        Separating(c.field, c.value, c.removed, removed, total - c.removed, kept)
        for c, total in counted
        if 0 <= total - c.removed <= kept
        and kept
        and c.removed / removed - (total - c.removed) / kept >= APART
    ]
    found.sort(key=lambda s: (s.kept / s.of_kept - s.removed / s.of_removed, s.field))
    return tuple(found[:NAMED])


def _values(payload: Any, path: str = "") -> Iterator[tuple[str, type, Value]]:
    """Yield the plain values of a payload, with paths as a filter writes them."""
    for key, value in (payload or {}).items():
        if not _PLAIN_KEY.fullmatch(key):
            continue
        name = f"{path}{key}"
        if isinstance(value, dict):
            yield from _values(value, f"{name}.")
        for one in value if isinstance(value, list) else (value,):
            if isinstance(one, bool | str) or (isinstance(one, int) and abs(one) < 1 << 63):
                yield name, type(one), one
