"""Which copies may go: pure, with a reason for every one that goes and every one that stays.

A backup of each of the last days, weeks and months that have one is kept, the newest proven one of
the period if there is one, so that an outage does not eat history. On top of that come the brakes:
nothing is decided from a catalog that is not complete, nothing goes while nothing of its life is
proven, and the newest proven backup never goes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import groupby

from qdrant_dr.config import Proven
from qdrant_dr.records import BackupKey
from qdrant_dr.records.retention import Hold
from qdrant_dr.repository.catalog import CLOCK_TOLERANCE, Backup, Catalog, is_proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many of each period stay. `share`: of the copies of a collection in a repository at most
    so many go in one run, rounded up to one."""

    last: int
    daily: int
    weekly: int
    monthly: int
    floor: int
    grace: timedelta
    share: float
    timezone: tzinfo


PolicyOf = Callable[[str, str], Policy]
"""Policy of (repository, collection)."""


@dataclass(frozen=True, slots=True)
class Expiry:
    """A copy that goes, and why nothing keeps it."""

    key: BackupKey
    repository: str
    reason: str
    stored_bytes: int


@dataclass(frozen=True, slots=True)
class Stay:
    """A copy that stays, with everything that keeps it."""

    key: BackupKey
    repository: str
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ExpirePlan:
    """`refused`: why nothing is decided at all."""

    goes: tuple[Expiry, ...] = ()
    stays: tuple[Stay, ...] = ()
    refused: str | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """One copy, and whether it, or any copy of its backup, is proven."""

    backup: Backup
    repository: str
    stored_bytes: int
    proven_here: bool
    proven: bool

    @property
    def at(self) -> tuple[datetime, str]:
        manifest = self.backup.manifest
        return manifest.captured_at, manifest.backup_id


def active_holds(holds: Iterable[Hold], *, now: datetime) -> tuple[Hold, ...]:
    """Those that keep something now: not over, and not released by another."""
    known = tuple(holds)
    released = {h for hold in known for h in hold.releases}
    return tuple(
        h
        for h in known
        if h.keeps and h.hold_id not in released and (h.until is None or h.until > now)
    )


def plan_expire(
    catalog: Catalog,
    policy_of: PolicyOf,
    *,
    proven: Proven,
    holds: Sequence[Hold],
    now: datetime,
    named: Collection[str] = (),
) -> ExpirePlan:
    """Decide for every copy of the catalog.

    `named` are backup ids that a person wrote down: only so the newest proven backup of a life
    that is over may go. Proofs count at any age here: a backup that was once shown to be good must
    not go because nobody looked lately.
    """
    if not catalog.complete:
        unread = [r.name for r in catalog.unreachable] + [u.path for u in catalog.unreadable]
        what = ", ".join(unread) or "there is no repository"
        return ExpirePlan(refused=f"not everything could be read: {what}")
    if not catalog.backups:
        return ExpirePlan(refused="the catalog is empty: an unmounted disk looks the same")
    kept_by_hold = {h.backup_id: h for h in active_holds(holds, now=now)}
    goes: list[Expiry] = []
    stays: list[Stay] = []
    for collection in catalog.collections:
        backups = catalog.of(collection)
        current = _current(backups, now=now)
        keepers = _kept_everywhere(backups, proven, current, now=now, named=named)
        for repository in (r.name for r in catalog.repositories):
            copies = _copies(backups, repository, proven, now=now)
            policy = policy_of(repository, collection)
            loose: list[_Held] = []
            reasons = _reasons(copies, policy, now=now)
            for held in copies:
                why = list(keepers[held.backup.key])
                past = held.backup.manifest.incarnation != current
                if not (past and held.backup.key.backup_id in named):
                    why += reasons[held.backup.key]
                if hold := kept_by_hold.get(held.backup.key.backup_id):
                    until = f" until {hold.until:%Y-%m-%d}" if hold.until else ""
                    why.insert(0, f"held by {hold.made_by}{until}: {hold.reason}")
                if why:
                    stays.append(Stay(held.backup.key, repository, tuple(why)))
                else:
                    loose.append(held)
            limit = max(1, int(len(copies) * policy.share))
            for place, held in enumerate(sorted(loose, key=lambda h: h.at)):
                if place >= limit:
                    brake = f"at most {limit} of {len(copies)} copies go in one run"
                    stays.append(Stay(held.backup.key, repository, (brake,)))
                else:
                    why_not = f"no rule of last {policy.last}, daily {policy.daily}, weekly "
                    why_not += f"{policy.weekly}, monthly {policy.monthly} keeps it"
                    goes.append(Expiry(held.backup.key, repository, why_not, held.stored_bytes))
    return ExpirePlan(tuple(goes), tuple(stays))


def _current(backups: Sequence[Backup], *, now: datetime) -> str:
    """The life that the newest backup belongs to; one dated in the future does not decide."""
    past = [b for b in backups if b.manifest.captured_at <= now + CLOCK_TOLERANCE]
    return max(past or backups, key=_order).manifest.incarnation


def _order(backup: Backup) -> tuple[datetime, str]:
    return backup.manifest.captured_at, backup.manifest.backup_id


def _copies(
    backups: Sequence[Backup], repository: str, proven: Proven, *, now: datetime
) -> list[_Held]:
    """The copies in one repository, newest first."""
    found = []
    for backup in backups:
        copy = backup.copy(repository)
        if copy.committed:
            found.append(
                _Held(
                    backup, repository, copy.stored_bytes or 0,
                    proven_here=_once_proven(backup, repository, proven, now),
                    proven=any(_once_proven(backup, c.repository, proven, now)
                               for c in backup.copies),
                )
            )  # fmt: skip
    return sorted(found, key=lambda h: h.at, reverse=True)


def _once_proven(backup: Backup, repository: str, proven: Proven, now: datetime) -> bool:
    """Sound, and proven at the promised depth at any time."""
    ever = now - backup.manifest.captured_at + timedelta(days=36500)
    return is_proven(
        backup, backup.copy(repository), depth=proven.depth, max_age=max(ever, timedelta(0)),
        now=now,
    )  # fmt: skip


def _kept_everywhere(
    backups: Sequence[Backup],
    proven: Proven,
    current: str,
    *,
    now: datetime,
    named: Collection[str],
) -> dict[BackupKey, list[str]]:
    """What keeps all copies of a backup, wherever they are."""
    why: dict[BackupKey, list[str]] = {b.key: [] for b in backups}
    lives: defaultdict[str, list[Backup]] = defaultdict(list)
    for backup in sorted(backups, key=_order, reverse=True):
        lives[backup.manifest.incarnation].append(backup)
        if backup.conflict is not None:
            why[backup.key].append(f"repositories disagree about it: {backup.conflict.message}")
        if backup.manifest.captured_at > now + CLOCK_TOLERANCE:
            why[backup.key].append("dated in the future: check the clocks")
    for life, members in lives.items():
        good = [
            b
            for b in members
            if any(_once_proven(b, c.repository, proven, now) for c in b.copies)
            and b.manifest.captured_at <= now + CLOCK_TOLERANCE
        ]
        if not good:
            for backup in members:
                if not (life != current and backup.key.backup_id in named):
                    why[backup.key].append("nothing of this life of the collection is proven")
            continue
        newest = good[0]
        if life == current:
            why[newest.key].append("the newest proven")
        elif newest.key.backup_id not in named:
            why[newest.key].append("the newest proven of a life that is over: name it to let it go")
        if newest.seal is not None and newest.seal.suspect:
            calm = next((b for b in good if b.seal is not None and not b.seal.suspect), None)
            if calm is not None:
                why[calm.key].append(f"the last before {newest.key.backup_id}, which is suspect")
    return why


def _reasons(
    copies: Sequence[_Held], policy: Policy, *, now: datetime
) -> dict[BackupKey, list[str]]:
    """What keeps the copies in one repository: grace, floor, and the periods."""
    why: dict[BackupKey, list[str]] = {h.backup.key: [] for h in copies}
    for held in copies:
        if held.backup.manifest.captured_at > now - policy.grace:
            why[held.backup.key].append(f"younger than {policy.grace}")
    lives: defaultdict[str, list[_Held]] = defaultdict(list)
    for held in copies:
        lives[held.backup.manifest.incarnation].append(held)
    for members in lives.values():
        here = next((h for h in members if h.proven_here), None)
        if here is not None:
            why[here.backup.key].append("the newest proven in this repository")
        for held in sorted(members, key=lambda h: (not h.proven, members.index(h)))[: policy.floor]:
            why[held.backup.key].append(f"one of the floor of {policy.floor}")
        past = [h for h in members if h.backup.manifest.captured_at <= now + CLOCK_TOLERANCE]
        for place, held in enumerate(past[: policy.last]):
            why[held.backup.key].append(f"last {place + 1} of {policy.last}")
        for name, count, period in (
            ("daily", policy.daily, "%Y-%m-%d"),
            ("weekly", policy.weekly, "%G-W%V"),
            ("monthly", policy.monthly, "%Y-%m"),
        ):
            for label, held in _keepers(past, policy.timezone, period, count):
                why[held.backup.key].append(f"{name} {label}")
    return why


def _keepers(
    copies: Sequence[_Held], timezone: tzinfo, period: str, count: int
) -> list[tuple[str, _Held]]:
    """Of each of the last periods that have a copy: the newest proven, else the newest."""

    def label(held: _Held) -> str:
        return held.backup.manifest.captured_at.astimezone(timezone).strftime(period)

    periods = [(name, list(members)) for name, members in groupby(copies, key=label)]
    return [
        (name, next((h for h in members if h.proven), members[0]))
        for name, members in periods[:count]
    ]
