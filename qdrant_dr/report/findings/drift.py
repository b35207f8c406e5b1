"""Findings about changes between backups, sudden or slow. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from qdrant_dr.hints import DECIDE, command
from qdrant_dr.report.evidence.collection_status import Standing
from qdrant_dr.report.evidence.evidence import Evidence
from qdrant_dr.report.finding import Problem
from qdrant_dr.report.findings.acknowledged import by
from qdrant_dr.repository import accepted_since, accepting, open_suspects
from qdrant_dr.repository.acknowledgement import DRIFTED


def drift(evidence: Evidence, s: Standing) -> Iterator[Problem]:
    """Report sudden changes and losses that nobody has accepted: once, at the backup where they
    happened, however many backups follow. Also report slow change since the last accepted backup.
    """
    known, life = evidence.acknowledgements, s.backups
    opened = open_suspects(life, known)
    for backup in (b for b in life if b.seal is not None and b.seal.suspect):
        settled = accepting(backup, life, known)
        recent = backup.manifest.captured_at >= evidence.since
        if backup not in opened and (settled is None or not recent):
            continue  # reported with the backup before it, or settled long ago
        assert backup.seal is not None
        problem = Problem(
            "warning",
            "suspect",
            str(backup.key),
            f"suspect: {'; '.join(backup.seal.suspect)}",
            backup.manifest.captured_at,
            "what this backup and later ones would restore",
            f"{DECIDE}was that intended? If so, accept it with "
            f"`{command('acknowledge', str(backup.key), '--reason', 'WHY')}`; if not, restore the "
            f"backup before it, which `{command('show', str(backup.key), '--proofs')}` names.",
            facts=backup.seal.sha256,
        )
        yield problem if settled is None else by(problem, settled)
    yield from slow_drift(evidence, s)


def slow_drift(evidence: Evidence, s: Standing) -> Iterator[Problem]:
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
        DRIFTED,
        s.collection,
        f"about {newest.changed_ppm / 1e6:.0%} of the points of {newest.backup_id} have gone or "
        "changed since, little by little",
        min(beyond),
        "every backup since, unless that is normal for this collection",
        f"{DECIDE}is that normal for this collection? If so, acknowledge it with "
        f"`{command('acknowledge', f'{DRIFTED}:{s.collection}', '--reason', 'WHY')}`; if not, "
        f"restore {newest.backup_id} beside it and compare.",
        facts=newest.backup_id,
    )
    every = evidence.acknowledgements
    later = [a for a in every if a.accepts is not None and a.accepts.backup_id > newest.backup_id]
    settled = accepted_since(newest.backup_id, s.backups, later)
    yield problem if settled is None else by(problem, settled)
