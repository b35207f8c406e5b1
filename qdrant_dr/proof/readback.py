"""Read every shard of an unpacked archive with the engine: counts, operations, fingerprints.

If the write-ahead log goes beyond the segments, the shard is read twice, with and without it:
points that only the log brought or changed are `replayed`. Their vectors were just computed on this
machine, and may differ in the last bits on another (cosine normalization: measured up to 3e-8). All
other points were stored as they are, and must be equal bit by bit everywhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qdrant_dr.errors import ArchiveInvalid, CountDiffers, EngineFailed
from qdrant_dr.proof import wal
from qdrant_dr.proof.copied_tree import copy_tree
from qdrant_dr.proof.engine import Engine, PointsRead
from qdrant_dr.proof.fingerprint import add, merge_sketches, sketch_of, subtract
from qdrant_dr.proof.questions import Questions
from qdrant_dr.proof.replayed_points import compare_tables
from qdrant_dr.proof.search import Asked
from qdrant_dr.proof.structure import segments_of
from qdrant_dr.proof.unpack import LaidOut, LaidShard
from qdrant_dr.records import Fingerprint, SealedShard

Told = Callable[[int, int], None]
"""Called with the points of a shard that are read, and how many it has."""


PointPlace = tuple[int, int | str]
"""The shard and id of a point: with custom sharding each shard key has ids of its own."""


@dataclass(frozen=True)
class ShardCount:
    """One shard as the engine opened it. `logged` is the last operation in its log, if any."""

    shard: int
    operation: int
    points: int
    segments: int
    stored: int
    logged: int | None


@dataclass(frozen=True)
class ShardReading:
    """One shard as the engine read it, every point once.

    `vanished` points are in the segments only: the log deletes them. `sampled` has the digests of
    the requested points in this shard, `replayed_points` those points as JSON, `asked` the answers
    of its indexes, if they were asked."""

    count: ShardCount
    settled: Fingerprint
    sketch: tuple[str, ...]
    replayed: Fingerprint | None = None
    replayed_ids: tuple[int | str, ...] = ()
    vanished: int = 0
    sampled: Mapping[int | str, Mapping[str, int]] = field(default_factory=dict)
    replayed_points: tuple[Mapping[str, Any], ...] = ()
    picked: tuple[int | str, ...] = ()
    asked: Asked | None = None
    stored: int = 0
    disagreed: str | None = None

    @property
    def shard(self) -> int:
        return self.count.shard

    @property
    def points(self) -> int:
        return self.count.points

    @property
    def total(self) -> Fingerprint:
        return add(self.settled, self.replayed) if self.replayed else self.settled

    def sealed(self) -> SealedShard:
        """Return the shard's record for a seal."""
        return SealedShard(
            shard=self.shard,
            operation=self.count.operation,
            points=self.points,
            settled=self.settled,
            replayed=self.replayed,
            replayed_ids=self.replayed_ids,
        )


@dataclass(frozen=True)
class ReadBack:
    """The content of a backup's archives, read with one engine on one machine."""

    engine_version: str
    shards: tuple[ShardReading, ...]

    @property
    def points(self) -> int:
        return sum(s.points for s in self.shards)

    @property
    def total(self) -> Fingerprint:
        return add(*(s.total for s in self.shards))

    @property
    def sketch(self) -> tuple[str, ...]:
        """Return the sketch for a seal of this reading."""
        return self.sketch_in(self.total.encoding)

    def sketch_in(self, encoding: int) -> tuple[str, ...]:
        """Return the sketch in one version of the encoding: that of the seal to compare with."""
        return sketch_of(merge_sketches(*(s.sketch for s in self.shards)), encoding)

    @property
    def sampled(self) -> dict[PointPlace, Mapping[str, int]]:
        return {(s.shard, i): digests for s in self.shards for i, digests in s.sampled.items()}

    @property
    def replayed_points(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(p for s in self.shards for p in s.replayed_points)

    @property
    def stored(self) -> int:
        """Of how many points the vectors were taken from the files of their segments."""
        return sum(s.stored for s in self.shards)

    @property
    def disagreed(self) -> tuple[str, ...]:
        """Where a sample of such vectors was not what the engine reads."""
        return tuple(f"shard {s.shard}: {s.disagreed}" for s in self.shards if s.disagreed)

    @property
    def asked(self) -> tuple[Asked, ...]:
        return tuple(s.asked for s in self.shards if s.asked)


def count_shards(laid: LaidOut, engine: Engine) -> list[ShardCount]:
    """Open every local shard and count exactly.

    Raise ArchiveInvalid, and what an engine's `wait` raises.
    """
    counts = [open_shard(shard, engine) for shard in laid.local_shards]
    if not counts:
        raise ArchiveInvalid("the archive holds no shard that can be opened")
    return counts


def read_shards(
    laid: LaidOut,
    engines: Sequence[Engine],
    scratch: Path,
    *,
    sampled_ids: Sequence[int | str] = (),
    keep_replayed: bool = False,
    questions: Questions | None = None,
    seed: int | None = None,
    told: Told | None = None,
) -> list[ShardReading]:
    """Open every local shard and read every point.

    Several `engines` read a range of each shard; a shard with a log tail is read twice, for
    which a second engine is started if there is none. `scratch` takes copies of shards. The points
    of `sampled_ids` come with their digests, replayed ones in full if `keep_replayed`; at the end
    the indexes of each shard are asked the `questions`. With a `seed` vectors are taken from the
    files where they are plain (`stored_vectors`): what is read so counts only if it equals what
    was read without. Raise CountDiffers (the engine counts and reads different numbers),
    ArchiveInvalid, StorageFull, and what an engine's `wait` raises."""
    engine, *more = engines
    readings = []
    for shard in laid.local_shards:
        if questions:
            questions.use_graphs(shard)
        with ExitStack() as kept:
            work = _Reader(shard, engine, scratch / f"copy-{shard.shard}", questions, seed, kept)
            work.told = told
            reading = work.read(more)
            if sampled_ids:
                reading = replace(reading, sampled=_sampled(engine, sampled_ids))
            if keep_replayed and reading.replayed_ids:
                engine.ask("points", ids=reading.replayed_ids)
                reading = replace(reading, replayed_points=tuple(engine.wait()))
            if questions:
                asked = questions.ask(shard, reading.total, reading.picked, engine, work.copied)
                reading = replace(reading, asked=asked)
        readings.append(reading)
    if not readings:
        raise ArchiveInvalid("the archive holds no shard that can be read")
    return readings


def _sampled(engine: Engine, ids: Sequence[int | str]) -> dict[int | str, dict[str, int]]:
    engine.ask("digests", ids=list(ids))
    return {
        point_id: {n: int.from_bytes(bytes.fromhex(d), "little") for n, d in digests.items()}
        for point_id, digests in engine.wait()
    }


class _Reader:
    """Reads one shard. `copied` is a second engine that holds a copy of it, until `kept` ends."""

    copied: Engine | None = None
    told: Told | None = None

    def __init__(
        self,
        shard: LaidShard,
        engine: Engine,
        scratch: Path,
        questions: Questions | None,
        seed: int | None,
        kept: ExitStack,
    ) -> None:
        self.shard, self.engine, self.scratch = shard, engine, scratch
        self.questions, self.seed, self.kept = questions, seed, kept

    def read(self, others: Sequence[Engine]) -> ShardReading:
        stored = max((s.version for s in segments_of(self.shard).values()), default=0)
        logged = wal.last_operation(self.shard.folder / "wal")
        if logged is not None and logged > stored:
            if not others:
                others = [self.kept.enter_context(Engine(self.scratch, self.engine.limits))]
            return self.twice(others[0])
        if others:
            return self.ranges(others)
        count = open_shard(self.shard, self.engine)
        self.engine.ask("read", pick=self.places(count), seed=self.seed)
        return ShardReading(count, **_whole(count, [self.engine.wait_points(self.telling(count))]))

    def telling(self, count: ShardCount, engines: int = 1) -> Callable[[int], None] | None:
        """Return what hears of one of several engines that read at the same pace."""
        told = self.told
        return told and (lambda n: told(min(engines * n, count.points), count.points))

    def places(self, count: ShardCount) -> tuple[int, ...]:
        """Return which points to pick, in the order of their ids."""
        return self.questions.places(count.shard, count.points) if self.questions else ()

    def ranges(self, others: Sequence[Engine]) -> ShardReading:
        """Read with several engines in parallel, each on a tree of its own and a range of the
        ids."""
        engines = (self.engine, *others)
        self.kept.callback(shutil.rmtree, self.scratch, ignore_errors=True)
        copies = [self.scratch / str(n) for n in range(len(others))]
        for copy in copies:  # before the first engine writes into what is copied
            copy_tree(self.shard.folder, copy)
        for other, copy in zip(others, copies, strict=True):
            other.ask("load", path=str(copy))
            self.kept.callback(_close, other)
        count = open_shard(self.shard, self.engine)
        places = self.places(count)
        bounds = [count.points * n // len(engines) for n in range(len(engines))]
        for n, (engine, low) in enumerate(zip(engines, bounds, strict=True)):
            if n and (found := engine.wait()["points"]) != count.points:
                raise CountDiffers(f"two engines count {count.points} and {found} points")
            # the last one reads to the end, whatever the engine counted
            high = None if engine is engines[-1] else bounds[n + 1]
            engine.ask(
                "read",
                skip=low,
                limit=None if high is None else high - low,
                pick=[p - low for p in places if low <= p and (high is None or p < high)],
                seed=self.seed,
            )
        told = self.telling(count, len(engines))
        read = [e.wait_points(None if n else told) for n, e in enumerate(engines)]
        self.copied = others[0]
        return ShardReading(count, **_whole(count, read))

    def twice(self, second: Engine) -> ShardReading:
        """Read with the log and without it; what differs was replayed."""
        engine = self.engine
        bare = self.scratch / "shard"
        self.kept.callback(shutil.rmtree, self.scratch, ignore_errors=True)
        copy_tree(self.shard.folder, bare)
        shutil.rmtree(bare / "wal")
        with_log, without = self.scratch / "with-log", self.scratch / "without"
        second.ask("load", path=str(bare))
        count = open_shard(self.shard, engine)
        engine.ask("read", table=str(with_log), pick=self.places(count), seed=self.seed)
        second.wait()
        second.ask("read", table=str(without), seed=self.seed)
        total = _whole(count, [engine.wait_points(self.telling(count))])
        bare_read = second.wait_points()
        total["disagreed"] = total["disagreed"] or bare_read.disagreed
        _close(second)
        ids, vanished = compare_tables(with_log, without)
        shutil.rmtree(bare)
        if not ids:
            return ShardReading(count, **total, vanished=vanished)
        engine.ask("retrieve", ids=ids)
        replayed, _ = engine.wait_read()
        if replayed.points != len(ids):
            raise EngineFailed(f"the engine found {replayed.points} of {len(ids)} replayed points")
        settled = subtract(total.pop("settled"), replayed)
        return ShardReading(
            count, settled, **total, replayed=replayed, replayed_ids=tuple(ids), vanished=vanished
        )


def _close(engine: Engine) -> None:
    engine.ask("close")
    engine.wait()


def open_shard(shard: LaidShard, engine: Engine) -> ShardCount:
    """Load the shard, and check that the engine took every segment: it drops some silently."""
    laid = segments_of(shard)
    logged = wal.last_operation(shard.folder / "wal")
    loaded = engine.load(shard.folder)
    if missing := laid.keys() - loaded.segments.keys():
        raise EngineFailed(
            f"the engine dropped {len(missing)} of {len(laid)} segments of shard {shard.shard}: "
            f"{', '.join(sorted(missing))}"
        )
    if not laid:
        raise ArchiveInvalid(f"shard {shard.shard} has no segment")
    return ShardCount(
        shard=shard.shard,
        operation=loaded.operation,
        points=loaded.points,
        segments=len(laid),
        stored=max(s.version for s in laid.values()),
        logged=logged,
    )


def _whole(count: ShardCount, read: Sequence[PointsRead]) -> dict[str, Any]:
    """Combine the parts of a shard. Raise CountDiffers unless they are complete."""
    whole = add(*(r.fingerprint for r in read))
    if whole.points != count.points:
        raise CountDiffers(
            f"the engine counts {count.points} points in shard {count.shard} and reads "
            f"{whole.points}"
        )
    return {
        "settled": whole,
        "sketch": merge_sketches(*(r.sketch for r in read)),
        "picked": tuple(i for r in read for i in r.picked),
        "stored": sum(r.stored for r in read),
        "disagreed": next((r.disagreed for r in read if r.disagreed), None),
    }


def merge(readings: Sequence[Sequence[ShardReading]], engine_version: str) -> ReadBack:
    """Combine the readings of its parts into one reading of a whole backup."""
    shards = sorted((s for part in readings for s in part), key=lambda s: s.shard)
    return ReadBack(engine_version, tuple(shards))
