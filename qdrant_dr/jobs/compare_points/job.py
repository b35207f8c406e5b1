"""`diff`: compare two states of a collection, point by point, and say in words what changed."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from qdrant_dr.cluster.collection_config import differences as settings_apart
from qdrant_dr.cluster.scroll import ShardKey
from qdrant_dr.config import Config
from qdrant_dr.errors import DRError, Interrupted
from qdrant_dr.jobs.compare_points.change_files import (
    KINDS,
    Change,
    Kind,
    check_out,
    read_spool,
    write_changes,
    write_spool,
)
from qdrant_dr.jobs.compare_points.compare_tables import Block, Rows, compare_tables
from qdrant_dr.jobs.compare_points.last_bits import DoubtfulVectors
from qdrant_dr.jobs.compare_points.select_states import open_states
from qdrant_dr.jobs.compare_points.separating_values import (
    Candidate,
    RemovedValues,
    Separating,
    separating,
)
from qdrant_dr.jobs.compare_points.states import (
    BackupState,
    State,
    another_life,
    cosine_vectors,
)
from qdrant_dr.jobs.read_points.opened_backup import stop_if_asked
from qdrant_dr.jobs.read_points.sealed_sums import buckets_to_read
from qdrant_dr.jobs.run.scratch_dir import scratch_folder
from qdrant_dr.proof import TOLERANCE
from qdrant_dr.proof.fingerprint import BUCKETS
from qdrant_dr.proof.point_table import PointTable, key_id, read_keys
from qdrant_dr.records import Seal

FIRST = 10
"""Ids that are shown of each kind of change."""
FEW_BUCKETS = BUCKETS // 4
"""Of more than these, whole shards are read: that is faster than to ask for points by their ids."""
CANDIDATES = 12
PointId = int | str


@dataclass(frozen=True)
class Differences:
    """What differs between two states. Counts are exact.

    `first` has the lowest ids of each kind, `components` how many changed points differ in each.
    `within` points differ only in the last bits of normalised vectors, and count as equal.
    `buckets` of 256 were read, the others are equal in both seals. `before` and `after` count all
    points of both states."""

    names: tuple[str, str]
    before: int
    after: int
    counts: dict[Kind, int]
    first: dict[Kind, tuple[PointId, ...]]
    components: dict[str, int]
    within: int
    buckets: int
    settings: tuple[str, ...]
    aliases: tuple[str, ...]
    separating: tuple[Separating, ...]
    notes: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Say whether nothing differs, neither points nor settings nor aliases."""
        return not (any(self.counts.values()) or self.settings or self.aliases)

    @property
    def sentences(self) -> tuple[str, ...]:
        """Say what changed, for people."""
        one, two = self.names
        gone, new, other = (self.counts[kind] for kind in KINDS)
        said = []
        if gone:
            values = "; ".join(s.words for s in self.separating)
            said.append(
                f"{gone:,} of {self.before:,} points of {one} are gone"
                + (f"; {values}" * bool(values))
            )
        if new:
            said.append(f"{new:,} points of {two} are new")
        if other:
            where = ", ".join(f"{n:,} in {c}" for c, n in self.components.items())
            said.append(f"{other:,} points were changed: {where}")
        if not (gone or new or other):
            said.append(f"all {self.before:,} points are equal")
        if self.within:
            said.append(
                f"{self.within:,} points count as equal: their vectors differ by at most "
                f"{TOLERANCE:g}, as those do that another machine normalised"
            )
        return tuple(said)


def compare(
    config: Config, before: str, after: str, *, out: Path | None, now: datetime
) -> Differences:
    """Compare two states, named as `open_states` knows them. All changes are written to `out`, if
    given: NDJSON or Parquet.

    Raise UsageError or PlanRefused for an `out` that cannot be, what `open_states` and reading
    either state raise, StorageFull, Interrupted."""
    if out is not None:
        check_out(out)
    with (
        scratch_folder(config.capture.spool.path, f"diff-{secrets.token_hex(6)}") as folder,
        open_states(config, before, after, folder, now=now) as (one, two),
    ):
        work = _Comparing(folder, one, two)
        found = work.compare()
        if out is not None:
            write_changes(out, read_spool(work.spool), sum(found.counts.values()))
        return found


@dataclass
class _Comparing:
    folder: Path
    one: State
    two: State
    counts: Counter[Kind] = field(default_factory=Counter)
    components: Counter[str] = field(default_factory=Counter)
    first: dict[Kind, list[PointId]] = field(default_factory=lambda: {k: [] for k in KINDS})
    notes: list[str] = field(default_factory=list)
    twice: list[int] = field(default_factory=lambda: [0, 0])
    within: int = 0

    @property
    def spool(self) -> Path:
        return self.folder / "changes"

    def compare(self) -> Differences:
        self.notes += another_life(self.one, self.two)
        buckets = _buckets_to_read(self.one, self.two)
        some = None if buckets is None or len(buckets) > FEW_BUCKETS else buckets
        if some == ():
            sides: list[list[PointTable]] = [[], []]
        else:
            sides = self._read(some)
        if some is not None:
            self.notes.append(
                f"the points of {len(some)} of {BUCKETS} buckets were read: the others are equal "
                "by both seals"
            )
        write_spool(self.spool, self._counted(self._changes(sides)))
        for state, count in zip((self.one, self.two), self.twice, strict=True):
            if count:
                self.notes.append(f"{count} ids of {state.name} stand in two of its shards")
        totals = [
            seal.points
            if (seal := _seal(state)) and some is not None
            else sum(t.rows for t in side)
            for state, side in zip((self.one, self.two), sides, strict=True)
        ]
        return Differences(
            names=(self.one.name, self.two.name),
            before=totals[0],
            after=totals[1],
            counts={kind: self.counts[kind] for kind in KINDS},
            first={kind: tuple(ids) for kind, ids in self.first.items()},
            components=dict(sorted(self.components.items())),
            within=self.within,
            buckets=BUCKETS if some is None else len(some),
            settings=settings_apart(self.one.info, self.two.info),
            aliases=_aliases_apart(self.one.aliases, self.two.aliases),
            separating=self._separating(totals[0]),
            notes=tuple(dict.fromkeys((*self.one.notes, *self.two.notes, *self.notes))),
        )

    def _read(self, buckets: Sequence[int] | None) -> list[list[PointTable]]:
        """Read both states at the same time: each has an engine of its own, or waits for a
        server."""
        for state in (self.one, self.two):
            state.begin()
        with ThreadPoolExecutor(2, "diff") as pool:
            reads = [
                pool.submit(copy_context().run, state.read, self.folder / f"tables-{n}", buckets)
                for n, state in enumerate((self.one, self.two))
            ]
            return [read.result() for read in reads]

    def _changes(self, sides: Sequence[Sequence[PointTable]]) -> Iterator[Change]:
        """Yield what differs, in the order of ids: with custom sharding one key after the other,
        for each has ids of its own."""
        numbered = [dict(enumerate(tables)) for tables in sides]
        by_key = all(state.keys and None not in state.keys for state in (self.one, self.two))
        keys = sorted({*self.one.keys, *self.two.keys}, key=str) if by_key else [None]
        cosine = cosine_vectors(self.one, self.two)
        for n, key in enumerate(keys):
            some = [
                {number: t for number, t in tables.items() if state.keys[number] == key}
                for state, tables in zip((self.one, self.two), numbered, strict=True)
            ]
            doubtful = DoubtfulVectors(self.folder / f"doubtful-{n}", cosine)
            found = self.folder / f"found-{n}"
            write_spool(found, self._found(some if by_key else numbered, key, doubtful))
            doubtful.look(self.one, self.two)
            yield from doubtful.settled(read_spool(found))
            self.within += doubtful.within
            found.unlink()

    def _found(
        self,
        sides: Sequence[Mapping[int, PointTable]],
        key: ShardKey | None,
        doubtful: DoubtfulVectors,
    ) -> Iterator[Change]:
        """Yield what the tables show, in the order of ids; keep what must be looked at again."""
        for block in compare_tables(*sides):
            stop_if_asked()
            for side, more in enumerate(block.twice):
                self.twice[side] += more
            self._keep_removed(block.removed)
            yield from _changes_of(block, key, doubtful)

    def _keep_removed(self, rows: Rows) -> None:
        """Write the ids of removed points to a file for each table that they stood in."""
        for number in sorted(set(rows.table.tolist())):
            with (self.folder / f"removed-{number}").open("ab") as file:
                file.write(b"".join(rows.take(rows.table == number).packed()))

    def _counted(self, changes: Iterable[Change]) -> Iterator[Change]:
        for change in changes:
            self.counts[change.kind] += 1
            self.components.update(change.components)
            if len(self.first[change.kind]) < FIRST:
                self.first[change.kind].append(change.point)
            yield change

    def _separating(self, before: int) -> tuple[Separating, ...]:
        """Look for values that the removed points have and the kept ones do not."""
        removed = self.counts["removed"]
        if not removed or removed == before:
            return ()
        try:
            values = RemovedValues()
            for file in sorted(self.folder.glob("removed-*")):
                with self.one.piece(int(file.name.removeprefix("removed-"))) as piece:
                    for keys in read_keys(file):
                        points = piece.retrieve([key_id(k) for k in keys], vectors=False)
                        values.add(p["payload"] for p in points)
            if values.points != removed:
                return ()  # a live collection moved on: these are others
            wanted = values.candidates()[:CANDIDATES]
            return separating(zip(wanted, self._having(wanted), strict=True), removed, before)
        except Interrupted:
            raise
        except DRError as e:
            self.notes.append(
                f"no values were looked for that the removed points share: {e.message}"
            )
            return ()

    def _having(self, wanted: Sequence[Candidate]) -> list[int]:
        """Count the points that had each value before."""
        counts = [0] * len(wanted)
        for piece in self.one.pieces() if wanted else ():
            for at, candidate in enumerate(wanted):
                stop_if_asked()
                if not isinstance(candidate.value, bool):
                    counts[at] += piece.count(candidate.where)
                    continue
                for page in piece.pages(vectors=False, where=candidate.filled):
                    counts[at] += sum(candidate.of(p["payload"]) for p in page)
        return counts


def _changes_of(
    block: Block, shard_key: ShardKey | None, doubtful: DoubtfulVectors
) -> Iterator[Change]:
    """Yield the changes of a block in the order of ids."""
    found = [Change(key, "removed", (), shard_key) for key in block.removed.packed()]
    found += [Change(key, "added", (), shard_key) for key in block.added.packed()]
    one, two = block.changed
    for at, key in enumerate(one.packed()):
        components = tuple(name for name, flags in block.parts.items() if flags[at])
        change = Change(key, "changed", components, shard_key)
        doubtful.add((int(one.table[at]), int(two.table[at])), change)
        found.append(change)
    found.sort(key=lambda change: change.key)
    yield from found


def _seal(state: State) -> Seal | None:
    return state.found.backup.seal if isinstance(state, BackupState) else None


def _buckets_to_read(one: State, two: State) -> tuple[int, ...] | None:
    """Which buckets two seals show to differ; None if all must be read."""
    if isinstance(one, BackupState) and isinstance(two, BackupState):
        return buckets_to_read(one.found.backup, two.found.backup)
    return None


def _aliases_apart(before: Sequence[str], after: Sequence[str]) -> tuple[str, ...]:
    gone, new = sorted({*before} - {*after}), sorted({*after} - {*before})
    return (
        *(f"alias {name!r} is gone" for name in gone),
        *(f"alias {name!r} is new" for name in new),
    )
