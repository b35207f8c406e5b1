"""What keeps a backup in every repository, whatever the policy of one says. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import datetime

from qdrant_dr.config import Proven
from qdrant_dr.records import Acknowledgement, BackupKey
from qdrant_dr.repository.acknowledgement import kept_for_doubt, kept_for_drift
from qdrant_dr.repository.catalog import Backup
from qdrant_dr.repository.proven import once_proven


def order_of(backup: Backup) -> tuple[datetime, str]:
    """Return what backups are sorted by."""
    return backup.manifest.captured_at, backup.manifest.backup_id


def kept_everywhere(
    backups: Sequence[Backup],
    proven: Proven,
    current: str,
    *,
    now: datetime,
    named: Collection[str],
    acknowledged: Sequence[Acknowledgement],
    drift_limit: float,
) -> dict[BackupKey, list[str]]:
    """Return what keeps all copies of a backup, wherever they are."""
    why: dict[BackupKey, list[str]] = {b.key: [] for b in backups}
    lives: defaultdict[str, list[Backup]] = defaultdict(list)
    for backup in sorted(backups, key=order_of, reverse=True):
        lives[backup.manifest.incarnation].append(backup)
        if backup.conflict is not None:
            why[backup.key].append(f"repositories disagree about it: {backup.conflict.message}")
        if backup.of_the_future(now) and backup.key.backup_id not in named:
            why[backup.key].append("dated in the future: check the clocks")
    for life, members in lives.items():
        over = life != current
        loose = {b.key for b in members if over and b.key.backup_id in named}
        for key, reason in _kept_of_a_life(
            members, proven, acknowledged, now=now, over=over, drift_limit=drift_limit
        ):
            if key not in loose:
                why[key].append(reason)
    return why


def _kept_of_a_life(
    members: Sequence[Backup],
    proven: Proven,
    acknowledged: Sequence[Acknowledgement],
    *,
    now: datetime,
    over: bool,
    drift_limit: float,
) -> list[tuple[BackupKey, str]]:
    """Of one life, newest first: the newest proven, and the newest that can be read as well; what
    nobody has accepted yet, and the last before it; all, if none is proven that can be read."""

    def good(*, readable: bool) -> list[Backup]:
        return [
            b
            for b in members
            if any(once_proven(b, c.repository, proven, now, readable=readable) for c in b.copies)
            and not b.of_the_future(now)
        ]

    in_reach, every = good(readable=True), good(readable=False)
    if not in_reach:
        what = "proven and can be read" if every else "proven"
        return [(b.key, f"nothing of this life of the collection is {what}") for b in members]
    of_the_past = " of a life that is over: name it to let it go" if over else ""
    doubted = dict.fromkeys(
        (b.key, why)
        for good_ones in (every, in_reach)
        for b, why in (
            *kept_for_doubt(members, good_ones, acknowledged),
            *kept_for_drift(members, good_ones, acknowledged, drift_limit),
        )
    )
    at_hand = [b for b in in_reach if _at_hand(b, proven, now)]
    readable = dict.fromkeys(b.key for b in (*in_reach[:1], *at_hand[:1]))
    return [
        (every[0].key, f"the newest proven{of_the_past}"),
        *(
            (key, f"the newest proven that can be read{of_the_past}")
            for key in readable
            if key != every[0].key
        ),
        *doubted,
    ]


def _at_hand(backup: Backup, proven: Proven, now: datetime) -> bool:
    """Whether a proven copy of it can be read at once, without its provider bringing it back."""
    return any(
        not c.archived and once_proven(backup, c.repository, proven, now, readable=True)
        for c in backup.copies
    )
