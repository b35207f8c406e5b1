"""What is wrong about one collection: pure, from where it stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from qdrant_dr.errors import BackupLost
from qdrant_dr.hints import BY_HAND, DECIDE, command, filled
from qdrant_dr.jobs.run.healing import (
    DAMAGED,
    damage,
    damage_scope,
    doubt_step,
    heal_step,
    quorum_step,
    sources,
    thaw_step,
    verify_step,
)
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.evidence.standing import Standing, standings
from qdrant_dr.report.finding import Problem, span
from qdrant_dr.report.findings.acknowledged import by
from qdrant_dr.report.findings.replicas import replica_problems
from qdrant_dr.report.findings.restores import restore_problems
from qdrant_dr.repository import (
    UNWITNESSED,
    Backup,
    Copy,
    accepted_since,
    accepting,
    is_proven,
    open_failures,
    open_suspects,
)
from qdrant_dr.text import count, digest
from qdrant_dr.units import format_size


def assess(evidence: Evidence) -> tuple[Standing, ...]:
    """Every collection with what is wrong about it, worst first; what is excluded has no wrongs."""
    return tuple(
        s if s.exclusion is not None else replace(s, problems=_problems(evidence, s))
        for s in standings(evidence)
    )


def _problems(evidence: Evidence, s: Standing) -> tuple[Problem, ...]:
    found = [
        *_existence(evidence, s),
        *_future(evidence, s),
        *_recency(s),
        *_drift(evidence, s),
        *_versions(s),
        *_quorum(evidence, s),
        *_damage(evidence, s),
        *_witnesses(evidence, s),
        *_per_repository(evidence, s),
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
    age = span(promise.max_age)
    ice = _frozen(s.newest)
    if s.proven is None:
        yield Problem(
            "critical",
            "none-proven",
            s.collection,
            f"no backup is proven to {promise.depth} within {age}" + f"; {ice}" * bool(ice),
            s.newest.manifest.captured_at,
            f"the whole collection; {count(len(s.backups), 'backup')} of unknown worth",
            _verify(evidence, s, s.newest),
        )
    elif s.newest.key != s.proven.key:
        lost = span(s.newest.manifest.captured_at - s.proven.manifest.captured_at)
        yield Problem(
            "warning",
            "newest-unproven",
            s.collection,
            f"the newest backup is not proven; an older one is ({s.proven.key.backup_id})"
            + f"; {ice}" * bool(ice),
            s.newest.manifest.captured_at,
            f"{lost} of writes",
            _verify(evidence, s, s.newest),
        )


def _frozen(backup: Backup) -> str:
    """That no copy of it can be read, in words; empty if one can, or if there is none."""
    there = [c for c in backup.copies if c.committed]
    if not there or not all(c.archived for c in there):
        return ""
    return f"{backup.key} cannot be read: " + "; ".join(
        f"in {c.repository} {c.archive}" for c in there
    )


def missing_step(collection: str, *, restorable: bool) -> str:
    """A collection that the cluster has no more: whether that was meant is known to a person."""
    known = command("acknowledge", f"collection-missing:{collection}", "--reason", "WHY")
    back = command("restore", f"{collection}@latest-proven", "--to", "TARGET")
    choice = f"restore it with `{back}`" if restorable else "make it again"
    return f"{DECIDE}was that meant? if not, {choice}; if it was, say so with `{known}`."


def _verify(evidence: Evidence, s: Standing, newest: Backup) -> str:
    depth, gone = evidence.config.objectives.proven.depth, s.gone_since is not None
    return verify_step(newest, depth=depth, now=evidence.as_of, proven=s.proven, gone=gone)


def newest_id(s: Standing) -> str:
    """The last backup of a collection: when it is gone again, there was another one meanwhile."""
    return s.newest.key.backup_id if s.newest else "without a backup"


def _future(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    for future in (b for b in (*s.earlier, *s.backups) if b.of_the_future(evidence.as_of)):
        yield Problem(
            "warning",
            "future-dated",
            str(future.key),
            "dated in the future: never counted as newest",
            future.manifest.captured_at,
            "1 backup, and the clock that made it",
            f"{BY_HAND}synchronise the clock of the machine that made it (`qdrant-dr check` "
            "compares them); then let this one go with "
            f"`{command('expire', str(future.key), '--execute')}`.",
        )


def _recency(s: Standing) -> Iterator[Problem]:
    if s.proven is None or s.rpo is None:
        return
    if s.rpo > s.rpo_objective and s.gone_since is None:
        yield Problem(
            "critical",
            "rpo-missed",
            s.collection,
            f"recovery point objective missed: newest proven backup is {span(s.rpo)} old, "
            f"promised {span(s.rpo_objective)}",
            s.proven.manifest.captured_at + s.rpo_objective,
            f"{span(s.rpo)} of writes",
            command("backup", s.collection),
        )
    if s.newest and s.newest.manifest.doubts:
        yield Problem(
            "notice",
            "captured-with-doubts",
            s.collection,
            f"captured with doubts: {'; '.join(s.newest.manifest.doubts)}",
            s.newest.manifest.captured_at,
            "this backup",
            command("show", str(s.newest.key)),
        )
    if s.newest and s.newest.seal and s.newest.seal.remarks:
        yield Problem(
            "notice",
            "source-index",
            s.collection,
            f"searched badly on the source: {'; '.join(s.newest.seal.remarks)}",
            s.newest.manifest.captured_at,
            "searches there, and on what is restored from this backup; no point is missing",
            command("show", str(s.newest.key)),
        )


def _drift(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    """What changed at once, or was lost, and that nobody has accepted: once, where it happened,
    however many backups follow. And what has changed bit by bit since the last that was accepted.
    """
    known, life = evidence.acknowledgements, s.backups
    opened = open_suspects(life, known)
    for backup in (b for b in life if b.seal is not None and b.seal.suspect):
        settled = accepting(backup, life, known)
        recent = backup.manifest.captured_at >= evidence.since
        if backup not in opened and (settled is None or not recent):
            continue  # told of with the one before it, or settled long ago
        assert backup.seal is not None
        problem = Problem(
            "warning",
            "suspect",
            str(backup.key),
            f"suspect: {'; '.join(backup.seal.suspect)}",
            backup.manifest.captured_at,
            "what this backup, and those after it, would bring back",
            f"{DECIDE}was that meant? if it was, accept it with "
            f"`{command('acknowledge', str(backup.key), '--reason', 'WHY')}`; if not, restore the "
            f"one before: `{command('show', str(backup.key), '--proofs')}` names it.",
            facts=backup.seal.sha256,
        )
        yield problem if settled is None else by(problem, settled)
    yield from _slow_drift(evidence, s)


def _slow_drift(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    limit = evidence.config.drift_limit_of(s.collection)
    sealed = [(b, b.seal.baseline) for b in s.backups if b.seal is not None]
    if not sealed or (newest := sealed[-1][1]) is None or newest.changed_ppm <= limit * 1e6:
        return
    beyond = [
        b.manifest.captured_at
        for b, base in sealed
        if base is not None
        and base.backup_id == newest.backup_id
        and base.changed_ppm > limit * 1e6
    ]
    problem = Problem(
        "warning",
        "drifted",
        s.collection,
        f"about {newest.changed_ppm / 1e6:.0%} of the points of {newest.backup_id} have gone or "
        "changed since, bit by bit",
        min(beyond),
        "if that is no life of this collection: every backup since",
        f"{DECIDE}is that its life? if so, say it with "
        f"`{command('acknowledge', f'drifted:{s.collection}', '--reason', 'WHY')}`; if not, "
        f"restore {newest.backup_id} beside it and compare.",
        facts=newest.backup_id,
    )
    every = evidence.acknowledgements
    later = [a for a in every if a.accepts is not None and a.accepts.backup_id > newest.backup_id]
    settled = accepted_since(newest.backup_id, s.backups, later)
    yield problem if settled is None else by(problem, settled)


def _versions(s: Standing) -> Iterator[Problem]:
    """A part of a newer server may not load where the older ones do."""
    versions = sorted({n.version for n in s.newest.manifest.sources}) if s.newest else []
    if s.newest and len(versions) > 1:
        yield Problem(
            "warning",
            "mixed-versions",
            s.collection,
            f"captured from nodes of different versions: {', '.join(versions)}",
            s.newest.manifest.captured_at,
            "restoring it into a server older than the newest of them",
            f"{BY_HAND}give all nodes one version, then run `{command('backup', s.collection)}`.",
            facts=", ".join(versions),
        )


def _quorum(evidence: Evidence, s: Standing) -> Iterator[Problem]:
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


def _damage(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    """Of every backup that is kept, past lives too: no damage is too old to be told."""
    for backup in (*s.earlier, *s.backups):
        if backup.conflict:
            yield Problem(
                "critical",
                "copies-conflict",
                str(backup.key),
                f"{backup.conflict.code}: {backup.conflict.message}",
                backup.manifest.captured_at,
                f"all {count(len(backup.copies), 'copy')}: it is not known which is true",
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
                    _heal(evidence, s, backup, copy),
                    facts=damage(copy),
                )


def _heal(evidence: Evidence, s: Standing, backup: Backup, copy: Copy) -> str:
    gone = s.gone_since is not None
    return heal_step(backup, copy, now=evidence.as_of, proven=s.proven, gone=gone)


def _witnesses(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    """What records name and nobody has, and what somebody has and no other record names."""
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
    strange = {b.key for b in evidence.catalog.unwitnessed(evidence.as_of)}
    for backup in (b for b in (*s.earlier, *s.backups) if b.key in strange):
        where = ", ".join(c.repository for c in backup.copies if c.committed)
        yield Problem(
            "warning",
            "unwitnessed",
            str(backup.key),
            f"only {where} tells of it: {UNWITNESSED}",
            backup.manifest.captured_at,
            "1 backup, and whoever can write there",
            doubt_step(backup) or command("backup", s.collection),
        )


def _wrong_with(copy: Copy) -> tuple[datetime | None, str]:
    failures = open_failures(copy.proofs)
    if not failures:
        lost = ", ".join(copy.lacks) or "a record"
        return None, f"damaged: {lost} is lost, cut or unreadable"
    newest = max(failures, key=lambda f: (f.ended_at, f.proof_id))
    found = newest.findings[0] if newest.findings else None
    why = f"{found.code}: {found.message}" if found else f"reached {newest.reached or 'nothing'}"
    return min(f.ended_at for f in failures), f"failed its {newest.depth} proof: {why}"


def _per_repository(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    promise, at = evidence.config.objectives.proven, evidence.as_of
    if not s.backups:
        return
    first = s.backups[0].manifest.captured_at
    for repository in (r for r in evidence.repositories if r.error is None):
        here = [(b, b.copy(repository.name)) for b in s.backups]
        scope = f"{s.collection} in {repository.name}"
        # of past lives what was there and is gone: what was never copied need not be any more
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
                f"no copy proven to {promise.depth} within {span(promise.max_age)}",
                max(
                    (p.ended_at for _, c in here for p in c.proofs if p.passed and p.full),
                    default=first,
                ),
                count(len(here), "copy"),
                _prove_there(evidence, s, repository.name),
            )


def _archived(scope: str, copies: Sequence[tuple[Backup, Copy]]) -> Iterator[Problem]:
    """What must be brought back before it can be read: as configured, or by a rule of a bucket."""
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
            "not readable before the provider brings them back, so they count for nothing"
            if agreed is None
            else f"readable {span(agreed)} after the provider is asked to bring them back"
        ),
        min(b.manifest.captured_at for b, _ in frozen),
        f"{len(frozen)} of {count(len(copies), 'copy')}",
        thaw_step(newest, copy),
        facts=digest(b.key.backup_id for b, _ in frozen),
    )


def _prove_there(evidence: Evidence, s: Standing, repository: str) -> str:
    """Of the newest backup, if its copy there may be good."""
    newest = s.newest or s.backups[-1]
    if repository in sources(newest, evidence.as_of):
        return command("verify", str(newest.key), "-r", repository)
    return _heal(evidence, s, newest, newest.copy(repository))


def _bring(evidence: Evidence, s: Standing, absent: Sequence[tuple[Backup, Copy]]) -> str:
    """Those that can be brought are brought at once; for the rest see the first of them."""
    at = evidence.as_of
    if any(set(sources(b, at)) - {c.repository} for b, c in absent):
        return command("replicate", "-r", absent[0][1].repository)
    return _heal(evidence, s, *absent[-1])


def _absent(copies: list[Copy]) -> str:
    missing = sum(c.state == "missing" for c in copies)
    behind = len(copies) - missing
    words = [count(missing, "copy") + " missing"] * bool(missing)
    words += [count(behind, "copy") + " incomplete"] * bool(behind)
    return ", ".join(words)


def _drilling(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    if s.newest is None or s.gone_since is not None:
        return
    at, every = evidence.as_of, evidence.config.objectives.drill_every
    # one that passed elsewhere says nothing about the copy that failed
    known = {r.name for r in evidence.repositories}
    last = {
        where: d
        for d in s.drills
        # of a repository that is configured no more nothing can be drilled again
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
            # one that passes elsewhere would say nothing about this copy
            command("drill", s.collection, *(["-r", there] if there else [])),
        )
    passed = [d.outcome.started_at for d in s.drills if d.verdict == "passed"]
    since = max(passed, default=s.backups[0].manifest.captured_at)
    if at - since > every:
        ago = f"last passed drill {span(at - since)} ago" if passed else "never drilled"
        yield Problem(
            "warning",
            "drill-overdue",
            s.collection,
            f"drill overdue: {ago}, promised every {span(every)}",
            since + every,
            "restoring this collection",
            command("drill", s.collection),
        )
    measured = s.rto.rto if s.rto and s.rto.rto else timedelta(0)
    if s.proven is not None and s.wait and s.wait + measured > s.rto_objective:
        yield Problem(
            "critical",
            "rto-missed",
            s.collection,
            f"recovery time objective missed: every copy of {s.proven.key} that counts lies in an "
            f"archive, {span(s.wait)} to bring one back"
            + (f" and {span(measured)} to restore it" if measured else "")
            + f", promised {span(s.rto_objective)}",
            s.proven.manifest.captured_at,
            "restoring this collection in time",
            command("show", str(s.proven.key)),
        )
    elif s.rto and measured > s.rto_objective:
        yield Problem(
            "critical",
            "rto-missed",
            s.collection,
            f"recovery time objective missed: {span(measured)} measured, "
            f"promised {span(s.rto_objective)}",
            s.rto.outcome.started_at,
            "restoring this collection in time",
            f"{DECIDE}a faster target, or another `objectives.rto`; then measure it again with "
            f"`{command('drill', s.collection, '--engine', 'server')}`.",
        )
