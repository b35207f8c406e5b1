"""Findings about one collection, from its standing. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

from qdrant_dr.hints import BY_HAND, DECIDE, command
from qdrant_dr.jobs.run.healing_steps import (
    verify_step,
)
from qdrant_dr.quantities import how_long
from qdrant_dr.report.evidence.collection_status import Standing, standings
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.copies import damaged, per_repository, quorum, unwitnessed
from qdrant_dr.report.findings.drift import drift
from qdrant_dr.report.findings.replicas import replica_problems
from qdrant_dr.report.findings.restores import restore_problems
from qdrant_dr.repository import (
    Backup,
)
from qdrant_dr.text import count


def assess(evidence: Evidence) -> tuple[Standing, ...]:
    """Return every collection with its problems, worst first; excluded ones have no problems."""
    return tuple(
        s if s.exclusion is not None else replace(s, problems=_problems(evidence, s))
        for s in standings(evidence)
    )


def _problems(evidence: Evidence, s: Standing) -> tuple[Problem, ...]:
    found = [
        *_existence(evidence, s),
        *_future(evidence, s),
        *_recency(s),
        *drift(evidence, s),
        *_versions(s),
        *quorum(evidence, s),
        *damaged(evidence, s),
        *unwitnessed(evidence, s),
        *per_repository(evidence, s),
        *_drilling(evidence, s),
        *replica_problems(evidence, s.collection, s.newest.manifest if s.newest else None),
        *restore_problems([r for r in s.restores if r.outcome.started_at >= evidence.since]),
    ]
    return tuple(sorted(found, key=lambda p: p.order))


def _existence(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    promise = evidence.config.objectives.proven
    if s.gone_since is not None:
        held = f"{count(len(s.backups), 'backup')} held, {'one' if s.proven else 'none'} proven"
        expected = s.collection in evidence.config.collections.expect
        yield Problem(
            "critical",
            "collection-missing",
            s.collection,
            "expected, and missing on the cluster" if expected else "vanished from the cluster",
            s.gone_since,
            f"the whole collection; {held}",
            missing_step(s.collection, restorable=bool(s.backups)),
            facts=newest_id(s),
        )
    if s.newest is None:
        if s.gone_since is None:
            where = "any repository" if evidence.complete else "any repository that could be read"
            yield Problem(
                "critical",
                "no-backup",
                s.collection,
                f"no backup in {where}",
                None,
                "the whole collection",
                command("backup", s.collection),
            )
        return
    age = how_long(promise.max_age)
    ice = _frozen(s.newest)
    if s.proven is None:
        yield Problem(
            "critical",
            "none-proven",
            s.collection,
            f"no backup was proven to {promise.depth} within {age}" + f"; {ice}" * bool(ice),
            s.newest.manifest.captured_at,
            f"the whole collection; {count(len(s.backups), 'backup')} without a valid proof",
            _verify(evidence, s, s.newest),
        )
    elif s.newest.key != s.proven.key:
        lost = how_long(s.newest.manifest.captured_at - s.proven.manifest.captured_at)
        yield Problem(
            "warning",
            "newest-unproven",
            s.collection,
            f"the newest backup is not proven, but an older one is ({s.proven.key.backup_id})"
            + f"; {ice}" * bool(ice),
            s.newest.manifest.captured_at,
            f"{lost} of writes",
            _verify(evidence, s, s.newest),
        )


def _frozen(backup: Backup) -> str:
    """Say that no copy of a backup can be read; empty if one can, or if there is no copy."""
    there = [c for c in backup.copies if c.committed]
    if not there or not all(c.archived for c in there):
        return ""
    return f"{backup.key} cannot be read: " + "; ".join(
        f"in {c.repository} {c.archive}" for c in there
    )


def missing_step(collection: str, *, restorable: bool) -> str:
    """Return the next step for a vanished collection: only a person knows if that was intended."""
    known = command("acknowledge", f"collection-missing:{collection}", "--reason", "WHY")
    back = command("restore", f"{collection}@latest-proven", "--to", "TARGET")
    choice = f"restore it with `{back}`" if restorable else "create it again"
    return f"{DECIDE}was that intended? If not, {choice}; if so, acknowledge it with `{known}`."


def _verify(evidence: Evidence, s: Standing, newest: Backup) -> str:
    depth, gone = evidence.config.objectives.proven.depth, s.gone_since is not None
    return verify_step(newest, depth=depth, now=evidence.as_of, proven=s.proven, gone=gone)


def newest_id(s: Standing) -> str:
    """Return the id of the last backup, so that a collection that vanishes a second time is a new
    instance of the finding."""
    return s.newest.key.backup_id if s.newest else "without a backup"


def _future(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    for future in (b for b in (*s.earlier, *s.backups) if b.of_the_future(evidence.as_of)):
        yield Problem(
            "warning",
            "future-dated",
            str(future.key),
            "dated in the future: never counts as the newest",
            future.manifest.captured_at,
            "1 backup, and the clock of the machine that made it",
            f"{BY_HAND}synchronise the clock of the machine that made it (`qdrant-dr check` "
            "compares clocks); this backup is kept, but never counts as the newest.",
        )


def _recency(s: Standing) -> Iterator[Problem]:
    if s.proven is None or s.rpo is None:
        return
    if s.rpo > s.rpo_objective and s.gone_since is None:
        yield Problem(
            "critical",
            "rpo-missed",
            s.collection,
            f"recovery point objective missed: newest proven backup is {how_long(s.rpo)} old, "
            f"promised {how_long(s.rpo_objective)}",
            s.proven.manifest.captured_at + s.rpo_objective,
            f"{how_long(s.rpo)} of writes",
            command("backup", s.collection),
        )
    if s.newest and s.newest.manifest.doubts:
        yield Problem(
            "notice",
            "captured-with-doubts",
            s.collection,
            f"doubts about the capture: {'; '.join(s.newest.manifest.doubts)}",
            s.newest.manifest.captured_at,
            "this backup",
            command("show", str(s.newest.key)),
        )
    if s.newest and s.newest.seal and s.newest.seal.remarks:
        yield Problem(
            "notice",
            "source-index",
            s.collection,
            f"poor search results on the source: {'; '.join(s.newest.seal.remarks)}",
            s.newest.manifest.captured_at,
            "searches on the source and on whatever is restored from this backup; no point is "
            "missing",
            command("show", str(s.newest.key)),
        )


def _versions(s: Standing) -> Iterator[Problem]:
    """Report a backup from nodes of different versions: an older server may not load a newer
    part."""
    versions = sorted({n.version for n in s.newest.manifest.sources}) if s.newest else []
    if s.newest and len(versions) > 1:
        yield Problem(
            "warning",
            "mixed-versions",
            s.collection,
            f"captured from nodes of different versions: {', '.join(versions)}",
            s.newest.manifest.captured_at,
            "restoring it into a server older than the newest of them",
            f"{BY_HAND}run one version on all nodes, then run `{command('backup', s.collection)}`.",
            facts=", ".join(versions),
        )


def _drilling(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    at, every = evidence.as_of, evidence.config.objectives.drill_every
    if (due := s.drill_due(every)) is None:
        return
    # a drill that passed on another copy says nothing about the copy that failed
    known = {r.name for r in evidence.repositories}
    last = {
        where: d
        for d in s.drills
        # a repository that is no longer configured cannot be drilled again
        if d.verdict != "not run" and ((where := d.outcome.repository) is None or where in known)
    }
    for failed in [d for d in last.values() if d.verdict == "failed"][:1]:
        error, there = failed.outcome.error, failed.outcome.repository
        where = f" in {failed.outcome.repository}" if len(last) > 1 else ""
        why = error.code + ": " + error.message if error else "not equal"
        yield Problem(
            "critical",
            "drill-failed",
            s.collection,
            f"the last drill{where} failed: {why}",
            failed.outcome.started_at,
            "restoring this collection",
            # a drill of another copy would say nothing about this one
            command("drill", s.collection, *(["-r", there] if there else [])),
        )
    if at > due:
        passed = s.last_drill
        ago = f"last passed drill {how_long(at - passed)} ago" if passed else "never drilled"
        yield Problem(
            "warning",
            "drill-overdue",
            s.collection,
            f"drill overdue: {ago}, promised every {how_long(every)}",
            due,
            "restoring this collection",
            command("drill", s.collection),
        )
    measured = s.rto.rto if s.rto and s.rto.rto else timedelta(0)
    if s.proven is not None and s.wait and s.wait + measured > s.rto_objective:
        yield Problem(
            "critical",
            "rto-missed",
            s.collection,
            f"recovery time objective missed: every copy of {s.proven.key} that counts is in an "
            f"archive; bringing one back takes {how_long(s.wait)}"
            + (f" and {how_long(measured)} to restore it" if measured else "")
            + f", promised {how_long(s.rto_objective)}",
            s.proven.manifest.captured_at,
            "restoring this collection in time",
            command("show", str(s.proven.key)),
        )
    elif s.rto and measured > s.rto_objective:
        yield Problem(
            "critical",
            "rto-missed",
            s.collection,
            f"recovery time objective missed: {how_long(measured)} measured, "
            f"promised {how_long(s.rto_objective)}",
            s.rto.outcome.started_at,
            "restoring this collection in time",
            f"{DECIDE}use a faster target or another `objectives.rto`? Then measure again with "
            f"`{command('drill', s.collection, '--engine', 'server')}`.",
        )
