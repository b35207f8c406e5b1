"""Create calls that were begun: what the records say of them, whether they are over, and whether
they were really ours."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import combinations

from qdrant_dr import layout
from qdrant_dr.cluster import INSTANCE, SnapshotScope, key_piece, stamp_of
from qdrant_dr.jobs.run.call_journal import CallJournal
from qdrant_dr.jobs.run.scratch_dir import abandoned
from qdrant_dr.location_key import one_bucket
from qdrant_dr.records import BackupKey, Intent, RunEnd, SnapshotAnswer
from qdrant_dr.repository import ORPHAN_GRACE, Catalog, Repository, Stat, key_of

STAMPED_WITHIN = timedelta(hours=1)
"""A node names a snapshot by the second in which it begins it, right after the call came (measured
on Qdrant 1.18.3); the rest is for its clock."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A create call whose intent was written: what was answered to it, and how many copies of its
    backup were committed.

    `number` counts the calls of a backup; `repository` has the record, None: only this machine's
    journal has. `seen_at` is when it was written, by the clock of where it lies.
    """

    number: int
    intent: Intent
    answer: SnapshotAnswer | None
    committed: int
    seen_at: datetime
    repository: str | None = None

    @property
    def key(self) -> BackupKey:
        return key_of(self.intent)

    @property
    def scope(self) -> SnapshotScope:
        """Return where on the node its snapshot lies."""
        return (
            INSTANCE
            if self.intent.full
            else SnapshotScope(self.intent.collection, self.intent.shard)
        )

    @property
    def since(self) -> datetime:
        """Return when it began at the latest: a time in the future counts as the time of its
        record."""
        return min(self.intent.started_at, self.seen_at)

    def knew(self, name: str, scope: SnapshotScope) -> bool:
        """Say whether a file of this name lay in that place before the call; in S3 mode a list has
        its key."""
        full = scope == INSTANCE
        return any(self.intent.knew(n, full=full) for n in (name, key_piece(name)))

    def may_have_made(self, name: str, scope: SnapshotScope, now: datetime) -> bool:
        """Say whether an unanswered call may have made this file.

        At first that is every new file. Later it is one that was begun in the time of the call:
        else whatever anybody makes there from now on would look like ours.
        """
        if self.knew(name, scope) or not scope.may_hold(name):
            return False
        if now - self.since <= ORPHAN_GRACE:
            return True
        if (stamped := stamp_of(name)) is None:
            return False
        asked = self.intent.asked_at
        after = ORPHAN_GRACE / 2 if asked is None or self.intent.full else STAMPED_WITHIN
        begun = min(asked or self.since, self.since + ORPHAN_GRACE / 2)
        return begun - STAMPED_WITHIN <= stamped <= begun + after


def scratch_of(backup_id: str) -> str:
    """Name of the scratch folder of a capture."""
    return f"capture-{backup_id}"


def is_dead(
    begun: Begun, ended: Container[str], spool: str, journal: CallJournal, now: datetime
) -> bool:
    """Say whether the capture that meant this is over: its process on this machine is gone or
    ended, its run ended, or it began too long ago."""
    killed = abandoned(spool, scratch_of(begun.intent.backup_id))
    if killed is not None:
        return killed
    if journal.knows(begun.number, begun.intent, None):
        return True  # it was made here, and its scratch folder is gone
    return begun.intent.run_id in ended or now - begun.since > ORPHAN_GRACE / 2


def ended_runs(ends: Mapping[str, Sequence[RunEnd]], opened: Mapping[str, Repository]) -> set[str]:
    """Return the runs that wrote an end: what they began and did not finish is dead.

    Where there are repositories apart from each other, two of them must say so: a forged end must
    not give away what a living capture is reading.
    """
    where: dict[str, list[Repository]] = {}
    for name, records in ends.items():
        for end in records:
            where.setdefault(end.start.run_id, []).append(opened[name])
    several = _some_different(opened.values())
    return {run for run, told in where.items() if not several or _some_different(told)}


def _some_different(repositories: Iterable[Repository]) -> bool:
    return any(are_different_repositories(a, b) for a, b in combinations(repositories, 2))


def are_different_repositories(one: Repository, other: Repository) -> bool:
    """Say whether these are of two failure domains and, as far as can be told, in two places:
    whoever may write to one need not be able to write to the other."""
    a, b = one.location, other.location
    if one.domain == other.domain:
        return False
    if a.protocol == b.protocol == "file":
        return a.prefix != b.prefix
    return not one_bucket(a, b)


def made_by_us(begun: Begun, opened: Mapping[str, Repository], journal: CallJournal) -> bool:
    """Say whether more than one bucket confirms that this call was ours: this machine wrote it
    down, or another repository, apart from the first, has the very same intent and answer."""
    if journal.knows(begun.number, begun.intent, begun.answer):
        return True
    first = opened.get(begun.repository or "")
    return first is not None and any(
        are_different_repositories(first, other)
        and other.has_call(begun.key, begun.number, begun.intent, begun.answer)
        for other in opened.values()
    )


def begun_calls(
    opened: Mapping[str, Repository],
    catalog: Catalog,
    now: datetime,
    *,
    journal: CallJournal,
    also: Collection[str] = (),
) -> tuple[list[Begun], list[str]]:
    """Create calls that may have left a file on a node, each once, and what could not be read.

    Of committed backups those of the last days are read, and those in `also`. Where two records of
    one call differ, both are there: which of them is true is for `made_by_us` to say.
    """
    found: dict[tuple[str, int, str, str | None], Begun] = {}
    kept: list[str] = []
    holders = {
        b.key.folder: [c.repository for c in b.copies if c.committed and c.repository in opened]
        for b in catalog.backups
    }

    def add(begun: Begun) -> None:
        answer = begun.answer.sha256 if begun.answer else None
        found.setdefault((begun.intent.backup_id, begun.number, begun.intent.sha256, answer), begun)

    def read(repository: Repository, folder: str, files: Sequence[Stat]) -> None:
        calls, unreadable = repository.read_calls(files)
        kept.extend(f"{u.repository}/{u.path}: {u.error.message}" for u in unreadable)
        written = {layout.call_of(f.path.rpartition("/")[2]): f.modified_at for f in files}
        committed = len(holders.get(folder, ()))
        for number, intent, answer in calls:
            at = written["intent", number]
            add(Begun(number, intent, answer, committed, at, repository.name))

    for unfinished in catalog.unfinished:
        if unfinished.repository in opened:
            read(opened[unfinished.repository], unfinished.folder, unfinished.files)
    for call in journal.calls():
        if call.intent.cluster == catalog.cluster:
            committed = len(holders.get(key_of(call.intent).folder, ()))
            add(Begun(call.number, call.intent, call.answer, committed, call.written_at))
    wanted = {backup_id for backup_id, *_ in found} | set(also)
    for backup in catalog.backups:
        key, where = backup.key, holders[backup.key.folder]
        recent = now - backup.manifest.captured_at <= ORPHAN_GRACE
        if where and (recent or key.backup_id in wanted):  # else looked at often enough
            repository = opened[where[0]]
            files = repository.find_backups(key.cluster, key.collection, key.backup_id)
            read(repository, key.folder, files)
    answered = {at[:3] for at in found if at[3] is not None}
    every = [b for at, b in found.items() if at[3] is not None or at[:3] not in answered]
    return _of_one_call(every), kept


def _of_one_call(every: Sequence[Begun]) -> list[Begun]:
    """A full snapshot is of several backups: it counts as safe as the least safe of them."""
    calls: dict[str, list[int]] = {}
    for begun in every:
        if begun.scope == INSTANCE and begun.committed:
            calls.setdefault(begun.intent.run_id, []).append(begun.committed)
    return [
        replace(b, committed=min(calls[b.intent.run_id]))
        if b.scope == INSTANCE and b.intent.run_id in calls
        else b
        for b in every
    ]
