"""Findings about the copies of a collection: too few, damaged, behind, gone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime

from qdrant_dr.errors import BackupLost
from qdrant_dr.hints import command, filled
from qdrant_dr.jobs.run.healing_steps import (
    DAMAGED,
    damage,
    damage_scope,
    doubt_step,
    heal_step,
    quorum_step,
    thaw_step,
)
from qdrant_dr.quantities import format_size, how_long
from qdrant_dr.report.evidence.collection_status import Standing
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import Problem
from qdrant_dr.repository import (
    UNWITNESSED,
    Backup,
    Copy,
    healing_sources,
    is_proven,
    open_failures,
)
from qdrant_dr.text import count, digest


def quorum(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    if s.proven is None or not (short := s.short_of(evidence.config.copies)):
        return
    ice = [c for c in s.proven.copies if not c.within_reach]
    yield Problem(
        "critical",
        "below-quorum",
        s.collection,
        f"below quorum: {' and '.join(short)}" + (f"; {len(ice)} archived" if ice else ""),
        s.proven.manifest.captured_at,
        "the newest proven backup",
        quorum_step(s.proven, now=evidence.as_of),
    )


def damaged(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    """Report damaged copies of every kept backup, including those of former incarnations."""
    for backup in (*s.earlier, *s.backups):
        if backup.conflict:
            yield Problem(
                "critical",
                "copies-conflict",
                str(backup.key),
                f"{backup.conflict.code}: {backup.conflict.message}",
                backup.manifest.captured_at,
                f"all {count(len(backup.copies), 'copy')}: it is not known which is right",
                filled(backup.conflict.hint, backup=str(backup.key), collection=s.collection),
            )
        for copy in backup.copies:
            if copy.state == "damaged":
                since, what = _wrong_with(copy)
                yield Problem(
                    "critical",
                    DAMAGED,
                    damage_scope(backup, copy),
                    what,
                    since,
                    f"1 copy of {len(backup.copies)}",
                    heal(evidence, s, backup, copy),
                    facts=damage(copy),
                )


def heal(evidence: Evidence, s: Standing, backup: Backup, copy: Copy) -> str:
    gone = s.gone_since is not None
    return heal_step(backup, copy, now=evidence.as_of, proven=s.proven, gone=gone)


def unwitnessed(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    """Report backups that records name but no repository has, and backups that one repository has
    but no other record names."""
    for lost in s.lost:
        yield Problem(
            "warning" if lost.kept_less else "critical",
            "backup-lost",
            str(lost.key),
            lost.what,
            None,
            f"1 backup; {format_size(lost.size_bytes)} of its data are left",
            filled(BackupLost.default_hint, backup=str(lost.key)),
        )
    strange = {b.key for b in evidence.catalog.unwitnessed(evidence.as_of, s.collection)}
    for backup in (b for b in (*s.earlier, *s.backups) if b.key in strange):
        where = ", ".join(c.repository for c in backup.copies if c.committed)
        yield Problem(
            "warning",
            "unwitnessed",
            str(backup.key),
            f"only {where} knows of it: {UNWITNESSED}",
            backup.manifest.captured_at,
            "1 backup; somebody who can write there may have forged it",
            doubt_step(backup) or command("backup", s.collection),
        )


def _wrong_with(copy: Copy) -> tuple[datetime | None, str]:
    failures = open_failures(copy.proofs)
    if not failures:
        lost = ", ".join(copy.lacks) or "a record"
        return None, f"damaged: {lost} is lost, truncated or unreadable"
    newest = max(failures, key=lambda f: (f.ended_at, f.proof_id))
    found = newest.findings[0] if newest.findings else None
    why = f"{found.code}: {found.message}" if found else f"reached {newest.reached or 'nothing'}"
    return min(f.ended_at for f in failures), f"failed its {newest.depth} proof: {why}"


def per_repository(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    promise, at = evidence.config.objectives.proven, evidence.as_of
    if not s.backups:
        return
    first = s.backups[0].manifest.captured_at
    for repository in (r for r in evidence.repositories if r.error is None):
        here = [(b, b.copy(repository.name)) for b in s.backups]
        scope = f"{s.collection} in {repository.name}"
        # for former incarnations only what was there and is gone counts as missing
        past = [(b, c) for b in s.earlier if (c := b.copy(repository.name)).held]
        absent = [(b, c) for b, c in (*past, *here) if c.state in ("behind", "missing")]
        if absent:
            yield Problem(
                "warning",
                "copies-absent",
                scope,
                _absent([c for _, c in absent]),
                min(b.manifest.captured_at for b, _ in absent),
                f"{len(absent)} of {count(len(here) + len(past), 'copy')}",
                _bring(evidence, s, absent),
                facts=digest(b.key.backup_id for b, _ in absent),
            )
        yield from _archived(scope, (*past, *here))
        proven = any(
            is_proven(b, c, depth=promise.depth, max_age=promise.max_age, now=at) for b, c in here
        )
        if at - first > promise.max_age and not proven:
            yield Problem(
                "warning",
                "proof-too-old",
                scope,
                f"no copy was proven to {promise.depth} within {how_long(promise.max_age)}",
                max(
                    (p.ended_at for _, c in here for p in c.proofs if p.passed and p.full),
                    default=first,
                ),
                count(len(here), "copy"),
                _prove_there(evidence, s, repository.name),
            )


def _archived(scope: str, copies: Sequence[tuple[Backup, Copy]]) -> Iterator[Problem]:
    """Report copies that must be brought back from an archive: as configured, or by a bucket
    rule."""
    frozen = [(b, c) for b, c in copies if c.archived]
    if not frozen:
        return
    newest, copy = frozen[-1]
    classes = " and ".join(sorted({str(a.storage) for _, c in frozen for a in c.archived} - {""}))
    agreed = copy.restore_time
    yield Problem(
        "warning" if agreed is None else "notice",
        "copies-archived",
        scope,
        f"{count(len(frozen), 'copy')} archived{f' ({classes})' if classes else ''}: "
        + (
            "not readable until the provider brings them back, so they do not count"
            if agreed is None
            else f"readable {how_long(agreed)} after the provider is asked to bring them back"
        ),
        min(b.manifest.captured_at for b, _ in frozen),
        f"{len(frozen)} of {count(len(copies), 'copy')}",
        thaw_step(newest, copy),
        facts=digest(b.key.backup_id for b, _ in frozen),
    )


def _prove_there(evidence: Evidence, s: Standing, repository: str) -> str:
    """Return the command that proves the newest backup there, if its copy may be good."""
    newest = s.newest or s.backups[-1]
    if repository in healing_sources(newest, evidence.as_of):
        return command("verify", str(newest.key), "-r", repository)
    return heal(evidence, s, newest, newest.copy(repository))


def _bring(evidence: Evidence, s: Standing, absent: Sequence[tuple[Backup, Copy]]) -> str:
    """Return the command that copies all that can be copied; for the others, look at the first."""
    at = evidence.as_of
    if any(set(healing_sources(b, at)) - {c.repository} for b, c in absent):
        return command("replicate", "-r", absent[0][1].repository)
    return heal(evidence, s, *absent[-1])


def _absent(copies: list[Copy]) -> str:
    missing = sum(c.state == "missing" for c in copies)
    behind = len(copies) - missing
    words = [count(missing, "copy") + " missing"] * bool(missing)
    words += [count(behind, "copy") + " incomplete"] * bool(behind)
    return ", ".join(words)
