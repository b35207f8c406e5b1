"""Whether an entry was written when it says: against the clock of the store, and against anchors.

Pure. Two clocks are never equal, so small differences say nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from qdrant_dr.evidence.anchors import Anchor
from qdrant_dr.evidence.chain import Link
from qdrant_dr.evidence.check import Check, Examples
from qdrant_dr.evidence.earliest import CLOCKS, Earliest
from qdrant_dr.quantities import how_long


def judge_times(links: Sequence[Link], anchors: Sequence[Anchor]) -> Check:
    """Compare the time that each entry claims with the times around it."""
    wrong, late = Examples(), Examples()
    earliest = Earliest()
    for link in links:
        at = earliest.time(link.at, link.previous_stored_at)
        if not _against_store(link, wrong):
            _against_before(link, at, late)
    for before, after in pairwise(links):
        if after.number == before.number + 1 and not after.adopted:
            _stored_late(before, after, late)
    _against_anchors(links, anchors, wrong)
    if wrong:
        return Check(
            "times",
            "failed",
            str(wrong),
            "by hand: was the clock of the machine that wrote it wrong? `qdrant-dr check` compares "
            "clocks. Else the entry is back-dated.",
        )
    if late:
        return Check(
            "times",
            "doubt",
            str(late),
            "by hand: was the repository copied or restored at that time, or the machine's clock "
            "wrong? Else the entry is back-dated.",
        )
    return Check("times", "ok", "no entry is dated before something that it follows")


def _against_store(link: Link, wrong: Examples) -> bool:
    stored = link.previous_stored_at
    before = stored is not None and link.at < stored - CLOCKS and not link.adopted
    if stored is not None and before:
        wrong.add(
            f"entry {link.number} says {_said(link.at)}, {how_long(stored - link.at)} before the "
            f"store took the entry that it follows"
        )
    return before


def _against_before(link: Link, earliest: datetime, late: Examples) -> None:
    if link.at < earliest:
        late.add(
            f"entry {link.number} says {_said(link.at)}, {how_long(earliest + CLOCKS - link.at)} "
            "before an entry that it follows"
        )


def _stored_late(before: Link, after: Link, late: Examples) -> None:
    stored = after.previous_stored_at
    if stored is not None and before.at < stored - CLOCKS:
        late.add(
            f"entry {before.number} says {_said(before.at)}, and the store took it "
            f"{how_long(stored - before.at)} later"
        )


def _against_anchors(links: Sequence[Link], anchors: Sequence[Anchor], wrong: Examples) -> None:
    """What came after the head that somebody saw cannot be from before that look."""
    seen: dict[int, tuple[datetime, str]] = {}
    for anchor in anchors:
        if anchor.looked_after is not None:
            look = (anchor.looked_after, anchor.witness)
            seen[anchor.number + 1] = max(seen.get(anchor.number + 1, look), look)
    latest: tuple[datetime, str] | None = None
    for link in links:
        if link.number in seen and (latest is None or seen[link.number] > latest):
            latest = seen[link.number]
        if latest is not None and link.at < latest[0] - CLOCKS:
            wrong.add(
                f"entry {link.number} says {_said(link.at)}, and was not there at "
                f"{_said(latest[0])}, when {latest[1]} looked"
            )


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
