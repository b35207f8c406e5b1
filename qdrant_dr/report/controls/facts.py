"""The rows of the frames, as the rules for controls ask them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any, Final, TypeAlias

from qdrant_dr.config import Copies
from qdrant_dr.text import count

Row: TypeAlias = Mapping[str, Any]
DOUBTS: Final = {
    "repository-unreadable": "{} could not be read",
    "records-unreadable": "records in {} could not be read",
    "ledger-broken": "the ledger of {} is broken",
    "ledger-unreadable": "the ledger of {} could not be read",
    "ledger-behind": "the ledger of {} ends before what was seen of it",
}
"""Findings with which no figure shows that anything is met: what could not be read, or was taken
away, may be what would have said no."""
WORK: Final = ("backup", "replicate", "verify", "drill", "restore", "expire")
"""Runs that do something about backups; a report or a signature of one shows nothing."""


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
    def last_under_scenario(self) -> dict[tuple[str, str], Row]:
        """Return the last drill of each scenario and collection."""
        return {(d["scenario"], d["collection"]): d for d in self.rows["drills"] if d["scenario"]}

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
    def doubts(self) -> str:
        """Say why no figure can be relied on; empty if all can."""
        codes = Counter(f["code"] for f in self.rows["findings"])
        return " and ".join(
            words.format(count(codes[code], "repository"))
            for code, words in DOUBTS.items()
            if codes[code]
        )

    @property
    def idle(self) -> bool:
        """Say whether no run of the period did anything about backups."""
        return not any(r["kind"] in WORK and r["ended_at"] is not None for r in self.ended_runs)

    def crashed(self, kind: str) -> list[Row]:
        """Return the runs that wrote no end, and that no later run has settled."""
        return [
            r
            for r in self.ended_runs
            if r["kind"] == kind and r["ended_at"] is None and r["settled_by"] is None
        ]


def share(some: Iterable[Row], of: Sequence[Row], what: str) -> str:
    """Write `2 of 3 collections`."""
    return f"{sum(1 for _ in some)} of {count(len(of), what)}"
