"""Who names a backup, and by which manifest: pure, from what was read of all repositories.

What exists is what any record says: a manifest, a seal, a proof, the end of the run that made it.
So a backup whose manifest is gone is missed, not forgotten. And one repository alone orders
nothing: whoever can write to a bucket can put a backup there, with proofs and runs that name it.
It is copied, and lets older ones go, only if another repository knows of it, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from qdrant_dr import layout
from qdrant_dr.errors import ObjectArchived
from qdrant_dr.records import BackupKey, Captured, Deleted, Healed, Proved
from qdrant_dr.repository.record_files import key_of

if TYPE_CHECKING:
    from qdrant_dr.records import Expired, Manifest, RunEnd
    from qdrant_dr.repository.assemble import Reading
    from qdrant_dr.repository.catalog import Catalog

Kind = Literal["manifest", "seal", "proof", "run", "call", "tombstone"]
Witness = Literal["named", "awaited", "nobody"]
"""Of a backup: enough repositories name it; a run that may have made it has not ended; nobody else
does. One that is not `named` is not copied, and nothing expires because of it."""

REACH = timedelta(days=92)
"""Run records are read so far back whatever else is known; further back where something is missed
or named by one repository only."""
RECENT = timedelta(days=7)
"""So young records of runs are gone by no rule that anybody would set."""
LONGEST_RUN = timedelta(hours=48)
"""From the begin of a run to the last backup that it may commit, and to spare."""
UNWITNESSED = "no other repository knows of it: it is not copied, and nothing expires because of it"


@dataclass(frozen=True, slots=True)
class Mention:
    """One record in one repository that names a backup. `manifest_sha256` is None where the record
    does not say: run ends of before, and create calls. `made`: by the run that made the backup."""

    repository: str
    kind: Kind
    record: str
    manifest_sha256: str | None = None
    made: bool = False


@dataclass(slots=True)
class MentionedBackup:
    """One backup as all records together tell of it.

    `holders` are the repositories that it has been in, `let_go` those that retention deleted it
    from, `failed` the proofs of each copy that runs say failed.
    """

    key: BackupKey
    words: list[Mention] = field(default_factory=list)
    holders: set[str] = field(default_factory=set)
    let_go: set[str] = field(default_factory=set)
    failed: dict[str, set[str]] = field(default_factory=dict)

    @property
    def digests(self) -> tuple[str, ...]:
        """Return every manifest that is named: more than one is a conflict."""
        return tuple(sorted({w.manifest_sha256 for w in self.words if w.manifest_sha256}))


@dataclass(frozen=True, slots=True)
class LostBackup:
    """A backup that records name, and whose manifest is in no repository.

    `repositories` are those that had it; `files` and `size_bytes` what is left there. `kept_less`:
    retention let it go elsewhere, so it may have been due here, too.
    """

    key: BackupKey
    repositories: tuple[str, ...]
    words: tuple[Mention, ...]
    files: dict[str, tuple[str, ...]]
    size_bytes: int
    kept_less: bool

    @property
    def manifest_sha256(self) -> str | None:
        """Return the digest of the file that is gone; None if no record has it, or they
        disagree."""
        found = {w.manifest_sha256 for w in self.words if w.manifest_sha256}
        return found.pop() if len(found) == 1 else None

    @property
    def what(self) -> str:
        """Say what happened, and which records say so."""
        left = sum(len(f) for f in self.files.values())
        there = f"{left} of its files are left" if left else "nothing of it is left"
        elsewhere = "; retention let it go elsewhere" if self.kept_less else ""
        return (
            f"its manifest is gone from {', '.join(self.repositories)}, {there}; "
            f"it is named by {describe_mentions(self.words)}{elsewhere}"
        )


def describe_mentions(words: Iterable[Mention]) -> str:
    """Say which records name it: `a seal, 2 proofs and a run`."""
    counts: defaultdict[str, set[str]] = defaultdict(set)
    for word in words:
        if word.kind != "call":  # it names a capture that was begun, of any end
            counts[word.kind].add(word.record)
    said = [
        f"a {kind}" if len(found) == 1 else f"{len(found)} {kind}s"
        for kind, found in counts.items()
    ]
    return " and ".join(filter(None, [", ".join(said[:-1]), *said[-1:]])) or "nobody"


def named_in_records(cluster: str, readings: Sequence[Reading]) -> dict[str, MentionedBackup]:
    """Return every backup that any record names, by its folder, as far as records could be read."""
    found: dict[str, MentionedBackup] = {}
    scope = next((r.scope for r in readings if r.scope), "")

    def of(key: BackupKey) -> MentionedBackup:
        within = key.folder.startswith(scope)
        return (
            found.setdefault(key.folder, MentionedBackup(key)) if within else MentionedBackup(key)
        )

    for reading in readings:
        where = reading.repository.name
        for key, word in _lying_there(reading):
            of(key).words.append(word)
            of(key).holders.add(where)
        for end in (e for e in reading.ends.values() if e.start.cluster == cluster):
            _hear(end, where, readings, of)
    for reading in readings:
        where = reading.repository.name
        for folder in reading.files.keys() & found.keys():
            calls = sorted(f for f in reading.files[folder] if layout.call_of(f))
            found[folder].words += [Mention(where, "call", call) for call in calls[:1]]
        for tombstone in (t for every in reading.tombstones.values() for t in every):
            named = of(key_of(tombstone))
            if fits(tombstone, named):
                digest = tombstone.manifest_sha256
                named.words.append(Mention(where, "tombstone", tombstone.run_id, digest))
                named.let_go.add(where)
    return found


def _lying_there(reading: Reading) -> Iterator[tuple[BackupKey, Mention]]:
    """What the records beside a copy say: it is, or was, in this repository."""
    where = reading.repository.name
    for manifest in reading.manifests.values():
        yield manifest.key, Mention(where, "manifest", layout.MANIFEST, manifest.sha256)
    for seal in reading.seals.values():
        yield key_of(seal), Mention(where, "seal", layout.SEAL, seal.manifest_sha256)
    for proof in (p for proofs in reading.proofs.values() for p in proofs):
        made = proof.made_by == "backup"
        digest = proof.manifest_sha256
        yield key_of(proof), Mention(where, "proof", proof.proof_id, digest, made=made)


def fits(tombstone: Expired, named: MentionedBackup | None) -> bool:
    """Say whether a recorded deletion is of the backup that the other records name."""
    digests = named.digests if named else ()
    return not digests or tombstone.manifest_sha256 in digests


def _hear(
    end: RunEnd, where: str, readings: Sequence[Reading], of: Callable[[BackupKey], MentionedBackup]
) -> None:
    """What a run did with backups: it made, healed and deleted copies, and found them bad."""
    for outcome in end.outcomes:
        did = outcome.detail
        if outcome.backup_id is None or not isinstance(did, Captured | Healed | Deleted | Proved):
            continue
        named = of(
            BackupKey(
                cluster=end.start.cluster,
                collection=outcome.collection,
                backup_id=outcome.backup_id,
            )
        )
        if isinstance(did, Captured):
            run = Mention(where, "run", end.start.run_id, did.manifest_sha256, made=True)
            named.words += [run] * bool(did.committed)
            named.holders |= _configured(end, did.committed, readings)
            continue
        told = _configured(end, [outcome.repository] if outcome.repository else [], readings)
        if isinstance(did, Proved):
            for name in told if not did.passed else ():
                named.failed.setdefault(name, set()).add(did.proof_id)
        elif outcome.verdict == "ok" and isinstance(did, Healed):
            named.holders |= told
        elif outcome.verdict == "ok":
            named.let_go |= told


def _configured(end: RunEnd, told: Iterable[str], readings: Sequence[Reading]) -> set[str]:
    """The repositories that a run means, as they are called now: names change, ids do not."""
    ids = {r.name: r.repository_id for r in end.repositories}
    return {
        state.name
        for name in told
        for state in (r.repository for r in readings)
        if (state.id == ids[name] if ids.get(name) else state.name == name)
    }


# who made it


def witness(manifest: Manifest, named: MentionedBackup, readings: Sequence[Reading]) -> Witness:
    """Say whether enough repositories name this backup: two, or the only one that there was.

    A repository could tell of it only if it was told of runs by then: not if it is new, or was
    emptied since. A run that began and has no end may yet say that it made it.
    """
    telling = _telling(manifest, named)
    if len(telling) > 1:
        return "named"
    others = [
        r
        for r in readings
        if r.repository.name not in telling and not _in_archive(r, manifest.key.folder)
    ]
    asked = [r for r in others if would_have_recorded(r, manifest.captured_at)]
    under_way = any(began_only(r, manifest.run_id) for r in (asked or readings))
    if asked:
        return "awaited" if under_way else "nobody"
    made = any(w.made and w.manifest_sha256 in (manifest.sha256, None) for w in named.words)
    return "named" if made or under_way else "nobody"


def _telling(manifest: Manifest, named: MentionedBackup) -> set[str]:
    """Repositories with a record that names this manifest, or any of this backup."""
    return {w.repository for w in named.words if w.manifest_sha256 in (manifest.sha256, None)}


def _in_archive(reading: Reading, folder: str) -> bool:
    """Whether a manifest of this backup lies there, and cannot be read now: it may say the same."""
    if folder in reading.manifests or layout.MANIFEST not in reading.files.get(folder, ()):
        return False
    path = f"{layout.BACKUPS}/{folder}/{layout.MANIFEST}"
    return any(u.path == path and isinstance(u.error, ObjectArchived) for u in reading.unreadable)


def would_have_recorded(reading: Reading, at: datetime) -> bool:
    """Say whether runs of that time were recorded in this repository. What cannot be read may
    know."""
    if reading.repository.error is not None:
        return True
    return reading.first_run is not None and reading.first_run <= at


def began_only(reading: Reading, run_id: str) -> bool:
    """Say whether a run is on record there as begun, and not as ended."""
    return f"{run_id}.start.json" in reading.runs and f"{run_id}.end.json" not in reading.runs


# what is missed


def missed(
    named: Mapping[str, MentionedBackup], readings: Sequence[Reading]
) -> tuple[LostBackup, ...]:
    """Return backups that records name and whose manifest is nowhere, though nobody let them go.

    One that may lie in what cannot be read now is not lost yet.
    """
    there = {f for r in readings for f, files in r.files.items() if layout.MANIFEST in files}
    away = {r.repository.name for r in readings if r.repository.error is not None}
    found = []
    for folder, backup in sorted(named.items()):
        gone_from = backup.holders - backup.let_go
        if folder in there or not gone_from or backup.holders & away:
            continue
        files = {
            r.repository.name: r.files[folder]
            for r in readings
            if folder in r.files and r.repository.name not in backup.let_go
        }
        found.append(
            LostBackup(
                key=backup.key,
                repositories=tuple(
                    r.repository.name for r in readings if r.repository.name in gone_from
                ),
                words=tuple(backup.words),
                files={name: tuple(sorted(of)) for name, of in files.items()},
                size_bytes=max((sum(s.size_bytes for s in of.values()) for of in files.values()),
                               default=0),
                kept_less=bool(backup.let_go),
            )
        )  # fmt: skip
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Doubt:
    """A backup of which runs must be asked: those that began since, up to a time or all."""

    folder: str
    since: datetime
    until: datetime | None


def hidden_failures(named: MentionedBackup, reading: Reading) -> tuple[str, ...]:
    """Return proofs of this copy that failed according to a run, are gone, and that no later one
    cleared: without them a bad copy would look good."""
    proofs = reading.proofs.get(named.key.folder, ())
    known = {p.proof_id for p in proofs} | {i for p in proofs if p.passed for i in p.clears}
    return tuple(sorted(named.failed.get(reading.repository.name, set()) - known))


def in_doubt(cluster: str, readings: Sequence[Reading]) -> tuple[Doubt, ...]:
    """Return what only one repository names, and what has no manifest anywhere."""
    named = named_in_records(cluster, readings)
    several = len(readings) > 1  # whether the others could tell is in their lists of runs
    alone = {
        m.key.folder
        for r in readings
        for m in r.manifests.values()
        if len(_telling(m, named[m.key.folder])) < 2
        and (several or witness(m, named[m.key.folder], readings) != "named")
    }
    manifests = {f for r in readings for f, files in r.files.items() if layout.MANIFEST in files}
    bare = {f for r in readings for f in r.files if f not in manifests and f not in r.tombstones}
    lost = {lost.key.folder for lost in missed(named, readings)}  # a later run may have deleted it
    return tuple(
        Doubt(folder, made - LONGEST_RUN, None if folder in lost else made)
        for folder in sorted(alone | bare | lost)
        for made in [layout.time_of(folder.rpartition("/")[2])]
    )


def runs_missed(
    recorded: Mapping[str, Collection[str]],
    ends: Mapping[str, Sequence[RunEnd]],
    catalog: Catalog,
    *,
    now: datetime,
) -> dict[str, tuple[int, int]]:
    """Return the repositories that lack at least half of the young run records that they should
    have, and how many of how many. `recorded` are the runs that each has a record of, `ends` those
    of which it has the end.

    They should have those of which another one says that it was reached, and those that their own
    manifests and proofs name. A few may be missing: a repository was away when the run began.
    """
    ids = {r.id: r.name for r in catalog.repositories if r.name in recorded}
    wanted: defaultdict[str, set[str]] = defaultdict(set)

    def want(where: str, run_id: str) -> None:
        began = layout.time_if_id(run_id)
        if began is not None and now - RECENT <= began <= now:
            wanted[where].add(run_id)

    for end in (e for every in ends.values() for e in every):
        for seen in (s for s in end.repositories if s.reachable and s.repository_id in ids):
            want(ids[seen.repository_id], end.start.run_id)
    for backup in catalog.backups:
        for copy in (c for c in backup.copies if c.repository in recorded):
            for proof in copy.proofs:
                want(copy.repository, proof.run_id)
    lacking = {name: runs - set(recorded[name]) for name, runs in wanted.items()}
    return {
        name: (len(lacks), len(wanted[name]))
        for name, lacks in sorted(lacking.items())
        if lacks and 2 * len(lacks) >= len(wanted[name])
    }
