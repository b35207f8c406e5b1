"""The undo record of a run: kept in every repository before anything is written, found again."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from qdrant_dr.cluster import RawPoint
from qdrant_dr.errors import BackupNotFound, CatalogIncomplete, Conflict, DRError
from qdrant_dr.jobs.restore_points.decide_change import Change
from qdrant_dr.records import UndoFile, UndoPart, UndoRecord, UndoSettled
from qdrant_dr.records.undo import TargetThen
from qdrant_dr.repository import Repository
from qdrant_dr.repository.undo_records import (
    UNDO_KEPT,
    find_undo,
    put_settled,
    put_undo,
    put_undo_part,
    read_settled,
    read_undo_at,
    read_undo_parts,
)

Put = Callable[[Repository], None]
Settled = Mapping[int | str, Collection[str]]
PART_BYTES = 8 << 20
PART_POINTS = 20_000


@dataclass
class UndoWriter:
    """Keeps the present state of points, part by part, and each part is read back.

    A repository that fails gets nothing more; `failed` says why. Raise CatalogIncomplete if none
    is left.
    """

    repositories: dict[str, Repository]
    run_id: str
    cluster: str
    collection: str
    failed: dict[str, DRError] = field(default_factory=dict)
    files: list[UndoFile] = field(default_factory=list)
    absent: int = 0
    present: int = 0
    _absent: list[tuple[int | str, str]] = field(default_factory=list)
    _present: list[tuple[str, str]] = field(default_factory=list)
    _place: tuple[int | None, int | str | None] = (None, None)
    _size: int = 0

    def add(self, change: Change, there: RawPoint | None) -> None:
        """Keep one point as it is `there` now."""
        if (change.shard, change.shard_key) != self._place:
            self.flush()
            self._place = change.shard, change.shard_key
        after = change.wanted
        if there is None:
            self._absent.append((change.id, after))
            self._size += 100
        else:
            text = json.dumps({k: there.get(k) for k in ("id", "payload", "vector")})
            self._present.append((text, after))
            self._size += len(text) + 100
        if self._size > PART_BYTES or len(self._absent) + len(self._present) >= PART_POINTS:
            self.flush()

    def flush(self) -> None:
        """Write what was added as one part."""
        if not self._absent and not self._present:
            return
        number = len(self.files) + 1
        part = UndoPart(
            run_id=self.run_id,
            cluster=self.cluster,
            collection=self.collection,
            number=number,
            shard=self._place[0],
            shard_key=self._place[1],
            absent=tuple(point for point, _ in self._absent),
            present=tuple(text for text, _ in self._present),
            after=tuple(after for _, after in (*self._absent, *self._present)),
        )
        self._everywhere(lambda r: put_undo_part(r, part))
        self.files.append(UndoFile(file=part.file, points=part.points, sha256=part.sha256))
        self.absent += len(self._absent)
        self.present += len(self._present)
        self._absent, self._present, self._size = [], [], 0

    def complete(
        self, *, now: datetime, target: str, source: str, only: str | None, params: str,
        then: TargetThen,
    ) -> UndoRecord:  # fmt: skip
        """Write the record that names the parts: from now on the former state is safe."""
        self.flush()
        record = UndoRecord(
            run_id=self.run_id,
            cluster=self.cluster,
            collection=self.collection,
            made_at=now,
            target=target,
            source=source,
            only=only,
            params=params,
            absent=self.absent,
            present=self.present,
            parts=tuple(self.files),
            then=then,
        )
        self._everywhere(lambda r: put_undo(r, record))
        return record

    def settle(self, points: tuple[tuple[int | str, str], ...]) -> tuple[str, ...]:
        """Keep the digests of what the server keeps otherwise than it was sent. Return why some
        repositories did not take them: nothing else is lost by that."""
        record = UndoSettled(
            run_id=self.run_id, cluster=self.cluster, collection=self.collection, points=points
        )
        whys = []
        for name, repository in self.repositories.items():
            try:
                put_settled(repository, record)
            except DRError as e:
                whys.append(
                    f"{name} did not take which last bits the server keeps of {len(points)} "
                    f"points, which an undo from there takes for changed by somebody: {e.message}"
                )
        return tuple(whys)

    def _everywhere(self, put: Put) -> None:
        for name, repository in list(self.repositories.items()):
            try:
                put(repository)
            except DRError as e:
                self.failed[name] = e
                del self.repositories[name]
        if not self.repositories:
            why = "; ".join(f"{n}: {e.message}" for n, e in self.failed.items()) or "none is open"
            raise CatalogIncomplete(
                f"no repository took the undo record ({why}): nothing was changed",
                "see `qdrant-dr check`; without an undo record no point is overwritten.",
            )


@dataclass(frozen=True, slots=True)
class Former:
    """One point as an undo record has it: `before`, None if it was absent, and the digests of what
    the run left of it."""

    id: int | str
    before: RawPoint | None
    left: frozenset[str]
    shard: int | None
    shard_key: int | str | None


@dataclass(frozen=True)
class StoredUndo:
    """The undo record of a run, in the repositories that have it whole."""

    record: UndoRecord
    places: Mapping[str, Repository]

    def settled(self) -> Settled:
        """Return the digests of what the server keeps otherwise than it was sent, from every
        place."""
        found: dict[int | str, set[str]] = {}
        for repository in self.places.values():
            for record in read_settled(repository, self.record):
                for point_id, digest in record.points:
                    found.setdefault(point_id, set()).add(digest)
        return found

    def parts(self) -> Iterator[UndoPart]:
        """Yield every part, from the first place whose part is good."""
        for number, _ in enumerate(self.record.parts):
            yield self._part(number)

    def _part(self, number: int) -> UndoPart:
        last: DRError | None = None
        one = self.record.model_copy(update={"parts": self.record.parts[number : number + 1]})
        for repository in self.places.values():
            try:
                return next(read_undo_parts(repository, one))
            except DRError as e:
                last = e
        assert last is not None
        raise last

    def points(self) -> Iterator[Former]:
        """Yield every point as it was."""
        settled = self.settled()
        for part in self.parts():
            yield from formers(part, settled)


def formers(part: UndoPart, settled: Settled) -> Iterator[Former]:
    """Yield the points of one part. Pure."""
    before: list[tuple[int | str, RawPoint | None]] = [(i, None) for i in part.absent]
    for text in part.present:
        point = json.loads(text)
        before.append((point["id"], point))
    for (point_id, was), after in zip(before, part.after, strict=True):
        left = frozenset({after, *settled.get(point_id, ())})
        yield Former(point_id, was, left, part.shard, part.shard_key)


def stored_undo(opened: Mapping[str, Repository], cluster: str, run_id: str) -> StoredUndo:
    """Find the undo record of a run. Raise BackupNotFound if no repository has it in whole,
    Conflict if two have different ones."""
    found: dict[str, Repository] = {}
    record: UndoRecord | None = None
    whys: list[str] = []
    for name, repository in opened.items():
        try:
            path = find_undo(repository, cluster, run_id)
            if path is None:
                continue
            here = read_undo_at(repository, path)
        except DRError as e:
            whys.append(f"{name}: {e.message}")
            continue
        if record is not None and here.sha256 != record.sha256:
            raise Conflict(
                f"{name} and {next(iter(found))} have different undo records of the run {run_id}",
                "find out which one is right, and read that alone: leave the other repository out "
                "of the configuration for this command.",
            )
        record = here
        found[name] = repository
    if record is None:
        what = f": {'; '.join(whys)}" if whys else ""
        raise BackupNotFound(
            f"no repository has an undo record of the run {run_id}{what}",
            "only `restore --points ... --execute` writes one; its output names it, and says until "
            f"when it is kept: {UNDO_KEPT.days} days.",
        )
    return StoredUndo(record, found)
