"""Acknowledgements of a cluster: kept, read, and which of them count. A record out of one bucket is
no order: where there are two repositories, it counts if both have it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from qdrant_dr import layout
from qdrant_dr.records import Acknowledgement
from qdrant_dr.repository.catalog import CLOCK_TOLERANCE, Backup
from qdrant_dr.repository.record_files import Read
from qdrant_dr.repository.repository import Repository

WITNESSES = 2
"""Repositories that must have an acknowledgement, where there are so many."""


def add_acknowledgement(repository: Repository, record: Acknowledgement) -> None:
    """Keep an acknowledgement, or its release."""
    path = layout.acknowledgement(record.cluster, record.acknowledgement_id)
    repository.create_record(path, record.to_bytes())


def read_acknowledgements(repository: Repository, cluster: str) -> Read[Acknowledgement]:
    """Read every acknowledgement and release of a cluster, oldest first."""
    found, others = repository.sort_out(layout.acknowledgements(cluster))
    read = repository.read_records(Acknowledgement, [s.path for s in found])
    mine = [a for a in read.records if a.cluster == cluster]
    return Read(tuple(sorted(mine, key=_order)), read.unreadable, strangers=others)


def acknowledgements_that_count(
    found: Mapping[str, Iterable[Acknowledgement]], *, repositories: int, now: datetime
) -> tuple[Acknowledgement, ...]:
    """Return the acknowledgements that hold now, oldest first; `found` are the records by
    repository. Pure.

    The very same record must be in two of `repositories`, if there are two. A release needs
    no witness: it makes alarms louder.
    """
    every = [
        a
        for records in found.values()
        for a in {a.sha256: a for a in records}.values()
        if a.made_at <= now + CLOCK_TOLERANCE
    ]
    released = {identifier for a in every for identifier in a.releases}
    seen = Counter(a.sha256 for a in every)
    enough = min(WITNESSES, max(1, repositories))
    return tuple(
        sorted(
            (
                a
                for a in {a.sha256: a for a in every}.values()
                if a.acknowledges
                and a.acknowledgement_id not in released
                and seen[a.sha256] >= enough
                and (a.until is None or a.until > now)
            ),
            key=_order,
        )
    )


def accepts(record: Acknowledgement, backup: Backup) -> bool:
    """Say whether somebody accepted this very backup: its content, not its name."""
    seal, of = backup.seal, record.accepts
    return (
        of is not None
        and seal is not None
        and of.seal_sha256 == seal.sha256
        and (of.collection, of.backup_id) == (backup.key.collection, backup.key.backup_id)
    )


def accepted_since(
    backup_id: str, life: Sequence[Backup], records: Iterable[Acknowledgement]
) -> Acknowledgement | None:
    """Return the last acknowledgement that accepted this backup of a `life`, or a later one, for
    good.

    One that is there with another content than was accepted settles nothing.
    """
    present = {b.key.backup_id: b for b in life}
    lives = {(b.key.collection, b.manifest.incarnation) for b in life}
    return next(
        (
            a
            for a in reversed(tuple(records))
            if (of := a.accepts) is not None
            and a.until is None
            and (of.collection, of.incarnation) in lives
            and of.backup_id >= backup_id
            and ((there := present.get(of.backup_id)) is None or accepts(a, there))
        ),
        None,
    )


def accepting(
    backup: Backup, life: Sequence[Backup], records: Iterable[Acknowledgement]
) -> Acknowledgement | None:
    """Return who settled that this backup is suspect: by accepting it, or by accepting it or a
    later one for good."""
    known = tuple(records)
    itself = next((a for a in reversed(known) if accepts(a, backup)), None)
    return itself or accepted_since(backup.key.backup_id, life, known)


def open_suspects(life: Sequence[Backup], records: Iterable[Acknowledgement]) -> tuple[Backup, ...]:
    """Return the suspect backups of one life that nobody has settled for good, oldest first.

    What was compared with the same backup tells of one and the same drift: only the first of them
    is told of. So older versions sealed every successor of one.
    """
    known = tuple(records)
    found: dict[str, Backup] = {}
    for backup in sorted(life, key=_age):
        if backup.seal is None or not backup.seal.suspect:
            continue
        if accepted_since(backup.key.backup_id, life, known) is None:
            found.setdefault(backup.seal.previous_backup_id or backup.key.backup_id, backup)
    return tuple(found.values())


def kept_for_doubt(
    life: Sequence[Backup], good: Sequence[Backup], records: Iterable[Acknowledgement]
) -> list[tuple[Backup, str]]:
    """Return what is kept while a drift is not accepted: the suspect backup, and the last `good`
    one before it.

    Of many only the first and the last: whatever is rewritten every night, and never acknowledged,
    must not fill the disk.
    """
    doubted = open_suspects(life, records)
    ends = {b.key: b for b in (*doubted[:1], *doubted[-1:])}
    kept = []
    for suspect in ends.values():
        before = [b for b in good if b.manifest.captured_at < suspect.manifest.captured_at]
        name = suspect.key.backup_id
        kept.append((suspect, "suspect, and nobody has accepted it"))
        why = f"the last before {name}, which is suspect"
        kept += [(b, why) for b in _calmest(before, doubted)]
    return kept


DRIFTED = "drifted"
"""The finding that a collection changed little by little since what was last accepted."""


def kept_for_drift(
    life: Sequence[Backup],
    good: Sequence[Backup],
    records: Iterable[Acknowledgement],
    limit: float,
) -> list[tuple[Backup, str]]:
    """Return what is kept while a slow change beyond the limit is not acknowledged: the newest
    `good` backup that is still within it.

    What is measured is carried from seal to seal, so that it outlives the backup that it began
    with. Somebody has looked who acknowledged the finding, or accepted a later backup for good."""
    sealed = [(b, b.seal.baseline) for b in sorted(life, key=_age) if b.seal is not None]
    if not sealed or (base := sealed[-1][1]) is None or base.changed_ppm <= limit * 1e6:
        return []
    known = tuple(records)
    collection = sealed[-1][0].key.collection
    looked = any((a.code, a.scope, a.facts) == (DRIFTED, collection, base.backup_id) for a in known)
    later = [a for a in known if a.accepts is not None and a.accepts.backup_id > base.backup_id]
    if looked or accepted_since(base.backup_id, life, later) is not None:
        return []
    within = {
        b.key
        for b, since in sealed
        if b.key.backup_id == base.backup_id
        or (
            since is not None
            and since.backup_id == base.backup_id
            and since.changed_ppm <= limit * 1e6
        )
    }
    kept = [b for b in good if b.key in within]
    share = f"{base.changed_ppm / 1e6:.0%}"
    why = (
        f"about {share} of the points of {base.backup_id} have gone or changed since, and nobody "
        f"has acknowledged {DRIFTED}:{collection}"
    )
    return [(max(kept, key=_age), why)] if kept else []


def _age(backup: Backup) -> tuple[datetime, str]:
    return backup.manifest.captured_at, backup.manifest.backup_id


def _calmest(before: Sequence[Backup], doubted: Sequence[Backup]) -> list[Backup]:
    """The newest that is no suspect itself, else the newest."""
    doubtful = {b.key for b in doubted}
    calm = [b for b in before if b.key not in doubtful] or list(before)
    return [max(calm, key=lambda b: b.manifest.captured_at)] if calm else []


def _order(record: Acknowledgement) -> tuple[datetime, str]:
    return record.made_at, record.acknowledgement_id
