"""The standing of each collection: which backups exist, which are proven, what is promised."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from qdrant_dr.config import Copies, Override
from qdrant_dr.records import Proof
from qdrant_dr.records.manifest import SourceKind
from qdrant_dr.records.proof import depth_rank
from qdrant_dr.report.evidence.drills import Drill, drills_of
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.restores import Restore, restores_of
from qdrant_dr.report.finding import Problem
from qdrant_dr.repository import (
    Backup,
    Copy,
    LostBackup,
    counted_copies,
    newest,
    newest_proven,
    proof_of,
    proven_copies,
    time_to_reach,
)

Status = Literal["protected", "degraded", "unproven", "unprotected", "excluded", "gone"]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """The standing of one collection at `as_of`.

    `backups` are of its present incarnation, oldest first: a collection that was deleted and made
    again under the same name is another one, and its backups prove nothing about this one.
    `earlier` are backups of former incarnations, `lost` those without a manifest that other records
    mention.
    `proof` is the newest proof of its newest proven backup, `deepest` the deepest one.
    """

    collection: str
    rules: Override
    rpo_objective: timedelta
    rto_objective: timedelta
    source_kind: SourceKind | None
    exclusion: str | None
    gone_since: datetime | None
    backups: tuple[Backup, ...]
    earlier: tuple[Backup, ...]
    newest: Backup | None
    proven: Backup | None
    proof: Proof | None
    deepest: Proof | None
    safe_copies: tuple[Copy, ...]
    rpo: timedelta | None
    drills: tuple[Drill, ...]
    restores: tuple[Restore, ...]
    lost: tuple[LostBackup, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def domains(self) -> tuple[str, ...]:
        """Return the failure domains with safe copies of the newest proven backup."""
        return tuple(sorted({c.domain for c in self.safe_copies}))

    def short_of(self, wanted: Copies) -> tuple[str, ...]:
        """Say how many copies and failure domains the newest proven backup lacks."""
        short = []
        if len(self.safe_copies) < wanted.quorum:
            short.append(f"{len(self.safe_copies)} of {wanted.quorum} copies")
        if len(self.domains) < wanted.domains:
            short.append(f"{len(self.domains)} of {wanted.domains} failure domains")
        return tuple(short)

    @property
    def rto(self) -> Drill | Restore | None:
        """Return the newest drill or real restore that measured a recovery time."""
        every: list[Drill | Restore] = [*self.drills, *self.restores]
        measured = [m for m in every if m.rto is not None]
        return max(measured, key=lambda m: m.outcome.started_at, default=None)

    @property
    def last_drill(self) -> datetime | None:
        """Return when the newest drill that passed began."""
        passed = (d.outcome.started_at for d in self.drills if d.verdict == "passed")
        return max(passed, default=None)

    def drill_due(self, every: timedelta) -> datetime | None:
        """Return when the next drill is due: the first one counts from the first backup."""
        if self.newest is None or self.gone_since is not None:
            return None
        return (self.last_drill or self.backups[0].manifest.captured_at) + every

    @property
    def wait(self) -> timedelta:
        """Return how long until a copy of the newest proven backup can be read, if all of them are
        in an archive."""
        return time_to_reach(self.safe_copies)

    @property
    def status(self) -> Status:
        if self.exclusion is not None:
            return "excluded"
        if self.gone_since is not None:
            return "gone"
        if self.newest is None:
            return "unprotected"
        if self.proven is None:
            return "unproven"
        # an acknowledged critical finding raises no alarm, but the objective is still missed
        wanting = any(p.severity != "notice" or p.worth == "critical" for p in self.problems)
        return "degraded" if wanting else "protected"

    @property
    def restorable(self) -> bool:
        return self.exclusion is None and self.proven is not None

    @property
    def next_command(self) -> str | None:
        """Return the next command of the worst problem that is not acknowledged."""
        wrong = (p for p in self.problems if p.acknowledged is None)
        worst = min(wrong, key=lambda p: p.order, default=None)
        return worst.next_command if worst else None


def best_proof(copy: Copy) -> Proof | None:
    """Return the passed proof that says most: full before sample, then depth, then time."""
    return max(
        (p for p in copy.proofs if p.passed),
        key=lambda p: (p.full, depth_rank(p.depth), p.bytes_checked, p.ended_at, p.proof_id),
        default=None,
    )


def last_search(copy: Copy) -> Proof | None:
    """Return the newest proof at this location that tried searches, passed or not."""
    tried = (p for p in copy.proofs if p.searched and (p.searched.queries or p.searched.filters))
    return max(tried, key=lambda p: (p.ended_at, p.proof_id), default=None)


def standings(evidence: Evidence) -> tuple[Standing, ...]:
    """List each collection that was seen, expected, excluded or backed up, by name; no problems
    yet."""
    drills: dict[str, list[Drill]] = defaultdict(list)
    for drill in drills_of(evidence):
        drills[drill.outcome.collection].append(drill)
    restores: dict[str, list[Restore]] = defaultdict(list)
    for restore in restores_of(evidence):
        restores[restore.outcome.collection].append(restore)
    # a name that was once expected, never existed, and is no longer expected was a typing error
    seen = {s.collection for e in evidence.run_ends for s in e.seen if s.status != "missing"}
    expected = evidence.config.collections.expect
    lost: dict[str, list[LostBackup]] = defaultdict(list)
    for gone in evidence.catalog.lost:
        lost[gone.key.collection].append(gone)
    names = sorted({*evidence.catalog.collections, *seen, *expected, *lost})
    backups: dict[str, list[Backup]] = defaultdict(list)
    for backup in evidence.catalog.backups:
        backups[backup.key.collection].append(backup)
    return tuple(
        replace(
            _standing(evidence, name, backups[name], drills[name], restores[name]),
            lost=tuple(lost[name]),
        )
        for name in names
    )


def exclusion_of(evidence: Evidence, collection: str) -> str | None:
    """Say why the configuration excludes it, or return None."""
    decided = evidence.config.collections.decide(collection)
    return f"{decided.reason} (rule {decided.rule})" if decided.status == "excluded" else None


def _standing(
    evidence: Evidence,
    name: str,
    every: Sequence[Backup],
    drills: Sequence[Drill],
    restores: Sequence[Restore],
) -> Standing:
    config, at = evidence.config, evidence.as_of
    promise = config.objectives.proven
    rules = config.collections.override(name)
    last = newest(every, now=at)
    life = last.manifest.incarnation if last else None
    backups = tuple(b for b in every if b.manifest.incarnation == life)
    proven = newest_proven(backups, depth=promise.depth, max_age=promise.max_age, now=at)
    return Standing(
        collection=name,
        rules=rules,
        rpo_objective=rules.objectives.rpo or config.objectives.rpo,
        rto_objective=rules.objectives.rto or config.objectives.rto,
        source_kind=last.manifest.source_kind if last else _seen_kind(evidence),
        exclusion=exclusion_of(evidence, name),
        gone_since=_gone_since(evidence, name),
        backups=backups,
        earlier=tuple(b for b in every if b.manifest.incarnation != life),
        newest=last,
        proven=proven,
        proof=_newest_proof(evidence, proven) if proven else None,
        deepest=_deepest_proof(evidence, proven) if proven else None,
        safe_copies=counted_copies(proven, now=at) if proven else (),
        rpo=at - proven.manifest.captured_at if proven else None,
        drills=tuple(drills),
        restores=tuple(restores),
    )


def _newest_proof(evidence: Evidence, backup: Backup) -> Proof | None:
    promise, at = evidence.config.objectives.proven, evidence.as_of
    copies = proven_copies(backup, depth=promise.depth, max_age=promise.max_age, now=at)
    proofs = [proof_of(c, depth=promise.depth, now=at) for c in copies]
    return max((p for p in proofs if p), key=lambda p: (p.ended_at, p.proof_id), default=None)


def _deepest_proof(evidence: Evidence, backup: Backup) -> Proof | None:
    """Return the deepest full proof that is young enough and compared with this backup's seal."""
    promise, at = evidence.config.objectives.proven, evidence.as_of
    copies = proven_copies(backup, depth=promise.depth, max_age=promise.max_age, now=at)
    sealed = backup.seal.sha256 if backup.seal else None
    good = [
        p
        for c in copies
        for p in c.proofs
        if p.passed
        and p.full
        and p.seal_sha256 in (None, sealed)
        and at - p.ended_at <= promise.max_age
    ]
    return max(good, key=lambda p: (depth_rank(p.depth), p.ended_at, p.proof_id), default=None)


def _seen_kind(evidence: Evidence) -> SourceKind | None:
    return evidence.inventory.source_kind if evidence.inventory else None


def _gone_since(evidence: Evidence, name: str) -> datetime | None:
    """Return when it was first absent from an inventory, if it is absent from the newest one."""
    since = None
    for end in sorted((e for e in evidence.run_ends if e.seen), key=lambda e: e.ended_at)[::-1]:
        if any(s.collection == name and s.status != "missing" for s in end.seen):
            break
        since = end.ended_at
    return since
