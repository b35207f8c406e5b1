"""The rows of the frames, as the rules for controls ask them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, TypeAlias

from qdrant_dr.config import Copies
from qdrant_dr.text import count

Row: TypeAlias = Mapping[str, Any]
UNREAD = ("repository-unreadable", "records-unreadable")
"""Findings by which something could not be read."""


@dataclass(frozen=True)
class Facts:
    """The rows of all other frames by name, and what is promised of copies. None: not measured."""

    rows: Mapping[str, Sequence[Row]]
    promised: Copies
    as_of: datetime
    period: timedelta

    @cached_property
    def collections(self) -> list[Row]:
        """Return every collection that must be restorable."""
        return [r for r in self.rows["collections"] if r["status"] != "excluded"]

    @cached_property
    def last_tries(self) -> dict[str, Row]:
        """Return the last drill of each collection that came to an end, by collection."""
        return {d["collection"]: d for d in self.rows["drills"] if d["verdict"] != "not run"}

    @cached_property
    def passed_drills(self) -> list[Row]:
        return [d for d in self.rows["drills"] if d["verdict"] == "passed"]

    @cached_property
    def ended_runs(self) -> list[Row]:
        """Return every run that ended, or never will."""
        return [r for r in self.rows["runs"] if r["verdict"] is not None]

    @cached_property
    def held_copies(self) -> list[Row]:
        """Return the copies that are there, whole or not."""
        there = ("present", "behind", "archived", "damaged")
        return [c for c in self.rows["copies"] if c["state"] in there]

    @cached_property
    def unread(self) -> str:
        """Say what could not be read; empty if all could."""
        found = Counter(f["code"] for f in self.rows["findings"] if f["code"] in UNREAD)
        said = []
        if n := found["repository-unreadable"]:
            said.append(f"{count(n, 'repository')} could not be read")
        if n := found["records-unreadable"]:
            said.append(f"records in {count(n, 'repository')} could not be read")
        return " and ".join(said)


def share(some: Iterable[Row], of: Sequence[Row], what: str) -> str:
    """Write `2 of 3 collections`."""
    return f"{sum(1 for _ in some)} of {count(len(of), what)}"
