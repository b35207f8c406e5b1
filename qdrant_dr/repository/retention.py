"""Which copies may go: pure, with a reason for every one that goes and every one that stays.

A backup of each of the last days, weeks and months that have one is kept, the newest proven one of
the period if there is one, so that an outage does not eat history. On top of that come the brakes:
nothing is decided from a catalog that is not complete, nothing goes while nothing of its life is
proven, and the newest proven backup never goes. A backup that only one repository knows of lets
nothing go: what would stay without it stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import groupby

from qdrant_dr.config import Proven
from qdrant_dr.quantities import how_long
from qdrant_dr.records import Acknowledgement, BackupKey
from qdrant_dr.records.holds import Hold
from qdrant_dr.repository.catalog import Backup, Catalog
from qdrant_dr.repository.foreign_objects import strangers_in_words
from qdrant_dr.repository.kept_everywhere import kept_everywhere, order_of
from qdrant_dr.repository.proven import once_proven


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How many of each period stay. `share`: of the copies of a collection in a repository at most
    so many go in one run, rounded up to one. `drift_limit`: the share of points that may be lost or
    changed, little by little, without the older backup being kept."""

    last: int
    daily: int
    weekly: int
    monthly: int
    floor: int
    grace: timedelta
    share: float
    timezone: tzinfo
    drift_limit: float = 1.0

    @property
    def unkept(self) -> str:
        """Say why a copy goes."""
        return (
            f"none of last {self.last}, daily {self.daily}, weekly {self.weekly}, "
            f"monthly {self.monthly} keeps it"
        )


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
    """A copy that stays, with everything that keeps it. `stopped`: nothing does but what lies
    beside it and is not ours."""

    key: BackupKey
    repository: str
    reasons: tuple[str, ...]
    stopped: bool = False


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
    def key(self) -> BackupKey:
        return self.backup.key

    @property
    def at(self) -> tuple[datetime, str]:
        manifest = self.backup.manifest
        return manifest.captured_at, manifest.backup_id

    def named_of_the_past(self, current: str, named: Collection[str]) -> bool:
        """Say whether a person named this backup in a record and its incarnation is past."""
        return self.backup.manifest.incarnation != current and self.key.backup_id in named


def active_holds(holds: Iterable[Hold], *, now: datetime) -> tuple[Hold, ...]:
    """Return the holds that keep something now: not over, and not released by another record."""
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
    acknowledged: Sequence[Acknowledgement] = (),
) -> ExpirePlan:
    """Decide for every copy of the catalog.

    `acknowledged` are those that count: what a suspect backup may have lost goes only when somebody
    accepted it. `named` are backup ids that a person wrote down: only so the newest proven backup
    of a life that is over may go, and what nobody is known to have made. Proofs count at any age
    here: a backup that was once shown to be good must not go because nobody looked lately.
    """
    if not catalog.complete:
        unread = [r.name for r in catalog.unreachable] + [u.path for u in catalog.unreadable]
        what = ", ".join(unread) or "there is no repository"
        return ExpirePlan(refused=f"not everything could be read: {what}")
    if not catalog.backups:
        return ExpirePlan(refused="the catalog is empty: an unmounted disk looks the same")
    held_by = {h.backup_id: h for h in active_holds(holds, now=now)}
    goes: list[Expiry] = []
    stays: list[Stay] = []
    for collection in catalog.collections:
        backups = catalog.of(collection)
        sure = [b for b in backups if b.witness == "named"]
        # what one repository alone tells of is kept as any other, and takes nobody's place
        views = [backups] if len(sure) in (0, len(backups)) else [backups, sure]
        keys = {b.key for b in views[-1]}
        for repository in (r.name for r in catalog.repositories):
            policy = policy_of(repository, collection)
            copies = _copies(backups, repository, proven, now=now)
            why = {h.key: _holding(held_by.get(h.key.backup_id)) for h in copies}
            for view in views:
                for key, kept in _kept(
                    view, repository, policy, proven, now=now, named=named,
                    acknowledged=acknowledged,
                ):  # fmt: skip
                    why[key] += [reason for reason in kept if reason not in why[key]]
            for held in copies:
                if held.backup.witness == "nobody" and held.key.backup_id in named:
                    why[held.key] = _holding(held_by.get(held.key.backup_id))
            stopped = _stop(catalog, repository, why)
            stays += [
                Stay(h.key, repository, tuple(why[h.key]), h.key in stopped)
                for h in copies
                if why[h.key]
            ]
            loose = sorted((h for h in copies if not why[h.key]), key=lambda h: h.at)
            counted = sum(h.key in keys for h in copies)
            limit = max(1, int(counted * policy.share))
            brake = f"at most {limit} of {counted} copies go in one run"
            stays += [Stay(h.key, repository, (brake,)) for h in loose[limit:]]
            goes += [
                Expiry(h.key, repository, policy.unkept, h.stored_bytes) for h in loose[:limit]
            ]
    return ExpirePlan(tuple(goes), tuple(stays))


def _kept(
    backups: Sequence[Backup],
    repository: str,
    policy: Policy,
    proven: Proven,
    *,
    now: datetime,
    named: Collection[str],
    acknowledged: Sequence[Acknowledgement],
) -> Iterator[tuple[BackupKey, list[str]]]:
    """What keeps the copies in one repository, if these are all backups of the collection."""
    current = _current(backups, now=now)
    everywhere = kept_everywhere(
        backups, proven, current, now=now, named=named, acknowledged=acknowledged,
        drift_limit=policy.drift_limit,
    )  # fmt: skip
    copies = _copies(backups, repository, proven, now=now)
    here = _reasons(copies, policy, now=now)
    for held in copies:
        own = [] if held.named_of_the_past(current, named) else here[held.key]
        yield held.key, everywhere[held.key] + own


def _stop(
    catalog: Catalog, repository: str, why: Mapping[BackupKey, list[str]]
) -> frozenset[BackupKey]:
    """Keep each copy that a stranger lies beside; those that nothing else keeps."""
    stopped = set()
    for key, reasons in why.items():
        if beside := catalog.strangers_beside(repository, key.folder):
            stopped |= set() if reasons else {key}
            reasons.append(f"in its folder {strangers_in_words(beside)}")
    return frozenset(stopped)


def _holding(hold: Hold | None) -> list[str]:
    if hold is None:
        return []
    until = f" until {hold.until:%Y-%m-%d}" if hold.until else ""
    return [f"held by {hold.made_by}{until}: {hold.reason}"]


def _current(backups: Sequence[Backup], *, now: datetime) -> str:
    """The life that the newest backup belongs to; one dated in the future does not decide."""
    past = [b for b in backups if not b.of_the_future(now)]
    return max(past or backups, key=order_of).manifest.incarnation


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
                    proven_here=once_proven(backup, repository, proven, now, readable=False),
                    proven=any(once_proven(backup, c.repository, proven, now, readable=False)
                               for c in backup.copies),
                )
            )  # fmt: skip
    return sorted(found, key=lambda h: h.at, reverse=True)


def _reasons(
    copies: Sequence[_Held], policy: Policy, *, now: datetime
) -> dict[BackupKey, list[str]]:
    """What keeps the copies in one repository: grace, floor, and the periods."""
    why: dict[BackupKey, list[str]] = {h.key: [] for h in copies}
    for held in copies:
        if held.backup.manifest.captured_at > now - policy.grace:
            until = held.backup.manifest.captured_at + policy.grace
            why[held.key].append(
                f"younger than {how_long(policy.grace)}, until {until:%Y-%m-%d %H:%M:%S} UTC"
            )
    lives: defaultdict[str, list[_Held]] = defaultdict(list)
    for held in copies:
        lives[held.backup.manifest.incarnation].append(held)
    for members in lives.values():
        here = next((h for h in members if h.proven_here), None)
        if here is not None:
            why[here.key].append("the newest proven in this repository, until a newer one is")
        for held in sorted(members, key=lambda h: (not h.proven, members.index(h)))[: policy.floor]:
            why[held.key].append(f"one of the floor of {policy.floor}, until more are proven")
        past = [h for h in members if not h.backup.of_the_future(now)]
        for place, held in enumerate(past[: policy.last]):
            left = policy.last - place
            why[held.key].append(f"last {place + 1} of {policy.last}, until {left} newer are made")
        for name, count, period in (
            ("daily", policy.daily, "%Y-%m-%d"),
            ("weekly", policy.weekly, "%G-W%V"),
            ("monthly", policy.monthly, "%Y-%m"),
        ):
            for place, (label, held) in enumerate(_keepers(past, policy.timezone, period, count)):
                left = count - place
                why[held.key].append(f"{name} {label}, until {left} newer such periods have one")
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
