"""What the records say, over all repositories: pure data. What counts as proven: `proven`.

A catalog keeps what it could not read: unreachable repositories and unreadable records are in
it, so that nothing is decided as if they did not exist.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Literal

from qdrant_dr.errors import DRError, RepositoryUnreachable
from qdrant_dr.layout import BACKUPS, PACKS, call_of, part_file_of
from qdrant_dr.records import BackupKey, Location, Manifest, Proof, Seal
from qdrant_dr.records.repository import Layout
from qdrant_dr.repository.foreign_objects import Stranger
from qdrant_dr.repository.lost_backups import LONGEST_RUN, LostBackup, Witness
from qdrant_dr.repository.record_files import Unreadable
from qdrant_dr.stores.base import OpenUpload, Stat
from qdrant_dr.stores.tiers import Storage

CopyState = Literal["present", "behind", "archived", "damaged", "missing", "expired", "unreachable"]
"""`expired`: not there any more because a retention run of ours deleted it. `archived`: whole, and
not readable before its provider brings it back from an archive."""

_SHOWN = 3
_THERE = ("present", "behind", "archived", "damaged")

CLOCK_TOLERANCE = timedelta(seconds=60)
"""How far ahead of `now` a record may be dated: the clocks of two workers are never equal."""


@dataclass(frozen=True, slots=True)
class RepositoryState:
    """A configured repository as it was found. `error`: why nothing of it could be read;
    `restore_time`: how long it takes to bring something back from its archive, if configured;
    `layout`: how parts lie in it; `encrypted`: nobody without its key can read them; `price` of a
    GiB a month, if configured."""

    name: str
    id: str | None
    domain: str
    location: Location | None
    error: DRError | None = None
    restore_time: timedelta | None = None
    layout: Layout = "plain"
    price: float | None = None
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class InArchive:
    """An object that a copy needs, and whose bytes cannot be read before they are brought back: a
    file in its folder, or a pack."""

    path: str
    storage: Storage

    @property
    def file(self) -> str:
        """Return its name in its folder."""
        return self.path.rpartition("/")[2]

    @property
    def is_pack(self) -> bool:
        """Say whether other backups may need it, too."""
        return self.path.startswith(f"{PACKS}/")


@dataclass(frozen=True, slots=True)
class Copy:
    """One backup in one repository.

    `lacks` names what should be there and is not; `proofs` were made of this copy at this
    location, oldest first; `inherited` came with it from elsewhere and prove nothing. `unread`
    are ids of proofs that cannot be read, or are gone and failed as a run tells: nothing is proven
    until a full content proof passes and names them. `held`: records say that it was whole here.
    `storage`: classes of its objects, in the store's words. `archived` is what of it lies in an
    archive: it can be read after `restore_time`, or nobody knows when. `stored_bytes` are those in
    its folder, `pack_bytes` of the packs that were written for it: later backups may use them, and
    it may use those of others.
    """

    repository: str
    domain: str
    state: CopyState
    lacks: tuple[str, ...] = ()
    stored_bytes: int | None = None
    pack_bytes: int | None = None
    proofs: tuple[Proof, ...] = ()
    inherited: tuple[Proof, ...] = ()
    unread: tuple[str, ...] = ()
    held: bool = False
    storage: tuple[str, ...] = ()
    archived: tuple[InArchive, ...] = ()
    restore_time: timedelta | None = None
    layout: Layout = "plain"

    @property
    def written_bytes(self) -> int | None:
        """Return the bytes that were written for it and are still there; None if nobody knows."""
        return None if self.stored_bytes is None else self.stored_bytes + (self.pack_bytes or 0)

    @property
    def committed(self) -> bool:
        """Say whether its manifest is there and readable."""
        return self.state in _THERE and "manifest" not in self.lacks

    @property
    def within_reach(self) -> bool:
        """Say whether it can be read now, or after a time that is known."""
        return not self.archived or self.restore_time is not None

    @property
    def archive(self) -> str:
        """Say which parts of it lie in which archive; empty if none does."""
        if not self.archived:
            return ""
        files = [a.file for a in self.archived if not a.is_pack]
        if packs := len(self.archived) - len(files):
            files.append(f"{packs} of its packs" if packs > 1 else "one of its packs")
        classes = " and ".join(sorted({str(a.storage) for a in self.archived} - {""}))
        return f"archived{f' ({classes})' if classes else ''}: {', '.join(files)}"


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup: its manifest, its seal if it has one, and its copy in every repository.

    `conflict`: two repositories disagree about what it is. Then no copy of it is proven, and
    nothing is healed or restored implicitly. `witness`: whether another repository knows of it.
    `dated_ahead`: its manifest was of the future when a
    store took it, so nobody knows of when it is.
    """

    manifest: Manifest
    seal: Seal | None
    copies: tuple[Copy, ...]
    conflict: DRError | None = None
    witness: Witness = "named"
    dated_ahead: bool = False

    @property
    def key(self) -> BackupKey:
        return self.manifest.key

    def of_the_future(self, now: datetime) -> bool:
        """Say whether it is dated later than now, or once was: it is never the newest of
        anything."""
        return self.dated_ahead or self.manifest.captured_at > now + CLOCK_TOLERANCE

    def copy(self, repository: str) -> Copy:
        """Return its copy in one repository, even an absent one. Raise KeyError for an unknown
        name."""
        for copy in self.copies:
            if copy.repository == repository:
                return copy
        raise KeyError(repository)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What lies below `backups/<folder>` of a repository without a manifest: of a capture that did
    not commit or, `expired`, of a deletion that was not finished. `named`: a seal, a proof or a run
    says that it was a backup. `expired_at`: when the store took the newest record that it goes."""

    repository: str
    folder: str
    files: tuple[Stat, ...]
    expired: bool = False
    named: bool = False
    expired_at: datetime | None = None

    @property
    def only_calls(self) -> bool:
        """Say whether only the records of its create calls are left, which the sweep of a node
        needs."""
        return all(call_of(f.path.rpartition("/")[2]) for f in self.files)

    @property
    def only_sweeps_remain(self) -> bool:
        """Say whether nothing is left but what sweeps remove: records of its create calls, and
        recipes, which protect their packs for a while."""
        return all(part_file_of(f.path) or call_of(f.path.rpartition("/")[2]) for f in self.files)


@dataclass(frozen=True)
class Catalog:
    """Everything known of a cluster, oldest backup first. `lost` are backups without a manifest,
    `packs` those of each chunked repository."""

    cluster: str
    repositories: tuple[RepositoryState, ...]
    backups: tuple[Backup, ...] = ()
    unfinished: tuple[Unfinished, ...] = ()
    lost: tuple[LostBackup, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    strangers: tuple[Stranger, ...] = ()
    uploads: dict[str, tuple[OpenUpload, ...]] = field(default_factory=dict)
    packs: dict[str, tuple[Stat, ...]] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Say whether everything could be reached and read: only then may something be deleted."""
        return bool(self.repositories) and not self.unreadable and not self.unreachable

    @property
    def unreachable(self) -> tuple[RepositoryState, ...]:
        return tuple(r for r in self.repositories if r.error is not None)

    @property
    def blind(self) -> DRError | None:
        """Return why nothing at all could be read, if so; what does not answer is named first. Then
        everything said of backups, even that there is none, is a guess."""
        errors = [r.error for r in self.unreachable if r.error]
        if len(errors) < len(self.repositories) or not errors:
            return None
        return next((e for e in errors if isinstance(e, RepositoryUnreachable)), errors[0])

    def of(self, collection: str) -> tuple[Backup, ...]:
        """Return the backups of one collection, oldest first."""
        return tuple(self._by_collection.get(collection, ()))

    def strangers_beside(self, repository: str, folder: str) -> tuple[str, ...]:
        """Return what is not ours in the folder of one copy: nothing is deleted beside it."""
        return tuple(self._strangers.get((repository, f"{BACKUPS}/{folder}"), ()))

    @cached_property
    def _strangers(self) -> dict[tuple[str, str], list[str]]:
        """By repository and every folder above them."""
        found: dict[tuple[str, str], list[str]] = {}
        for stranger in self.strangers:
            for folder in _folders_above(stranger.path):
                found.setdefault((stranger.repository, folder), []).append(stranger.path)
        return found

    @cached_property
    def folders(self) -> frozenset[str]:
        """Return the folders of the backups."""
        return frozenset(b.key.folder for b in self.backups)

    def find(self, key: BackupKey) -> Backup | None:
        return self._by_key.get(key)

    @property
    def collections(self) -> tuple[str, ...]:
        return tuple(sorted(self._by_collection))

    @cached_property
    def _by_collection(self) -> dict[str, list[Backup]]:
        return by_collection(self.backups)

    @cached_property
    def _by_key(self) -> dict[BackupKey, Backup]:
        return {b.key: b for b in reversed(self.backups)}  # the first of them, should there be two

    def unwitnessed(self, now: datetime, collection: str | None = None) -> tuple[Backup, ...]:
        """Return backups that nobody is known to have made and that no run can vouch for any more;
        none as long as a repository is missing that may know."""
        asked = self.backups if collection is None else self.of(collection)
        return (
            ()
            if self.unreachable
            else tuple(
                b
                for b in asked
                if b.witness == "nobody"
                or (b.witness == "awaited" and now - b.manifest.captured_at > LONGEST_RUN)
            )
        )


def _folders_above(path: str) -> Iterator[str]:
    """Yield those of a backup's depth at most: `backups/<cluster>/<collection>/<id>`."""
    steps = path.split("/")
    return ("/".join(steps[:n]) for n in range(1, min(len(steps), 5)))


def by_collection(backups: Iterable[Backup]) -> dict[str, list[Backup]]:
    """The backups of each collection, in their order."""
    found: dict[str, list[Backup]] = {}
    for backup in backups:
        found.setdefault(backup.manifest.collection, []).append(backup)
    return found


def newest(backups: Sequence[Backup], *, now: datetime) -> Backup | None:
    """Return the newest by `captured_at`, never one dated in the future."""
    past = [b for b in backups if not b.of_the_future(now)]
    return max(past, key=lambda b: (b.manifest.captured_at, b.manifest.backup_id), default=None)
