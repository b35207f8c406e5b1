"""Which copy of a backup is read first, and what that rests on: one order for all who read. Pure.

Whoever reads compares every byte with the manifest, so the order saves transfers that would fail;
it is no proof of anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, get_args

from qdrant_dr.config import Proven
from qdrant_dr.records import DEPTHS, Proof
from qdrant_dr.records.proof import depth_rank
from qdrant_dr.repository.catalog import Backup, Copy
from qdrant_dr.repository.proven import is_proven, open_failures, proof_of, whole

Health = Literal["sound", "doubted", "damaged", "incomplete"]
"""`doubted`: something may be hidden against it. `damaged`: something is known. `incomplete`: a
part of it is not there."""


@dataclass(frozen=True, slots=True)
class RankedCopy:
    """A copy with a manifest as one to read from, and the reasons for its place in the order.

    `proof` is the deepest of its full proofs that passed, and the newest of these; `kept`: it keeps
    the promise that was asked for.
    """

    copy: Copy
    health: Health
    proof: Proof | None
    kept: bool = False

    @property
    def readable(self) -> bool:
        """Say whether it can be read now, without being brought back from an archive first."""
        return not self.copy.archived

    @property
    def complete(self) -> bool:
        """Say whether all its parts are there, whatever is known of their bytes."""
        return self.health != "incomplete"

    @property
    def believed(self) -> bool:
        """Say whether it is complete and nothing is known against it."""
        return self.health in ("sound", "doubted")


def rank_sources(
    backup: Backup, *, now: datetime, promise: Proven | None = None
) -> tuple[RankedCopy, ...]:
    """Return every copy whose manifest can be read, the one to read first in front.

    What can be read now comes before what lies in an archive, the healthier before the others, then
    the deepest proof, the newest of these, and the order of the configuration. Of the readable and
    of the archived copies those that keep the `promise`, if there is one, come first and are alike:
    it is the configuration that knows which of them is near.
    """
    found = [_source(backup, c, now, promise) for c in backup.copies if c.committed]
    return tuple(sorted(found, key=_rank))


def _source(backup: Backup, copy: Copy, now: datetime, promise: Proven | None) -> RankedCopy:
    proofs = (proof_of(copy, depth=depth, now=now) for depth in reversed(DEPTHS))
    return RankedCopy(
        copy,
        _health(backup, copy),
        next(filter(None, proofs), None),
        promise is not None
        and is_proven(backup, copy, depth=promise.depth, max_age=promise.max_age, now=now),
    )


def _health(backup: Backup, copy: Copy) -> Health:
    if {p.file for p in backup.manifest.parts} & set(copy.lacks):
        return "incomplete"
    if whole(backup, copy):
        return "sound"
    return "damaged" if copy.state == "damaged" or open_failures(copy.proofs) else "doubted"


def _rank(source: RankedCopy) -> tuple[bool, bool, int, int, float]:
    archived = not source.readable
    if source.kept:
        return archived, False, 0, 0, 0.0
    health = get_args(Health).index(source.health)
    if source.proof is None:
        return archived, True, health, 1, 0.0
    deepest, at = depth_rank(source.proof.depth), source.proof.ended_at.timestamp()
    return archived, True, health, -deepest, -at


def time_to_reach(copies: Iterable[Copy]) -> timedelta:
    """Return the shortest time until one of these copies can be read: zero if one can be read
    now."""
    times = [c.restore_time or timedelta(0) for c in copies if c.archived and c.within_reach]
    if not times or any(not c.archived for c in copies):
        return timedelta(0)
    return min(times)


def healing_sources(backup: Backup, now: datetime) -> tuple[str, ...]:
    """Return the copies that others can be healed from and that can be read now, the one to read
    first in front."""
    ranked = rank_sources(backup, now=now)
    return tuple(s.copy.repository for s in ranked if s.believed and s.readable)
