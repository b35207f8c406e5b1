"""Open the shards of one backup, one after the other, from the copy that is read most cheaply."""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from qdrant_dr.cancel import stopping
from qdrant_dr.cluster import RawPoint
from qdrant_dr.config import Config
from qdrant_dr.errors import (
    BytesDiffer,
    DRError,
    Interrupted,
    ObjectArchived,
    ObjectMissing,
    RepositoryError,
    StorageFull,
    UsageError,
)
from qdrant_dr.jobs.run.examine import proof_limits
from qdrant_dr.jobs.run.load_backup import Found
from qdrant_dr.jobs.run.progress import in_transit, points_told
from qdrant_dr.jobs.run.run import utc_now
from qdrant_dr.proof import Limits, ProofLimits, lay_out, require_engine
from qdrant_dr.proof.engine import Engine, PointsRead
from qdrant_dr.proof.point_table import PointTable
from qdrant_dr.proof.readback import ShardCount, open_shard
from qdrant_dr.proof.structure import inspect
from qdrant_dr.proof.unpack import LaidShard
from qdrant_dr.records import Part
from qdrant_dr.repository import Backup, Repository, rank_sources

log = logging.getLogger(__name__)
IDS_AT_ONCE = 500
Where = Mapping[str, Any]
"""A filter of Qdrant's REST API."""
Unpacked = dict[str, tuple[LaidShard, ...]]
"""The shards of each part, by its name."""


@dataclass
class OpenedShard:
    """A shard that an engine holds open with its log replayed, until the next one is opened."""

    count_facts: ShardCount
    part: Part
    folder: Path
    engine: Engine

    @property
    def shard(self) -> int:
        return self.count_facts.shard

    @property
    def points(self) -> int:
        return self.count_facts.points

    def pages(
        self,
        *,
        payload: bool = True,
        vectors: bool = True,
        where: Where | None = None,
        ids: Iterable[int | str] | None = None,
    ) -> Iterator[list[RawPoint]]:
        """Yield points in the order of their ids, in the form of a server's scroll: all of them,
        those that a filter finds, or those of `ids`, in their order. Raise Interrupted."""
        if ids is not None:
            rest = iter(ids)
            while some := list(islice(rest, IDS_AT_ONCE)):
                yield self.retrieve(some, payload=payload, vectors=vectors)
            return
        offset: int | str | None = None
        while True:
            stop_if_asked()
            self.engine.ask("page", offset=offset, payload=payload, vectors=vectors, where=where)
            answer = self.engine.wait()
            if answer["points"]:
                yield answer["points"]
            offset = answer["next"]
            if offset is None:
                return

    def retrieve(
        self, ids: Sequence[int | str], *, payload: bool = True, vectors: bool = True
    ) -> list[RawPoint]:
        """Return those of these points that are in this shard, with payload and vectors."""
        stop_if_asked()
        self.engine.ask("points", ids=list(ids), payload=payload, vectors=vectors)
        found: list[RawPoint] = self.engine.wait()
        return found

    def digests(self, ids: Sequence[int | str]) -> dict[int | str, dict[str, str]]:
        """Return the digest of each component, in hex, of those of these points that are here."""
        stop_if_asked()
        self.engine.ask("digests", ids=list(ids))
        return {point_id: dict(digests) for point_id, digests in self.engine.wait()}

    def count(self, where: Where | None = None) -> int:
        """Return how many points a filter finds, exactly; all of them without one."""
        self.engine.ask("matching", where=where or {})
        return int(self.engine.wait())

    def table(
        self, folder: Path, buckets: Sequence[int] | None = None
    ) -> tuple[PointTable, PointsRead]:
        """Write a table of all points into a new folder, or of those that fall into some buckets,
        and return it with what was read."""
        told = points_told()

        def heard(points: int) -> None:
            stop_if_asked()
            if told:
                told(min(points, self.points), self.points)

        self.engine.ask(
            "read",
            columns=str(folder),
            buckets=buckets,
            seed=secrets.randbelow(2**31) if buckets is None else None,
        )
        read = self.engine.wait_points(heard)
        return PointTable.open(folder), read


@dataclass
class OpenedBackup:
    """One backup, whose parts are fetched and verified as they are needed.

    `notes` say which copies could not give what, `used` which did. `unpacked` are parts that lie
    below the folder already; what is added to it stays there, and the engine keeps the last shard
    open for whoever asks for it again.
    """

    found: Found
    folder: Path
    limits: ProofLimits
    engine: Engine
    unpacked: Unpacked | None = None
    notes: list[str] = field(default_factory=list)
    used: dict[str, None] = field(default_factory=dict)
    _held: OpenedShard | None = None

    def shards(self, only: Collection[int] | None = None) -> Iterator[OpenedShard]:
        """Open every shard, or some, one at a time: the one before is closed. Each part is read
        from the first copy whose bytes are the manifest's, and removed afterwards if it is not
        among `unpacked`.

        Raise ObjectMissing if no copy is good, ArchiveError if good bytes hold no sound archive,
        StorageFull, Interrupted, and what an engine's `wait` raises."""
        for part in self.found.manifest.parts:
            if only is not None and not {*only} & {*part.shards}:
                continue
            laid = (self.unpacked or {}).get(part.name) or self._fetch(part)
            if self.unpacked is not None:
                self.unpacked[part.name] = laid
            for shard in laid:
                if only is None or shard.shard in only:
                    stop_if_asked()
                    yield self._open(part, shard)
            if self.unpacked is None:
                self._held = None
                self.engine.ask("close")
                self.engine.wait()
                shutil.rmtree(self.folder / part.name, ignore_errors=True)

    def _open(self, part: Part, shard: LaidShard) -> OpenedShard:
        """Give the shard that the engine holds, or let it open this one instead."""
        if self._held is None or self._held.folder != shard.folder:
            self._held = None
            facts = open_shard(shard, self.engine)
            self._held = OpenedShard(facts, part, shard.folder, self.engine)
        return self._held

    def _fetch(self, part: Part) -> tuple[LaidShard, ...]:
        """Unpack a part from one copy after the other, until one is good."""
        key, whys = self.found.backup.key, list[str]()
        for repository in sources_of(self.found):
            try:
                laid = self._lay_out(part, repository)
            except StorageFull:
                raise  # of this machine: another copy is as large
            except (RepositoryError, BytesDiffer) as e:
                whys.append(f"{repository.name}: {e.message}")
                log.warning("%s of %s is read from another copy: %s", part.file, key, whys[-1])
                shutil.rmtree(self.folder / part.name, ignore_errors=True)
                continue
            self.notes += [f"not from {why}" for why in whys]
            self.used[repository.name] = None
            return laid
        raise ObjectMissing(
            f"no copy of {part.file} of {key} can be read: {'; '.join(whys) or 'none is there'}",
            f"run `qdrant-dr replicate {key}`.",
        )

    def _lay_out(self, part: Part, repository: Repository) -> tuple[LaidShard, ...]:
        """Unpack one copy of a part while its bytes are verified."""
        place = self.folder / part.name
        place.mkdir(parents=True)
        free = min(shutil.disk_usage(place).free, self.limits.spool_bytes)
        if part.size_bytes > free:
            raise StorageFull(
                f"{part.file} has {part.size_bytes} bytes, but {free} may be used below {place}",
                "free space there, or raise `capture.spool.max`.",
            )
        key, manifest = self.found.backup.key, self.found.manifest
        blocks = repository.read_verified(key, part, in_transit(part))
        laid = lay_out(
            blocks, place, kind=part.kind, shard=part.shards[0],
            limits=Limits.of_part(part.size_bytes, free), name=part.name,
        )  # fmt: skip
        for _ in blocks:
            pass  # also behind a fault: only the last block says whether the bytes are right
        for fault in inspect(laid, part, manifest):
            raise fault
        return laid.local_shards


@contextmanager
def opened_backup(
    config: Config, found: Found, folder: Path, *, unpacked: Unpacked | None = None
) -> Iterator[OpenedBackup]:
    """Give the shards of a backup, unpacked below `folder`, to the thread that asks, with one
    engine. The folder is removed afterwards, unless what is `unpacked` is kept for another time.
    Raise EngineTooOld."""
    require_engine(found.manifest.server_version)
    limits = proof_limits(config)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with Engine(folder / "engine", limits.engine) as engine:
            yield OpenedBackup(found, folder, limits, engine, unpacked)
    finally:
        if unpacked is None:
            shutil.rmtree(folder, ignore_errors=True)


def look_up(config: Config, backup: Backup) -> Found:
    """Find a backup by the copy that is read most cheaply, and the others after it. Raise
    ObjectArchived if all lie in an archive, ObjectMissing, and what keeps every repository from
    being opened."""
    ranked = rank_sources(backup, now=utc_now())
    readable = [r.copy.repository for r in ranked if r.readable]
    if not readable:
        why = "; ".join(f"{r.copy.repository}: {r.copy.archive}" for r in ranked)
        if why:
            raise ObjectArchived(
                f"no copy of {backup.key} can be read: {why}",
                f"`qdrant-dr show {backup.key}` prints the commands that bring it back.",
            )
        raise ObjectMissing(f"no copy of {backup.key} is there")
    last: DRError | None = None
    for name in readable:
        try:
            return Found(config, backup.key, name)
        except Interrupted:
            raise
        except RepositoryError as e:
            last = e
    assert last is not None
    raise last


def sources_of(found: Found) -> list[Repository]:
    """Return the repositories of a backup's readable copies, the one to read first in front."""
    ranked = rank_sources(found.backup, now=utc_now())
    names = [r.copy.repository for r in ranked if r.readable and r.complete]
    return [found.opened[name] for name in names if name in found.opened]


def check_filter(config: Config, where: Any, folder: Path) -> None:
    """Raise UsageError, with the engine's words, if it cannot evaluate a filter."""
    with Engine(folder, proof_limits(config).engine) as engine:
        engine.ask("parse", where=where)
        if words := engine.wait():
            raise UsageError(words, "compare it with Qdrant's page on filtering.")


def stop_if_asked() -> None:
    """Raise Interrupted if this program was asked to stop."""
    if stopping.is_set():
        raise Interrupted("asked to stop while points were read")
