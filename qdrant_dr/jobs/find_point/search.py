"""Look for points in one backup after the other, the newest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, Interrupted, StorageFull, UsageError
from qdrant_dr.jobs.read_points.opened_backup import (
    IDS_AT_ONCE,
    OpenedShard,
    Where,
    look_up,
    opened_backup,
    stop_if_asked,
)
from qdrant_dr.jobs.read_points.sealed_sums import sealed_alike
from qdrant_dr.records import BackupKey
from qdrant_dr.repository import Backup

PointId = int | str
Place = tuple[ShardKey | None, PointId]
"""Which point: with custom sharding each shard key has ids of its own."""
Digests = dict[str, str]
MOST_POINTS = 1000
"""That one search follows: who asks for more wants `diff` or `export`."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What one backup says of one point.

    `newer` is the newer backup that it was compared with, None if there is none or the point was
    not looked for there; `differs` names the components that are otherwise in that one. Without
    `read` the seals alone say it. `unknown`: this backup could not be read, and `why`; it says
    nothing about any point.
    """

    backup: BackupKey
    captured_at: datetime
    state: Literal["there", "absent", "unknown"]
    point_id: PointId | None = None
    shard_key: ShardKey | None = None
    newer: str | None = None
    differs: tuple[str, ...] = ()
    read: bool = True
    payload: dict[str, Any] | None = None
    vector: Any = None
    why: DRError | None = None

    @property
    def same(self) -> bool:
        """Say whether it is as in the newer backup."""
        return self.newer is not None and not self.differs


@dataclass
class _Known:
    """What is known of a point: its digests in the last backup that was read, None if it was not
    there."""

    digests: Digests | None
    backup: str


@dataclass
class PointSearch:
    """Follows points through backups, in the order in which they are given to `look`."""

    config: Config
    folder: Path
    ids: tuple[PointId, ...] = ()
    where: Where | None = None
    vectors: bool = False
    _known: dict[Place, _Known] = field(default_factory=dict)
    _looked: dict[PointId, str] = field(default_factory=dict)
    _last: Backup | None = None

    def look(self, backup: Backup) -> Iterator[Seen]:
        """Yield a row for each point that is followed, and one alone if the backup cannot be read.

        Raise UsageError if the filter finds too many points, StorageFull, Interrupted."""
        ids = None if self.where is not None else self.ids
        if self._last and sealed_alike(self._last, backup, ids):
            for place, known in self._known.items():
                there = "absent" if known.digests is None else "there"
                yield self._seen(backup, there, place, newer=known.backup, read=False)
                known.backup = self._looked[place[1]] = backup.key.backup_id
            self._last = backup
            return
        try:
            found = self._read(backup)
        except (Interrupted, UsageError, StorageFull):
            raise
        except DRError as e:
            yield self._seen(backup, "unknown", why=e)
            return
        for place in self._followed(found):
            yield self._compared(backup, place, found.get(place))
        self._last = backup

    @property
    def _ids(self) -> list[PointId]:
        """Every id that is followed."""
        return list(dict.fromkeys((*self.ids, *(point_id for _, point_id in self._known))))

    def _followed(self, found: dict[Place, tuple[Any, Digests]]) -> list[Place]:
        """Return the points to tell of: of an id those of each shard key that ever had it; it alone
        if none had."""
        places: dict[PointId, dict[Place, None]] = {i: {} for i in self._ids}
        for place in (*self._known, *found):
            places.setdefault(place[1], {})[place] = None
        for point_id, some in places.items():
            if len(some) > 1:
                some.pop((None, point_id), None)
        return [p for i, some in places.items() for p in some or {(None, i): None}]

    def _compared(self, backup: Backup, place: Place, found: tuple[Any, Digests] | None) -> Seen:
        point_id, own = place[1], found[1] if found else None
        before = self._known.get(place)
        if before is None and (looked := self._looked.get(point_id)) is not None:
            before = _Known(None, looked)  # no key had it there
        self._looked[point_id] = backup.key.backup_id
        if place[0] is not None:
            self._known.pop((None, point_id), None)
        self._known[place] = _Known(own, backup.key.backup_id)
        newer = before.backup if before else None
        differs = _differing(before.digests, own) if before else ()
        if found is None:
            return self._seen(backup, "absent", place, newer=newer, differs=differs)
        point = found[0]
        return self._seen(
            backup,
            "there",
            place,
            newer=newer,
            differs=differs,
            payload=point["payload"],
            vector=point["vector"],
        )

    def _read(self, backup: Backup) -> dict[Place, tuple[Any, Digests]]:
        found: dict[Place, tuple[Any, Digests]] = {}
        keys = backup.manifest.keys_of_shards
        with opened_backup(self.config, look_up(self.config, backup), self.folder) as opened:
            for shard in opened.shards():
                wanted = list(dict.fromkeys((*self._ids, *self._matching(shard))))
                if len(wanted) > MOST_POINTS:
                    raise UsageError(
                        f"the filter finds more than {MOST_POINTS} points of {backup.key}",
                        "narrow it, or export the backup.",
                    )
                for at in range(0, len(wanted), IDS_AT_ONCE):
                    some = wanted[at : at + IDS_AT_ONCE]
                    digests = shard.digests(some)
                    for point in shard.retrieve(some, vectors=self.vectors):
                        place = keys.get(shard.shard), point["id"]
                        found.setdefault(place, (point, digests[point["id"]]))
                if self.where is None and not keys and len(found) == len(wanted):
                    break  # a point is in one shard
        return found

    def _matching(self, shard: OpenedShard) -> Iterator[PointId]:
        """Yield the ids that the filter finds in a shard: one more than may be, at most."""
        if self.where is None:
            return
        count = 0
        for page in shard.pages(payload=False, vectors=False, where=self.where):
            for point in page:
                yield point["id"]
                count += 1
                if count > MOST_POINTS:
                    return

    @staticmethod
    def _seen(backup: Backup, state: Any, place: Place | None = None, **more: Any) -> Seen:
        stop_if_asked()
        key, point_id = place or (None, None)
        return Seen(backup.key, backup.manifest.captured_at, state, point_id, key, **more)


def _differing(newer: Digests | None, own: Digests | None) -> tuple[str, ...]:
    """Name the components that differ; `id` if the point is in one of the two only."""
    one, two = newer or {}, own or {}
    differs = {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}
    return ("id",) if "id" in differs else tuple(sorted(differs))


def parse_ids(words: Sequence[str]) -> tuple[PointId, ...]:
    """Read ids as Qdrant has them: unsigned integers of 64 bits, and UUIDs in any spelling. Raise
    UsageError."""
    ids: list[PointId] = []
    for word in words:
        if word.isascii() and word.isdigit() and int(word) < 2**64:
            ids.append(int(word))
            continue
        try:
            ids.append(str(UUID(word)))
        except ValueError:
            raise UsageError(
                f"{word!r} is no id of a point", "give an unsigned integer of 64 bits, or a UUID."
            ) from None
    return tuple(dict.fromkeys(ids))
