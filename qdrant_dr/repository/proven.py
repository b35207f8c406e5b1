"""Whether a copy, or a backup, is proven: which proofs count, what clears a failure. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from qdrant_dr.config import Copies, Proven
from qdrant_dr.records import Depth, Proof
from qdrant_dr.records.proof import reaches
from qdrant_dr.repository.catalog import CLOCK_TOLERANCE, Backup, Copy, newest


def clears(proof: Proof, failure: Proof) -> bool:
    """Say whether a passing proof clears a failed one: named in it, at least as deep and as wide.

    Clocks do not decide.
    """
    return (
        proof.passed
        and failure.proof_id in proof.clears
        and reaches(proof.depth, failure.depth)
        and (proof.full or proof.sample == failure.sample)
    )


def open_failures(proofs: Iterable[Proof]) -> tuple[Proof, ...]:
    """Return failed proofs that no passing one clears."""
    known = tuple(proofs)
    return tuple(f for f in known if not f.passed and not any(clears(p, f) for p in known))


def proof_of(
    copy: Copy, *, depth: Depth, now: datetime, max_age: timedelta | None = None
) -> Proof | None:
    """Return the newest passed, full proof of this copy of at least this depth, not from the
    future."""
    good = [
        p
        for p in copy.proofs
        if p.passed
        and p.full
        and reaches(p.depth, depth)
        and p.ended_at <= now + CLOCK_TOLERANCE
        and (max_age is None or now - p.ended_at <= max_age)
    ]
    return max(good, key=lambda p: p.ended_at, default=None)


def is_proven(
    backup: Backup,
    copy: Copy,
    *,
    depth: Depth,
    max_age: timedelta,
    now: datetime,
    readable: bool = True,
) -> bool:
    """Say whether one copy is proven: it is there, without a conflict or an open failure, and its
    proof is young enough.

    A proof of content compared with a seal: it must be the one that the backup has. Not `readable`:
    one that lies out of reach in an archive, and was proven before it went there, is so, too.
    """
    proof = proof_of(copy, depth=depth, now=now, max_age=max_age)
    sealed = backup.seal.sha256 if backup.seal else None
    return (
        (sound if readable else whole)(backup, copy)
        and proof is not None
        and (not needs_seal(depth) or (sealed is not None and proof.seal_sha256 == sealed))
    )


def needs_seal(depth: Depth) -> bool:
    """Say whether a proof of this depth compares with a seal."""
    return reaches(depth, "content")


def sound(backup: Backup, copy: Copy) -> bool:
    """Say whether the copy is there with its manifest, nothing is known or may be hidden against
    it, and it can be read, if need be after a time that is known."""
    return whole(backup, copy) and copy.within_reach


def whole(backup: Backup, copy: Copy) -> bool:
    """Say whether the copy is sound apart from whether it can be read."""
    return (
        backup.conflict is None
        and copy.state in ("present", "behind", "archived")
        and copy.committed
        and not open_failures(copy.proofs)
        and not copy.unread
    )


def proven_copies(
    backup: Backup, *, depth: Depth, max_age: timedelta, now: datetime
) -> tuple[Copy, ...]:
    """Return the proven copies. A backup is proven when there is one."""
    return tuple(
        c for c in backup.copies if is_proven(backup, c, depth=depth, max_age=max_age, now=now)
    )


def counted_copies(backup: Backup, *, now: datetime) -> tuple[Copy, ...]:
    """Return the copies that count for quorum and domains: with a manifest and a full proof of all
    bytes, without an open failure. Age does not matter here."""
    return tuple(
        c
        for c in backup.copies
        if sound(backup, c) and proof_of(c, depth="bytes", now=now) is not None
    )


def enough_copies(backup: Backup, copies: Copies, *, now: datetime) -> bool:
    """Say whether the copies that count reach the quorum, in enough failure domains."""
    counted = counted_copies(backup, now=now)
    return len(counted) >= copies.quorum and len({c.domain for c in counted}) >= copies.domains


def newest_proven(
    backups: Sequence[Backup], *, depth: Depth, max_age: timedelta, now: datetime
) -> Backup | None:
    """Return the newest of which a copy is proven: RPO counts from it."""
    return newest(
        [b for b in backups if proven_copies(b, depth=depth, max_age=max_age, now=now)], now=now
    )


def once_proven(
    backup: Backup, repository: str, proven: Proven, now: datetime, *, readable: bool
) -> bool:
    """Say whether a copy is sound and was proven at the promised depth at any time; also in an
    archive, if it need not be `readable`: what is good and out of reach is kept as before."""
    ever = now - backup.manifest.captured_at + timedelta(days=36500)
    return is_proven(
        backup, backup.copy(repository), depth=proven.depth, max_age=max(ever, timedelta(0)),
        now=now, readable=readable,
    )  # fmt: skip
